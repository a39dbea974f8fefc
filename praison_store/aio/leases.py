"""
Hold a session's lease while a block runs: claim it, keep it alive, tell its holder at once where it was lost.

What is decided about a lease is decided in `model/lease.py`, and kept by the engine; this drives it with a clock.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import uuid
from collections.abc import Callable
from types import TracebackType

from ..engines.contract import Engine
from ..engines.refusals import held
from ..errors import LeaseExpiredError, OutcomeUnknownError, SessionStoreError, UnsupportedOperationError
from ..model import arguments
from ..model.lease import Lease, lost
from ..model.session import SessionData
from ..model.session_id import SessionKey, file_stem, key_of
from .cancellation import Settled, settled
from .contract import AsyncEngine
from .threads import ThreadedEngine
from .turns import Turns

logger = logging.getLogger("praison_store")
BUSY = ("wait", "fail")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 0.2


class HeldLease:
    """
    A lease while it is held; pass `lease` to an engine's write, and the write is refused once another follows.

    Shape: `lease` is the newest renewal, None where the service keeps no leases; `owner` is this acquisition's alone.
    """

    def __init__(self, key: SessionKey, agent_id: str, owner: str, lease: Lease | None, now_s: float) -> None:
        self.key, self.agent_id, self.owner, self.lease = key, agent_id, owner, lease
        self.error: LeaseExpiredError | None = None
        self.renewed_s = now_s
        self.task = asyncio.current_task()

    @property
    def generation(self) -> int:
        """How many claims the session has seen, this one included; 0 without leases."""
        return self.lease.generation if self.lease else 0

    def check(self) -> None:
        """Make sure it is not known to be lost. Raises LeaseExpiredError; asks no engine."""
        if self.error is not None:
            raise self.error


class Heartbeat:
    """
    Renew a held lease, and cancel its block where that is refused or no answer comes for a whole `ttl_s`.

    Timers of the loop and no task of its own: a block shorter than the interval pays nothing.
    """

    def __init__(self, engine: AsyncEngine, holder: HeldLease, ttl_s: float, interval_s: float) -> None:
        self._engine, self._holder, self._ttl_s, self._interval_s = engine, holder, ttl_s, interval_s
        self._loop = asyncio.get_running_loop()
        self._block = holder.task
        self._cancellations = holder.task.cancelling() if holder.task else 0
        self._has_cancelled = False
        self._renewal: asyncio.Task[Lease] | None = None
        self._timer: asyncio.TimerHandle | None = None
        if holder.lease is not None:
            self._timer = self._loop.call_later(interval_s, self._beat)

    def spare(self) -> None:
        """Leave the block alone from now on: it ends, and the engine's answer to its write decides."""
        self._block = None

    async def stop(self) -> asyncio.CancelledError | None:
        """Renew no more, and wait for a renewal that is on its way; return a cancellation that came meanwhile."""
        self._block = None
        self._interval_s = 0
        if self._timer is not None:
            self._timer.cancel()
        if self._renewal is None or self._renewal.done():
            return None
        outcome = await settled(self._renewal)
        return None if self._renewal.cancelled() else outcome.cancelled

    def was_cause(self, error: BaseException | None) -> bool:
        """Tell whether a block ended by this heartbeat's cancellation, and take that back; call it once."""
        task = self._holder.task
        if not self._has_cancelled or task is None:
            return False
        # As asyncio.timeout does: where somebody else cancelled the task too, the cancellation is theirs.
        return task.uncancel() <= self._cancellations and isinstance(error, asyncio.CancelledError)

    def _beat(self) -> None:
        lease = self._holder.lease
        if lease is None or not self._interval_s:
            return
        begun_s = self._loop.time()
        self._renewal = self._loop.create_task(self._renew(lease))
        self._renewal.add_done_callback(lambda renewal: self._renewed(renewal, begun_s))
        patience_s = max(self._interval_s, self._holder.renewed_s + self._ttl_s - begun_s)
        self._timer = self._loop.call_later(patience_s, self._lose, None)

    async def _renew(self, lease: Lease) -> Lease:
        return await self._engine.renew(lease, self._ttl_s)

    def _renewed(self, renewal: asyncio.Task[Lease], begun_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if renewal.cancelled():
            return
        error = renewal.exception()
        if error is None:
            self._holder.lease, self._holder.renewed_s = renewal.result(), begun_s
        elif isinstance(error, LeaseExpiredError) or self._loop.time() >= self._holder.renewed_s + self._ttl_s:
            self._lose(error)
            return
        else:
            logger.warning("The lease on %r was not renewed, it is tried again: %s", self._holder.key.session_id, error)
        if self._interval_s:
            pause_s = self._interval_s if error is None else min(self._interval_s, self._ttl_s / 10)
            self._timer = self._loop.call_later(pause_s, self._beat)

    def _lose(self, cause: BaseException | None) -> None:
        holder = self._holder
        if holder.error is not None or holder.lease is None:
            return
        holder.error = cause if isinstance(cause, LeaseExpiredError) else lost(holder.lease)
        if holder.error is not cause:
            holder.error.__cause__ = cause
        if self._block is not None and not self._block.done():
            self._has_cancelled = True
            self._block.cancel("the lease was lost")


class AgentLock:
    """
    The leases of one manager: `async with manager.agent_lock.acquire(session_id, agent_id) as held:`.

    Promise: of all blocks on one session, in any number of processes, one runs at a time. A holder that stalls past
    `ttl_s` may lose its lease to another; then its block is cancelled at its next await, LeaseExpiredError comes out
    of it, and its late writes are refused. Cancelled anywhere, nothing stays claimed.
    """

    def __init__(
        self, engine: AsyncEngine, *, ttl_s: float, heartbeat_s: float, on_busy: str, wait_timeout_s: float | None
    ) -> None:
        self.engine, self.ttl_s, self.heartbeat_s = engine, ttl_s, heartbeat_s
        self.on_busy, self.wait_timeout_s = on_busy, wait_timeout_s
        self.turns = Turns()
        self.holders: dict[SessionKey, HeldLease] = {}

    def acquire(
        self, session_id: str, agent_id: str, user_id: str | None = None, *, on_busy: str | None = None,
        wait_timeout: float | None = None,
    ) -> Acquisition:
        """
        Return the block that holds the session's lease; a block of the same task inside it shares it.

        Args:
            on_busy: `wait` for another holder or `fail`; None does what the manager does.
            wait_timeout: seconds to wait at most; None waits as long as the manager does.
        Raises:
            LeaseHeldError: On entry, while another holds it. LeaseExpiredError: In the block, once another took it.
        """
        name = arguments.text(agent_id, "agent_id") or ""
        return Acquisition(self, key_for(session_id, user_id), name, on_busy, wait_timeout)

    def held_here(self, key: SessionKey) -> HeldLease | None:
        """Return what the running task holds of a session."""
        holder = self.holders.get(key)
        return holder if holder is not None and holder.task is asyncio.current_task() else None

    def lease_here(self, key: SessionKey) -> Lease | None:
        """Return the lease the running task holds of a session, for a write. Raises LeaseExpiredError."""
        holder = self.held_here(key)
        if holder is None:
            return None
        holder.check()
        return holder.lease


class Acquisition:
    """One `async with` on a session's lease; see `AgentLock`."""

    def __init__(
        self, lock: AgentLock, key: SessionKey, agent_id: str, on_busy: str | None, wait_timeout: float | None,
        *, is_needed: bool = True,
    ) -> None:
        self._lock, self._key, self._agent_id, self._is_needed = lock, key, agent_id, is_needed
        self._on_busy = lock.on_busy if on_busy is None else arguments.one_of(on_busy, "on_busy", BUSY)
        waits_s = lock.wait_timeout_s if wait_timeout is None else arguments.seconds(wait_timeout, "wait_timeout")
        self._wait_s = 0.0 if self._on_busy == "fail" else waits_s
        self.reads = False  # whether the session is read in the same step
        self.found: tuple[SessionData | None] | None = None
        self._is_released = False
        self.is_settled = False  # its write was taken, so that losing the lease afterwards harms nothing
        self._held: HeldLease | None = None
        self._heartbeat: Heartbeat | None = None

    async def __aenter__(self) -> HeldLease:
        outer = self._lock.held_here(self._key)
        if outer is not None:
            outer.check()
            self._held = outer
            return outer
        begun_s = asyncio.get_running_loop().time()
        if not await self._lock.turns.take(self._key, self._wait_s):
            raise held(self._key, asyncio.get_running_loop().time() - begun_s)
        try:
            owner = f"{self._agent_id}:{os.getpid()}:{uuid.uuid4().hex}"
            lease, claimed_s = await self._claimed(owner, begun_s)
        except BaseException:
            self._lock.turns.give(self._key)
            raise
        self._held = self._lock.holders[self._key] = HeldLease(self._key, self._agent_id, owner, lease, claimed_s)
        self._heartbeat = Heartbeat(self._lock.engine, self._held, self._lock.ttl_s, self._lock.heartbeat_s)
        return self._held

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        holder, heartbeat = self._held, self._heartbeat
        if holder is None or heartbeat is None:
            return  # the outer block's
        heartbeat.spare()
        is_ours = heartbeat.was_cause(error)
        try:
            cancelled = await heartbeat.stop()
            cancelled = await self._released(holder) or cancelled
        finally:
            del self._lock.holders[self._key]
            self._lock.turns.give(self._key)
        if holder.error is not None and (is_ours or (error is None and not self.is_settled)):
            raise holder.error from error
        if error is None and cancelled is not None:
            raise cancelled

    def spare(self) -> None:
        """Cancel the block no more: it writes now, and the engine decides whether the lease still holds."""
        if self._heartbeat is not None:
            self._heartbeat.spare()

    async def _claimed(self, owner: str, begun_s: float) -> tuple[Lease | None, float]:
        """Return a fresh lease, and since when it is held by the loop's clock. Raises LeaseHeldError."""
        loop, pause_s = asyncio.get_running_loop(), _FIRST_PAUSE_S
        while True:
            asked_s = loop.time()
            try:
                lease = await self._claim(owner)
            except UnsupportedOperationError:
                if self._is_needed:
                    raise
                return None, asked_s  # a service without leases: turns in this process, and its own conflicts
            if lease is not None:
                return lease, asked_s
            left_s = _LONGEST_PAUSE_S if self._wait_s is None else begun_s + self._wait_s - loop.time()
            if left_s <= 0:
                raise held(self._key, loop.time() - begun_s)
            # Not all at once: many who wait for one lease would meet at the engine again and again.
            await asyncio.sleep(min(left_s, pause_s * random.uniform(0.5, 1)))  # nosec B311 # a pause, no secret
            pause_s = min(pause_s * 1.6, _LONGEST_PAUSE_S)

    async def _claim(self, owner: str) -> Lease | None:
        """Claim once; cancelled meanwhile, give back what was claimed before the cancellation goes on."""
        engine, ttl_s = self._lock.engine, self._lock.ttl_s
        if self.reads and isinstance(engine, ThreadedEngine):
            both = await settled(engine.begun(lambda sync: self._claim_and_read(sync, owner)))
            claimed, self.found = both.value or (None, None)
            outcome: Settled[Lease | None] = Settled(claimed, both.error, both.cancelled)
        else:
            outcome = await settled(engine.claim(self._key, owner, ttl_s))
        is_unknown = isinstance(outcome.error, OutcomeUnknownError)
        if outcome.cancelled is not None or is_unknown:
            lease = outcome.value
            if lease is None and (outcome.error is None or is_unknown):
                # Not known whether it was claimed; the same owner's claim tells, because it keeps its generation.
                again = await settled(engine.claim(self._key, owner, ttl_s))
                lease = again.value
                outcome = outcome._replace(cancelled=outcome.cancelled or again.cancelled)
            if lease is not None:
                released = await settled(engine.release(lease))
                outcome = outcome._replace(cancelled=outcome.cancelled or released.cancelled)
        return outcome.result()

    def _claim_and_read(self, engine: Engine, owner: str) -> tuple[Lease | None, tuple[SessionData | None] | None]:
        """Claim and read in one step; where it cannot be read, the lease is given back."""
        lease = engine.claim(self._key, owner, self._lock.ttl_s)
        if lease is None:
            return None, None
        try:
            return lease, (engine.read(self._key, None),)
        except BaseException:
            engine.release(lease)
            raise

    async def written(self, engine: ThreadedEngine, write: Callable[[Engine, Lease | None], int]) -> int:
        """Make the block's last write, and give the lease back in the same thread; where it is refused, on exit."""
        holder, heartbeat = self._held, self._heartbeat
        if holder is None or heartbeat is None or holder.lease is None:
            return (await settled(engine.begun(lambda sync: write(sync, holder.lease if holder else None)))).result()
        lease, cancelled = holder.lease, await heartbeat.stop()
        lease = holder.lease or lease  # a renewal may have been on its way

        def both(sync: Engine) -> tuple[int, bool]:
            revision = write(sync, lease)
            try:
                sync.release(lease)
            except SessionStoreError:
                return revision, False  # on exit it is tried again, and told in the log
            return revision, True

        outcome = await settled(engine.begun(both))
        if outcome.value is not None:
            self.is_settled, self._is_released = True, outcome.value[1]
        revision, _ = outcome._replace(cancelled=outcome.cancelled or cancelled).result()
        return revision

    async def _released(self, holder: HeldLease) -> asyncio.CancelledError | None:
        """Give the lease back; return a cancellation that came meanwhile."""
        if holder.lease is None or self._is_released:
            return None
        outcome = await settled(self._lock.engine.release(holder.lease))
        if outcome.cancelled is not None and outcome.value is None and outcome.error is None:
            again = await settled(self._lock.engine.release(holder.lease))  # a closing loop cancelled the call itself
            outcome = again._replace(cancelled=outcome.cancelled)
        if isinstance(outcome.error, SessionStoreError):
            logger.warning("The lease on %r was not given back, it runs out in %g s: %s",
                           holder.key.session_id, self._lock.ttl_s, outcome.error)
        elif outcome.error is not None:
            raise outcome.error
        if outcome.value is False and holder.error is None:
            holder.error = lost(holder.lease)
        return outcome.cancelled


def key_for(session_id: object, user_id: str | None = None) -> SessionKey:
    """Return the key of a user's session: alice's and bob's `chat_001` are two. Raises InvalidSessionIdError."""
    key = key_of(session_id)
    file_stem(key.session_id)
    if user_id is None:
        return key
    return SessionKey(key.session_id, arguments.text(user_id, "user_id") or "")
