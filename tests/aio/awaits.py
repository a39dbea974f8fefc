"""Cancel a coroutine at one of its awaits, counted from the first."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any


@coroutine
def cancelled_at(
    step: int, work: Coroutine[Any, Any, None], reached: list[bool], *, is_waiting: bool = False
) -> Generator[Any, Any, None]:
    """
    Drive work by hand, and cancel it at its await number `step`, from 1 on; `reached` is told where there is one.

    Args:
        is_waiting: cancel while it waits there, as another task does; else as it wakes, with its result at hand.
    """
    number, error = 0, None
    while True:
        try:
            awaited = work.send(None) if error is None else work.throw(error)
        except StopIteration:
            return
        number, error = number + 1, None
        if number == step:
            reached.append(True)
            task = asyncio.current_task()
            if is_waiting and task is not None:
                task.cancel()
        try:
            yield awaited
        except asyncio.CancelledError as cancellation:
            error = cancellation
        if number == step and not is_waiting:
            error = asyncio.CancelledError()


async def is_cancelled_at(step: int, work: Coroutine[Any, Any, None], *, is_waiting: bool) -> bool:
    """Run work in a task of its own, cancelled at one await; False where it has fewer, and ended well."""
    reached: list[bool] = []

    async def whole() -> None:
        driven: Any = cancelled_at(step, work, reached, is_waiting=is_waiting)
        await driven

    task = asyncio.ensure_future(whole())
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return bool(reached)
