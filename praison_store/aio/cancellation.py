"""Finish what was begun although the caller is cancelled: a write or a claim is done or not begun, never half."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Settled(NamedTuple, Generic[T]):
    """
    How some work ended.

    Shape: `value` where it came to its end, `error` where it raised; both None where the work itself was cancelled,
    as a closing event loop does to every task. `cancelled` is the caller's own cancellation, to be raised in its time.
    """

    value: T | None
    error: BaseException | None
    cancelled: asyncio.CancelledError | None

    def result(self) -> T:
        """Return the value. Raises the cancellation before the error, and the error before nothing."""
        if self.cancelled is not None:
            raise self.cancelled
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # without an error it is there, and T may be None itself


async def settled(work: Awaitable[T]) -> Settled[T]:
    """
    Wait until the work is done, however often the caller is cancelled meanwhile, and tell how it ended.

    Never raises: the caller puts its own things in order first, then calls `result()`.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            # Not asyncio.wait_for: it forgets a cancellation that comes with the result.
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if task.cancelled():
        return Settled(None, None, cancelled or asyncio.CancelledError())
    error_of_work = task.exception()
    if error_of_work is not None:
        return Settled(None, error_of_work, cancelled)
    return Settled(task.result(), None, cancelled)
