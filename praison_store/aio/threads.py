"""Await an engine of files or memory: each call runs in a worker thread."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ..engines.contract import Capabilities, Change, Engine
from ..engines.forks import renew_in_child
from ..model.filters import Filter
from ..model.lease import Lease
from ..model.message import Record
from ..model.selection import OrderBy
from ..model.session import SessionData, SessionInfo
from ..model.session_id import SessionKey
from ..retention import Policy
from .cancellation import settled

T = TypeVar("T")
_MOST_HEARTBEATS = 32  # threads; each begins when it is needed


class ThreadedEngine:
    """
    An engine behind `await`.

    Promise: a cancelled call waits until its thread is done before the cancellation goes on, because a thread cannot
    be stopped and what it writes must not come after what the caller does next. Usable from several event loops. What
    lives in memory answers at once, without a thread.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._run = in_thread if engine.capabilities.durable else _at_once
        self._heartbeats: ThreadPoolExecutor | None = None
        self._mutex = threading.Lock()
        renew_in_child(self)

    def renew_after_fork(self) -> None:
        """Begin without threads in a forked child: those of the parent are not there."""
        self._heartbeats, self._mutex = None, threading.Lock()

    @property
    def capabilities(self) -> Capabilities:
        """Tell what the engine promises."""
        return self.engine.capabilities

    def begun(self, work: Callable[[Engine], T]) -> Awaitable[T]:
        """
        Begin several calls in one thread, one after the other; changing threads costs as much as a small write.

        Returns:
            What is to be waited for by `cancellation.settled`, because a cancellation does not stop it.
        """
        is_durable = self.engine.capabilities.durable
        return begun_in_thread(None, work, self.engine) if is_durable else _at_once(work, self.engine)

    async def history(self, key: SessionKey, newest: int | None) -> list[Record]:
        """Await form of `Engine.history`; see there."""
        return await self._run(self.engine.history, key, newest)

    async def read(self, key: SessionKey, newest: int | None) -> SessionData | None:
        """Await form of `Engine.read`; see there."""
        return await self._run(self.engine.read, key, newest)

    async def exists(self, key: SessionKey) -> bool:
        """Await form of `Engine.exists`; see there."""
        return await self._run(self.engine.exists, key)

    async def whole(self, key: SessionKey) -> tuple[SessionData, list[Record]] | None:
        """Await form of `Engine.whole`; see there."""
        return await self._run(self.engine.whole, key)

    async def append(
        self, key: SessionKey, messages: Sequence[Record], *, now_s: float, policy: Policy, lease: Lease | None = None,
        least_revision: int = 0,
    ) -> int:
        """Await form of `Engine.append`; see there."""
        return await self._run(
            self.engine.append, key, messages, now_s=now_s, policy=policy, lease=lease, least_revision=least_revision)

    async def update(
        self, key: SessionKey, change: Change, *, now_s: float, policy: Policy, expected_revision: int | None = None,
        keep_archive: bool = True, lease: Lease | None = None,
    ) -> SessionData:
        """Await form of `Engine.update`; `change` runs in the thread. See there."""
        return await self._run(
            self.engine.update, key, change, now_s=now_s, policy=policy, expected_revision=expected_revision,
            keep_archive=keep_archive, lease=lease,
        )

    async def delete(
        self, key: SessionKey, *, lease: Lease | None = None, expected_revision: int | None = None
    ) -> bool:
        """Await form of `Engine.delete`; see there."""
        return await self._run(self.engine.delete, key, lease=lease, expected_revision=expected_revision)

    async def find(
        self, *, filters: Filter | None = None, order_by: OrderBy = None, limit: int | None = None, offset: int = 0,
        namespace: str | None = "",
    ) -> list[SessionInfo]:
        """Await form of `Engine.find`, as a list; see there."""
        def listed() -> list[SessionInfo]:
            found = self.engine.find(
                filters=filters, order_by=order_by, limit=limit, offset=offset, namespace=namespace
            )
            return list(found)

        return await self._run(listed)

    async def search(
        self, terms: Sequence[str], *, namespace: str | None = ""
    ) -> list[tuple[SessionData, list[Record]]]:
        """Await form of `Engine.search`, as a list; see there."""
        return await self._run(lambda: list(self.engine.search(terms, namespace=namespace)))

    async def count(self, filters: Filter | None = None, *, namespace: str | None = "") -> int:
        """Await form of `Engine.count`; see there."""
        return await self._run(self.engine.count, filters, namespace=namespace)

    async def claim(self, key: SessionKey, owner: str, ttl_s: float) -> Lease | None:
        """Await form of `Engine.claim`; see there."""
        return await self._run(self.engine.claim, key, owner, ttl_s)

    async def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """
        Await form of `Engine.renew`; see there. In a thread kept for it: all others may wait for their turns at files,
        and a lease that is not renewed meanwhile is lost.
        """
        if not self.engine.capabilities.durable:
            return self.engine.renew(lease, ttl_s)
        with self._mutex:
            # Several, because one that waits for its session's turn must not keep the others from theirs.
            self._heartbeats = self._heartbeats or ThreadPoolExecutor(_MOST_HEARTBEATS, "praison_store heartbeat")
            heartbeats = self._heartbeats
        return (await settled(begun_in_thread(heartbeats, self.engine.renew, lease, ttl_s))).result()

    async def release(self, lease: Lease) -> bool:
        """Await form of `Engine.release`; see there."""
        return await self._run(self.engine.release, lease)

    async def close(self) -> None:
        """Await form of `Engine.close`; see there."""
        await self._run(self.engine.close)
        with self._mutex:
            heartbeats, self._heartbeats = self._heartbeats, None
        if heartbeats is not None:
            heartbeats.shutdown(wait=False)


async def in_thread(call: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """
    Run a call in a worker thread; a cancellation waits until it is done.

    An error that comes with a cancellation is left out: the caller hears of the cancellation alone.
    """
    return (await settled(begun_in_thread(None, call, *arguments, **named))).result()


def begun_in_thread(
    threads: ThreadPoolExecutor | None, call: Callable[..., T], /, *arguments: Any, **named: Any
) -> asyncio.Future[T]:
    """Begin a call in one of some threads, None for the loop's own, with the caller's context variables."""
    # A plain future and no task of its own, because a closing loop cancels every task, and the thread goes on.
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    return loop.run_in_executor(threads, functools.partial(context.run, _awaitable_call, call, *arguments, **named))


def _awaitable_call(call: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Call a function in a thread whose end is awaited. Raises RuntimeError where the function raises StopIteration."""
    try:
        return call(*arguments, **named)
    except StopIteration as error:
        # No future can hold one: whoever waits for it would wait for ever.
        raise RuntimeError(f"StopIteration: {error}") from error


async def _at_once(call: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Run a call that neither reads nor writes a file: a thread would cost more than the call."""
    return call(*arguments, **named)
