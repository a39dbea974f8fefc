"""Turns within one process: who asks first goes first, in any number of event loops and threads."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field


@dataclass(eq=False)
class _Waiter:
    loop: asyncio.AbstractEventLoop
    called: asyncio.Future[None] = field(init=False)

    def __post_init__(self) -> None:
        self.called = self.loop.create_future()

    def call(self) -> bool:
        """Wake the waiter; False where its event loop is closed and it never comes."""
        try:
            self.loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            return False
        return True

    def _wake(self) -> None:
        if not self.called.done():
            self.called.set_result(None)


class Turns:
    """
    One queue for each name; the first in it has the turn.

    A lease alone would do, but fifty tasks that ask an engine again and again who is next keep it from its work.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._queues: dict[Hashable, deque[_Waiter]] = {}

    def is_taken(self, name: Hashable) -> bool:
        """Tell whether somebody has the turn."""
        with self._mutex:
            return name in self._queues

    async def take(self, name: Hashable, timeout_s: float | None = None) -> bool:
        """
        Wait for the turn; False where it did not come in time. Cancelled or late, the place in the queue is given up.

        Args:
            timeout_s: 0 asks without waiting; None waits as long as it takes.
        """
        waiter = _Waiter(asyncio.get_running_loop())
        with self._mutex:
            queue = self._queues.setdefault(name, deque())
            if queue and timeout_s == 0:
                return False
            queue.append(waiter)
            if len(queue) == 1:
                return True
        try:
            await asyncio.wait([waiter.called], timeout=timeout_s)
        except BaseException:
            self._leave(name, waiter)
            raise
        if waiter.called.done():
            return True
        self._leave(name, waiter)
        return False

    def give(self, name: Hashable) -> None:
        """Give the turn to the next in the queue."""
        with self._mutex:
            self._queues[name].popleft()
            self._call_next(name)

    def _leave(self, name: Hashable, waiter: _Waiter) -> None:
        with self._mutex:
            queue = self._queues[name]
            had_turn = queue[0] is waiter
            queue.remove(waiter)
            if had_turn:  # it was called while it gave up
                self._call_next(name)

    def _call_next(self, name: Hashable) -> None:
        queue = self._queues[name]
        while queue and not queue[0].call():
            queue.popleft()
        if not queue:
            del self._queues[name]
