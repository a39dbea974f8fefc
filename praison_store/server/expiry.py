"""What ends, and when: sessions past their time, and the least recently used of a user who has too many."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone

from ..aio.contract import AsyncEngine
from ..engines.contract import Change
from ..errors import RevisionConflictError, SessionStoreError
from ..model.filters import AndFilter, ComparisonFilter, Filter, OrFilter
from ..model.session import SessionData, SessionInfo, iso_utc
from ..model.session_id import SessionKey

logger = logging.getLogger("praison_store.server")
# Leases of the service itself; a namespace no user's name can be, because it has a space.
SERVICE = "praison-store service"
_SWEEP = SessionKey("sweep", SERVICE)
_REMOVAL_S = 30.0
_UTC = ("+00:00", "Z")


class Expiry:
    """
    The ends of sessions.

    Args:
        timeout_s: how long a session lives behind its last write; infinite for ever.
        on_swept: told how many sessions each sweep of this process removed.
    Promise: a session that was written meanwhile is never removed, because each removal names the revision that was
    seen; nor one that somebody holds, because a query that is being answered would have nowhere to keep the answer.
    """

    def __init__(
        self, engine: AsyncEngine, timeout_s: float, interval_s: float, on_swept: Callable[[int], None]
    ) -> None:
        self._engine, self._timeout_s, self._interval_s, self._on_swept = engine, timeout_s, interval_s, on_swept
        self._owner = f"sweep:{os.getpid()}:{secrets.token_hex(8)}"
        self._task: asyncio.Task[None] | None = None

    @property
    def is_on(self) -> bool:
        """Tell whether sessions end by time at all."""
        return self._timeout_s < float("inf")

    def has_ended(self, session: SessionData | SessionInfo) -> bool:
        """Tell whether a session's time is over; one whose last write has no time goes on."""
        if not self.is_on or not session.updated_at:
            return False
        written_s = seconds_of(session.updated_at)
        if written_s is None:
            return session.updated_at < self._start()  # as filters compare what is no time
        return written_s < time.time() - self._timeout_s

    def begun_at(self, session: SessionData) -> str:
        """
        Return when a session that is brought here was last written, as filters compare times: in UTC.

        It is now where that is so long ago that the session would end before it began.
        """
        if self.has_ended(session):
            return iso_utc(time.time())
        written_s = None if session.updated_at.endswith(_UTC) else seconds_of(session.updated_at)
        return session.updated_at if written_s is None else iso_utc(written_s)

    def living(self, filters: Filter | None = None) -> Filter | None:
        """Return a filter with those that ended left out."""
        if not self.is_on:
            return filters
        written = ComparisonFilter("updated_at", "gte", self._start())
        alive = OrFilter([written, ComparisonFilter("updated_at", "eq", "")])
        return alive if filters is None else AndFilter([filters, alive])

    async def sweep(self) -> int:
        """Remove every session that ended; return how many this call removed."""
        if not self.is_on:
            self._on_swept(0)
            return 0
        ended = await self._engine.find(filters=ComparisonFilter("updated_at", "lt", self._start()), namespace=None)
        removed = 0
        for info in ended:
            if self.has_ended(info):
                try:
                    removed += await self._removed(info)
                except SessionStoreError as error:
                    # One that cannot be removed keeps no other; its error may name paths, so its kind is told.
                    logger.warning("a session was not swept: %s", type(error).__name__)
        self._on_swept(removed)
        return removed

    async def evict(self, mine: Filter, namespace: str | None, most: int, written: SessionKey) -> None:
        """
        Remove a user's least recently used sessions until `most` are left, but never the one that was just written.

        The caller has the user's turn. More are left only where others are held.
        """
        found = await self._engine.find(filters=self.living(mine), order_by="updated_at", namespace=namespace)
        excess = len(found) - most
        for info in found:
            if excess > 0 and SessionKey(info.session_id, info.namespace) != written:
                excess -= await self._removed(info)

    async def _removed(self, info: SessionInfo) -> bool:
        key = SessionKey(info.session_id, info.namespace)
        lease = await self._engine.claim(key, f"{self._owner}:{secrets.token_hex(4)}", _REMOVAL_S)
        if lease is None:
            return False  # somebody holds it
        try:
            return await self._engine.delete(key, lease=lease, expected_revision=info.revision)
        except RevisionConflictError:
            return False  # it was written meanwhile
        finally:
            await self._engine.release(lease)

    def _start(self) -> str:
        """Return since when sessions live that were written."""
        return iso_utc(max(time.time() - self._timeout_s, 0))

    # ---- in the background ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Sweep every interval, once for all processes on one store."""
        if self.is_on and self._interval_s and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._sweeping())

    async def stop(self) -> None:
        """Sweep no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _sweeping(self) -> None:
        while True:
            try:
                # Held until the next sweep is due, so that others find it taken meanwhile; who dies loses it then.
                if await self._engine.claim(_SWEEP, self._owner, self._interval_s) is not None:
                    await self.sweep()
            except Exception as error:  # noqa: BLE001 - whatever it was, it must not be the last sweep
                logger.warning("the sweep failed, it is tried again: %s", type(error).__name__)
            await asyncio.sleep(self._interval_s)


def anew(change: Change) -> Change:
    """
    Return a change that is made to a session that ended, as if it were not there.

    It stands where the old one stood and its revision grows, so that a sweep on its way removes nothing of the new one.
    """
    def begun(session: SessionData) -> bool | None:
        revision, now = session.revision, iso_utc(time.time())
        vars(session).update(vars(SessionData(session.session_id, created_at=now, updated_at="")))
        done = change(session)
        session.revision = max(session.revision, revision)
        return done

    return begun


def seconds_of(text: str) -> float | None:
    """Return a time of a session in seconds since 1970; None where it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()
