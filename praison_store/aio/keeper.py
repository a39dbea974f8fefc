"""Keep sessions in memory: read once, saved as changes, out of a cleanup's reach while a block has them open."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from ..engines.contract import Engine
from ..errors import LeaseHeldError, SessionStoreError
from ..model.lease import Lease
from ..model.session import SessionData
from ..model.session_id import SessionKey
from ..retention import policy_named
from .cancellation import settled
from .changes import Changes
from .contract import AsyncEngine
from .leases import Acquisition, HeldLease
from .session import Session
from .threads import ThreadedEngine
from .turns import Turns

KEEP_ALL = policy_named("keep_all", 1)


class Keeper:
    """
    The sessions one manager has in memory.

    Promise: a session that could not be saved stays; one that is open stays with its block.
    """

    def __init__(self, engine: AsyncEngine, *, owns_engine: bool) -> None:
        self.engine, self.owns_engine = engine, owns_engine
        self.closes_when_idle = False
        self._mutex = threading.Lock()
        self._sessions: dict[SessionKey, Session] = {}
        self._open: set[SessionKey] = set()
        self._turns = Turns()

    def found(self, key: SessionKey) -> Session | None:
        """Return a session that is in memory."""
        with self._mutex:
            return self._sessions.get(key)

    def is_open(self, key: SessionKey) -> bool:
        """Tell whether a block has the session."""
        with self._mutex:
            return key in self._open

    def closes_later(self) -> bool:
        """Tell whether a block has any session; then the last one closes the engine."""
        with self._mutex:
            self.closes_when_idle = bool(self._open)
            return self.closes_when_idle

    def names(self, idle_since_s: float | None = None) -> list[SessionKey]:
        """Return what is in memory, or what was not used since then."""
        with self._mutex:
            return [key for key, session in self._sessions.items()
                    if idle_since_s is None or session.last_activity_s <= idle_since_s]

    async def read(self, key: SessionKey) -> Session | None:
        """Return a session as it is stored."""
        data = await self.engine.read(key, None)
        return None if data is None else Session(data, key.namespace)

    async def get(self, key: SessionKey, user_id: str | None) -> Session:
        """Return a session, and keep it."""
        found = self.found(key)
        if found is not None:
            found.touch()
            return found
        await self._turns.take(key)
        try:
            session = self.found(key) or await self._loaded(key, user_id)
            with self._mutex:
                return self._sessions.setdefault(key, session)
        finally:
            self._turns.give(key)

    async def open(self, key: SessionKey, user_id: str | None, turn: Acquisition, lease: Lease | None) -> Session:
        """Return a session for a block whose turn it is: what is in memory is saved first, then read anew."""
        await self._turns.take(key)
        try:
            session = self.found(key)
            if session is None and turn.found is not None:
                session = _session(key, user_id, turn.found[0])
            elif session is None:
                session = await self._loaded(key, user_id)
            else:
                await self._save(session, lease)
                data = await self.engine.read(key, None)
                if data is not None:
                    session.refresh(data)
            with self._mutex:
                self._sessions[key] = session
                self._open.add(key)
            return session
        finally:
            self._turns.give(key)

    def forget(self, key: SessionKey) -> bool:
        """Let go of a block's session; tell whether the engine is to be closed now, as a cleanup asked for it."""
        with self._mutex:
            self._sessions.pop(key, None)
            self._open.discard(key)
            closes = self.closes_when_idle and not self._open
            self.closes_when_idle = self.closes_when_idle and not closes
            return closes

    def deleted(self, key: SessionKey) -> None:
        """Note that a session was deleted, so that nothing in memory brings it back."""
        with self._mutex:
            session = self._sessions.get(key)
            if session is not None:
                session.is_deleted = True
                if key not in self._open:
                    del self._sessions[key]

    async def save(self, session: Session, lease: Lease | None = None) -> bool:
        """
        Write what was changed in a session, as changes to what is stored now; False where nothing was.

        Cancelled, it is done or not begun.

        Raises:
            SessionStoreError: Nothing was written, and the session keeps its changes.
        """
        # In turn, because two saves at the same time would each write the changes both of them see.
        await self._turns.take(session.key)
        try:
            return await self._save(session, lease)
        finally:
            self._turns.give(session.key)

    async def _save(self, session: Session, lease: Lease | None = None) -> bool:
        """Save as `save` does, for who has the turn."""
        wrote = False
        while not session.is_deleted:
            changes = session.changes()
            if changes.is_empty and changes.revision:
                break
            outcome = await settled(self._written(session.key, changes, lease))
            if outcome.value is not None:
                session.saved(changes, outcome.value)
            outcome.result()
            wrote = True  # and again, where the session was changed while it was being written
        return wrote

    async def evict(self, key: SessionKey) -> bool:
        """Save a session and let go of it; False where it is not in memory, or a block has it."""
        await self._turns.take(key)
        try:
            session = self.found(key)
            if session is None or self.is_open(key):
                return False
            await self._save(session)
            with self._mutex:
                self._sessions.pop(key, None)  # deleted meanwhile, it is gone already
            return True
        finally:
            self._turns.give(key)

    async def evict_all(self, keys: Iterable[SessionKey]) -> int:
        """Evict each; return how many. Raises the first failure with notes on the others, after all were tried."""
        count, failures = 0, []
        for key in keys:
            try:
                count += await self.evict(key)
            except SessionStoreError as error:
                failures.append((key, error))
        if failures:
            (first, failure), *others = failures
            failure.add_note(f"The session {first.session_id!r} stays in memory.")
            for other, other_failure in others:
                failure.add_note(f"And so does {other.session_id!r}: {other_failure}")
            raise failure
        return count

    async def _loaded(self, key: SessionKey, user_id: str | None) -> Session:
        return _session(key, user_id, await self.engine.read(key, None))

    async def save_last(self, session: Session, turn: Acquisition, lease: Lease | None) -> bool:
        """Save what a block changed, as `save` does, but once: what comes after the block's end is nobody's."""
        await self._turns.take(session.key)
        try:
            return await self._save_last(session, turn, lease)
        finally:
            self._turns.give(session.key)

    async def _save_last(self, session: Session, turn: Acquisition, lease: Lease | None) -> bool:
        changes, key = session.changes(), session.key
        if session.is_deleted or (changes.is_empty and changes.revision):
            return False
        if isinstance(self.engine, ThreadedEngine):
            await turn.written(self.engine, lambda engine, lease: written(engine, key, changes, lease))
        else:
            (await settled(self._written(key, changes, lease))).result()
        return True

    async def _written(self, key: SessionKey, changes: Changes, lease: Lease | None) -> int:
        """Write changes; return the revision."""
        return _revision_of(await _begun_write(self.engine, key, changes, lease))


