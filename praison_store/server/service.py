"""What all routes share: which session a request means, what is alive, and how one is begun."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Any, NamedTuple

from ..aio.contract import AsyncEngine
from ..aio.keeper import KEEP_ALL
from ..aio.manager import SessionManager
from ..engines.contract import Change
from ..errors import RevisionConflictError, SessionNotFoundError, SessionStoreError
from ..model.filters import AndFilter, ComparisonFilter, Filter
from ..model.lease import Lease
from ..model.message import Record
from ..model.session import SessionData, SessionInfo
from ..model.session_id import SessionKey, file_stem
from .access import Tokens, Who
from .config import Config
from .expiry import SERVICE, Expiry, anew

logger = logging.getLogger("praison_store.server")
_ID_BYTES = 24
_LONGEST_TURN_S = 30.0  # a query waits so long for the session's other queries, and is told 423 then
_DROPPED = ("recent_writes", "archived_messages", "archived_bytes")


class Written(NamedTuple):
    """A session as it was written, and whether there was none before."""

    session: SessionData
    is_new: bool


class Service:
    """
    The sessions of one store, as the routes see them.

    Promise: with tokens a user's sessions are those of the namespace of their name, and a request of theirs touches
    nothing else. An ended session is unknown to every method.
    """

    def __init__(self, config: Config, engine: AsyncEngine, tokens: Tokens | None, expiry: Expiry) -> None:
        self.config, self.engine, self.tokens, self.expiry = config, engine, tokens, expiry
        self.manager = SessionManager(engine=engine, wait_timeout=_LONGEST_TURN_S)
        self.released: dict[tuple[SessionKey, str, int], None] = {}  # leases given back here, the newest last

    # ---- which session ---------------------------------------------------------------------------------------------

    def namespace(self, who: Who, asked: str | None, user_id: str | None = None) -> str:
        """
        Return where a session of a request stands. Raises SessionNotFoundError where it is none of theirs.

        Args:
            asked: the namespace of the request, None where it names none. user_id: whose session it names.
        """
        if who.user is not None:
            if asked not in (None, "", who.user) or user_id not in (None, who.user):
                raise not_found("")
            return who.user
        if asked is None and user_id is not None and self.tokens is not None and user_id in self.tokens.users:
            return user_id  # an admin acts for a user, who is to find it
        if asked == SERVICE:
            raise not_found("")
        return asked or ""

    async def key(self, who: Who, session_id: str, asked: str | None = None) -> SessionKey:
        """Return the key of a session that is asked for; an admin finds those of users by their id alone."""
        file_stem(session_id)
        key = SessionKey(session_id, self.namespace(who, asked))
        if who.user is None and asked is None and self.tokens is not None and not await self.engine.exists(key):
            for user in self.tokens.users:
                if await self.engine.exists(SessionKey(session_id, user)):
                    return SessionKey(session_id, user)
        return key

    def mine(self, who: Who, user_id: str | None) -> tuple[Filter | None, str | None]:
        """Return filter and namespace of a user's sessions; of all a request may see without one."""
        if who.user is not None:
            if user_id not in (None, who.user):
                raise not_found("")
            return None, who.user
        return (None if user_id is None else ComparisonFilter("user_id", "eq", user_id)), None

    # ---- reading ---------------------------------------------------------------------------------------------------

    async def live(self, key: SessionKey, newest: int | None = None) -> SessionData:
        """Return a session. Raises SessionNotFoundError for one that is unknown or ended."""
        session = await self.engine.read(key, newest)
        if session is None or self.expiry.has_ended(session):
            raise not_found(key.session_id)
        return session

    async def whole(self, key: SessionKey) -> tuple[SessionData, list[Record]]:
        """Return a session with all its messages. Raises SessionNotFoundError."""
        found = await self.engine.whole(key)
        if found is None or self.expiry.has_ended(found[0]):
            raise not_found(key.session_id)
        return found

    async def page(
        self, filters: Filter | None, namespace: str | None, order_by: list[str] | None, limit: int, offset: int
    ) -> tuple[list[SessionInfo], int]:
        """Return a page of the sessions that live, and how many there are in all."""
        filters = self.expiry.living(filters)
        rows = [] if not limit else await self.engine.find(
            filters=filters, order_by=order_by or None, limit=limit, offset=offset, namespace=namespace)
        if len(rows) < limit and (rows or not offset):
            return rows, offset + len(rows)
        return rows, await self.engine.count(filters, namespace=namespace)

    # ---- writing ---------------------------------------------------------------------------------------------------

    async def written(
        self, key: SessionKey, change: Change, user_id: str | None, *, keep_archive: bool = True,
        lease: Lease | None = None,
    ) -> Written:
        """
        Write a session that may be new, and let go of the least recently used one of a user who has too many.

        The user's turn is held over both, so that of any number of requests at once none sees too few.

        Args:
            change: sees revision 0 where there is no session, or one that ended.
        """
        most = self.config.max_sessions_per_user
        if not most or not user_id:
            return await self._written(key, change, keep_archive=keep_archive, lease=lease)
        async with self.manager.agent_lock.acquire(f"user {user_id}", "server", SERVICE):
            written = await self._written(key, change, keep_archive=keep_archive, lease=lease)
            mine = ComparisonFilter("user_id", "eq", user_id)
            try:
                await self.expiry.evict(mine, None if self.tokens is None else key.namespace, most, key)
            except SessionStoreError as error:
                # What was asked for is stored; one session too many is seen to by the next that is begun.
                logger.warning("a user has too many sessions: %s", type(error).__name__)
            return written

    async def _written(
        self, key: SessionKey, change: Change, *, keep_archive: bool, lease: Lease | None
    ) -> Written:
        is_new = False

        def noting(session: SessionData) -> bool | None:
            nonlocal is_new
            is_new = session.revision == 0
            return change(session)

        while True:
            there = await self.engine.read(key, 1) if self.expiry.is_on else None
            if there is None or not self.expiry.has_ended(there):
                session = await self.engine.update(
                    key, noting, now_s=time.time(), policy=KEEP_ALL, keep_archive=keep_archive, lease=lease)
                return Written(session, is_new)
            try:
                # One write, so that a change that is refused leaves the old one as ended as it was.
                session = await self.engine.update(
                    key, anew(noting), now_s=time.time(), policy=KEEP_ALL, expected_revision=there.revision,
                    keep_archive=False, lease=lease)
            except RevisionConflictError:
                continue  # somebody wrote it, so it lives, or began it anew as well
            return Written(session, is_new)

    async def append(self, key: SessionKey, records: list[Record], lease: Lease | None) -> int:
        """Store messages in a session that lives. Raises SessionNotFoundError, LeaseExpiredError."""
        if self.expiry.is_on:
            await self.live(key, 1)
        try:
            return await self.engine.append(
                key, records, now_s=time.time(), policy=KEEP_ALL, lease=lease, least_revision=1)
        except RevisionConflictError:
            raise not_found(key.session_id) from None  # deleted in between

    async def deleted(self, key: SessionKey, *, revision: int | None = None, lease: Lease | None = None) -> None:
        """Forget a session. Raises SessionNotFoundError, RevisionConflictError."""
        session = await self.live(key, 1)
        if revision is not None and session.revision != revision:
            raise RevisionConflictError("", session_id=key.session_id, expected_revision=revision, revision=0)
        if not await self.engine.delete(key, lease=lease, expected_revision=revision):
            raise not_found(key.session_id)


