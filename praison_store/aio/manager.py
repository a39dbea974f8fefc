"""Sessions for asyncio: blocks that take turns by lease, sessions kept in memory, and what belongs to an agent."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from ..engines.contract import Change, Engine
from ..errors import InvalidArgumentError, LeaseHeldError, shown
from ..model import arguments
from ..model.message import Record, SessionMessage
from ..model.selection import OrderBy
from ..model.session import SessionData, SessionInfo
from ..model.session_id import SessionKey
from . import agents
from .cancellation import settled
from .contract import AsyncEngine
from .database import DatabaseEngine
from .keeper import KEEP_ALL, Keeper, SessionBlock
from .leases import BUSY, Acquisition, AgentLock, key_for
from .session import Session
from .urls import awaited, engine_from_url


class SessionManager:
    """
    The sessions of one place.

    Args:
        endpoint: a directory's path or any engine URL; None keeps sessions in this manager's memory.
        engine: a database engine of this package, or any engine, in place of `endpoint`.
        lock_ttl: seconds a lease outlives its last heartbeat; more than `heartbeat_interval`.
        on_busy: `wait` for a session another holds, or `fail` at once with LeaseHeldError.
        wait_timeout: seconds a block waits for its turn at most; None waits as long as it takes.
    Promise: blocks on one session take turns, in this process and in others, so that no change is lost; what is saved
    is what was changed, so that others' messages and names stay. Usable from several event loops and threads.
    Source: the names follow the Codin SessionManager README and NexAU's session management.
    """

    def __init__(
        self, endpoint: str | None = None, *, engine: DatabaseEngine | AsyncEngine | Engine | None = None,
        lock_ttl: float = 30.0, heartbeat_interval: float = 10.0, on_busy: str = "wait",
        wait_timeout: float | None = 300.0,
    ) -> None:
        if endpoint is not None and engine is not None:
            raise InvalidArgumentError("endpoint and engine both say where sessions live: pass one of them.")
        ttl_s = arguments.seconds(lock_ttl, "lock_ttl")
        heartbeat_s = arguments.seconds(heartbeat_interval, "heartbeat_interval")
        if not 0 < heartbeat_s < ttl_s:
            raise InvalidArgumentError(
                f"heartbeat_interval is more than 0 and less than lock_ttl, not {shown(heartbeat_interval)} of "
                f"{shown(lock_ttl)}: pass a third of it."
            )
        if engine is None:
            self.engine = engine_from_url("memory://" if endpoint is None else endpoint)
        else:
            self.engine = engine.engine if isinstance(engine, DatabaseEngine) else awaited(engine)
        self.agent_lock = AgentLock(
            self.engine, ttl_s=ttl_s, heartbeat_s=heartbeat_s, on_busy=arguments.one_of(on_busy, "on_busy", BUSY),
            wait_timeout_s=None if wait_timeout is None else arguments.seconds(wait_timeout, "wait_timeout"),
        )
        self._keeper = Keeper(self.engine, owns_engine=engine is None)

    async def __aenter__(self) -> SessionManager:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cleanup()

    # ---- sessions ----------------------------------------------------------------------------------------------

    def session(
        self, session_id: str, user_id: str | None = None, *, on_busy: str | None = None,
        wait_timeout: float | None = None,
    ) -> SessionBlock:
        """
        Return the block `async with manager.session(session_id) as session:`.

        The session is read, or begun, when the block has its turn; saved when the block ends, unless by an exception;
        and leaves memory in any case.

        Args:
            on_busy, wait_timeout: as the manager's; None does what the manager does.
        Raises:
            LeaseHeldError: On entry, while another holds the session, or this very task in a block outside.
            LeaseExpiredError: In the block, once another took its turn (at its next await); or on exit, nothing saved.
            RevisionConflictError: On exit; who takes no turns changed the same name. Nothing was saved.
        """
        key = key_for(session_id, user_id)
        turn = Acquisition(self.agent_lock, key, "session", on_busy, wait_timeout, is_needed=False)
        return SessionBlock(self._keeper, key, user_id, turn)

    async def get_session(self, session_id: str, user_id: str | None = None) -> Session | None:
        """Return a session, from memory or as it is stored; None where there is none. It does not stay in memory."""
        key = key_for(session_id, user_id)
        return self._keeper.found(key) or await self._keeper.read(key)

    async def get_or_create_session(self, session_id: str, user_id: str | None = None) -> Session:
        """
        Return a session and keep it in memory, until `close_session` or a cleanup saves it; a new one is stored then.

        Not promised: turns. What it changed is saved beside what others did, or refused; use `session` for turns.
        """
        return await self._keeper.get(key_for(session_id, user_id), user_id)

    async def save_session(self, session: Session) -> bool:
        """
        Save what was changed in a session, beside what others did; False where nothing was.

        Raises:
            RevisionConflictError: Another changed the same name or message. Nothing was written.
        """
        return await self._keeper.save(session, self.agent_lock.lease_here(session.key))

    async def close_session(self, session_id: str, user_id: str | None = None) -> bool:
        """
        Save a session and take it out of memory; False where it is not there.

        Raises:
            LeaseHeldError: A block has it open; it is saved when that ends. SessionStoreError: It could not be saved,
            and stays in memory.
        """
        key = key_for(session_id, user_id)
        if self._keeper.is_open(key):
            message = f"A block has the session {session_id!r} open and saves it at its end: leave it first."
            raise LeaseHeldError(message, session_id=session_id, waited_s=0.0)
        return await self._keeper.evict(key)

    async def delete_session(self, session_id: str, user_id: str | None = None) -> bool:
        """
        Delete a session and all that belongs to it, in turn; False for an unknown one.

        Raises:
            LeaseHeldError: Another holds it. Nothing was deleted.
        """
        key = key_for(session_id, user_id)
        turn = Acquisition(self.agent_lock, key, "delete", None, None, is_needed=False)
        async with turn as held:
            was_there = (await settled(self.engine.delete(key, lease=held.lease))).result()
            turn.is_settled = True
            self._keeper.deleted(key)
            return was_there

    async def list_sessions(
        self, *, user_id: str | None = None, limit: int | None = None, offset: int = 0, order_by: OrderBy = None
    ) -> list[SessionInfo]:
        """Return the stored sessions of a user, or of nobody in particular, without their messages."""
        return await self.engine.find(namespace=user_id or "", limit=limit, offset=offset, order_by=order_by)

    def get_active_sessions(self) -> list[str]:
        """Return the ids of the sessions in memory, in the order they came."""
        return [key.session_id for key in self._keeper.names()]

    async def cleanup_inactive_sessions(self, max_age_seconds: float = 3600.0) -> int:
        """
        Save and forget sessions in memory that were not used for so long; return how many.

        Raises:
            SessionStoreError: One could not be saved and stays; the others were tried first.
        """
        oldest_s = time.time() - arguments.seconds(max_age_seconds, "max_age_seconds")
        return await self._keeper.evict_all(self._keeper.names(oldest_s))

    async def cleanup(self) -> int:
        """
        Save and forget every session in memory, and close what this manager opened; return how many.

        A session a block has open stays with it, and the engine is closed when the last block ends.

        Raises:
            SessionStoreError: One could not be saved and stays, and so does the engine; the others were tried first.
        """
        count = await self._keeper.evict_all(self._keeper.names())
        if not self._keeper.closes_later() and self._keeper.owns_engine:
            await self.engine.close()
        return count

    # ---- agents ------------------------------------------------------------------------------------------------

    async def setup_models(self) -> None:
        """Make what the engine needs to exist; see `DatabaseEngine.setup_models`."""
        await DatabaseEngine(self.engine).setup_models()

    async def register_agent(
        self, *, user_id: str | None = None, session_id: str, agent_id: str | None = None, agent_name: str = "",
        is_root: bool = True,
    ) -> tuple[str, Session]:
        """Note an agent in a session, which is begun if need be; return its id, a new one for None, and the session."""
        name, change = agents.registration(agent_id, agent_name, is_root, user_id, time.time())
        data = await self._changed(key_for(session_id, user_id), change)
        return name(data), Session(data, key_for(session_id, user_id).namespace)

    async def update_session_context(
        self, *, user_id: str | None = None, session_id: str, context: Mapping[str, Any]
    ) -> Session:
        """Set names of a session's context in one step, the others stay; the session is begun if need be."""
        return await self._updated(session_id, user_id, agents.names_set("context", context, user_id))

    async def update_session_metadata(
        self, *, user_id: str | None = None, session_id: str, metadata: Mapping[str, Any]
    ) -> Session:
        """Set names of a session's metadata in one step, the others stay; the session is begun if need be."""
        return await self._updated(session_id, user_id, agents.names_set("metadata", metadata, user_id))

    async def append_messages(
        self, *, user_id: str | None = None, session_id: str, messages: Sequence[SessionMessage | Mapping[str, Any]],
        agent_id: str | None = None, run_id: str | None = None,
    ) -> list[Record]:
        """Store what was said in a run of an agent, all or none; return the messages as they are stored."""
        records = agents.records_of_run(messages, agent_id, run_id, time.time())
        key = key_for(session_id, user_id)
        if not await self.engine.exists(key):
            await self._changed(key, agents.names_set("metadata", {}, user_id))
        lease = self.agent_lock.lease_here(key)
        call = self.engine.append(key, records, now_s=time.time(), policy=KEEP_ALL, lease=lease)
        (await settled(call)).result()
        return records

    async def get_history(
        self, *, user_id: str | None = None, session_id: str, agent_id: str | None = None, run_id: str | None = None
    ) -> list[Record]:
        """Return the messages of a session, of one agent, or of one run, oldest first, as a model API takes them."""
        data = await self.engine.read(key_for(session_id, user_id), None)
        return agents.history_of(data, agent_id, run_id) if data else []

    async def get_runs(self, *, user_id: str | None = None, session_id: str, agent_id: str | None = None) -> list[str]:
        """Return the ids of the runs a session holds, of one agent or of all, oldest first."""
        data = await self.engine.read(key_for(session_id, user_id), None)
        return agents.runs_of(data, agent_id) if data else []

    async def _updated(self, session_id: str, user_id: str | None, change: Change) -> Session:
        key = key_for(session_id, user_id)
        return Session(await self._changed(key, change), key.namespace)

    async def _changed(self, key: SessionKey, change: Change) -> SessionData:
        """Change a stored session in one step, under the lease the running task holds, if any."""
        lease = self.agent_lock.lease_here(key)
        call = self.engine.update(key, change, now_s=time.time(), policy=KEEP_ALL, lease=lease)
        return (await settled(call)).result()