def written(engine: Engine, key: SessionKey, changes: Changes, lease: Lease | None) -> int:
    """Write changes by a sync engine, as the keeper does by one that is awaited; return the revision."""
    return _revision_of(_begun_write(engine, key, changes, lease))


def _begun_write(engine: Engine | AsyncEngine, key: SessionKey, changes: Changes, lease: Lease | None) -> Any:
    """Return what the engine's call returned: where only messages came it appends, and decodes nothing else."""
    now_s = time.time()
    if changes.appends_only and changes.revision:
        return engine.append(key, changes.appended, now_s=now_s, policy=KEEP_ALL, lease=lease,
                             least_revision=changes.revision)
    return engine.update(
        key, lambda current: changes.apply(key, current), now_s=now_s, policy=KEEP_ALL, lease=lease)


def _revision_of(outcome: int | SessionData) -> int:
    return outcome.revision if isinstance(outcome, SessionData) else outcome


def _session(key: SessionKey, user_id: str | None, data: SessionData | None) -> Session:
    """Return the session of what is stored, or a new one that is not stored yet."""
    if data is not None:
        return Session(data, key.namespace)
    session = Session(SessionData(key.session_id), key.namespace)
    session.user_id = user_id
    return session


class SessionBlock:
    """One `async with` on a session; see `SessionManager.session`."""

    def __init__(self, keeper: Keeper, key: SessionKey, user_id: str | None, turn: Acquisition) -> None:
        self._keeper, self._key, self._user_id, self._turn = keeper, key, user_id, turn
        turn.reads = keeper.found(key) is None  # what is in memory is saved first
        self._held: HeldLease | None = None
        self._session: Session | None = None

    async def __aenter__(self) -> Session:
        self._held = await self._turn.__aenter__()
        try:
            if self._keeper.is_open(self._key):
                raise LeaseHeldError(
                    f"This task has the session {self._key.session_id!r} open in a block outside: use that one.",
                    session_id=self._key.session_id, waited_s=0.0,
                )
            self._session = await self._keeper.open(self._key, self._user_id, self._turn, self._held.lease)
        except BaseException as error:
            await self._turn.__aexit__(type(error), error, error.__traceback__)
            raise
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held, session = self._held, self._session
        assert held is not None  # nosec B101 # our own mistake
        assert session is not None  # nosec B101 # our own mistake
        self._turn.spare()
        failure = error
        try:
            if error is None:
                held.check()
                self._turn.is_settled = await self._keeper.save_last(session, self._turn, held.lease)
        except BaseException as raised:  # noqa: BLE001 - it is raised below, when the session and its lease are let go
            failure = raised
        closes = self._keeper.forget(self._key)
        try:
            await self._turn.__aexit__(None if failure is None else type(failure), failure, trace)
        finally:
            if closes and self._keeper.owns_engine:
                await self._keeper.engine.close()
        if failure is not error and failure is not None:
            raise failure