def new_id() -> str:
    """Return a session's id nobody can guess."""
    return secrets.token_urlsafe(_ID_BYTES)


def not_found(session_id: str) -> SessionNotFoundError:
    """Return the error of a session that is not there, or not for who asks."""
    return SessionNotFoundError("Session not found", session_id=session_id)


def row_of(info: SessionInfo) -> Record:
    """Return one row of a listing, with the names `HttpEngine` reads and those of 004."""
    row = dict(vars(info))
    row["extra"] = {name: value for name, value in info.extra.items() if name not in _DROPPED}
    return {**row, "last_accessed": info.updated_at}


def both(*filters: Filter | None) -> Filter | None:
    """Return a filter for what all of some filters let pass."""
    given = [one for one in filters if one is not None]
    return AndFilter(given) if len(given) > 1 else given[0] if given else None


def owner_of(who: Who, user_id: str | None) -> str | None:
    """Return whose a new session is: the token's user's, else the one the request names."""
    return who.user or user_id


def extended(session: SessionData) -> bool:
    """Tell whether a session holds what only the standard library's JSON tells exactly."""
    return session.extra.get("extended_json") is True


def described(session: SessionData) -> dict[str, Any]:
    """Return a session without its messages, as 004 tells of one."""
    header = {name: value for name, value in session.header().items() if name not in _DROPPED}
    return {**header, "context": session.context, "last_accessed": session.updated_at}
