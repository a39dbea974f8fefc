"""Turns within a process: in order, in time, and never kept by one who left."""

from __future__ import annotations

import asyncio

from praison_store.aio.turns import Turns


def test_who_asks_first_goes_first_and_nobody_is_left_behind() -> None:
    """Goal: the queue is fair. Method: ten tasks, one of them cancelled while it waits."""

    async def main() -> None:
        turns, order = Turns(), []

        async def one(number: int) -> None:
            await turns.take("s")
            order.append(number)
            await asyncio.sleep(0)
            turns.give("s")

        tasks = [asyncio.ensure_future(one(number)) for number in range(10)]
        await asyncio.sleep(0)
        tasks[4].cancel()
        await asyncio.wait(tasks)
        assert [0, 1, 2, 3, 5, 6, 7, 8, 9] == order
        assert not turns.is_taken("s")

    asyncio.run(main())


def test_a_turn_that_comes_with_a_cancellation_goes_on_to_the_next() -> None:
    """Goal: no turn is lost. Method: give the turn and cancel the next in the same turn of the loop."""

    async def main() -> None:
        turns = Turns()
        assert await turns.take("s")
        second = asyncio.ensure_future(turns.take("s"))
        third = asyncio.ensure_future(turns.take("s"))
        await asyncio.sleep(0)
        turns.give("s")
        second.cancel()
        await asyncio.wait([second])
        assert second.cancelled()
        assert await asyncio.wait_for(third, 20)
        turns.give("s")
        assert not turns.is_taken("s")

    asyncio.run(main())


def test_a_turn_that_does_not_come_in_time_is_given_up() -> None:
    """Goal: a wait is bounded. Method: ask without waiting, and for a moment, while another has it."""

    async def main() -> None:
        turns = Turns()
        assert await turns.take("s")
        assert not await turns.take("s", 0)
        assert not await turns.take("s", 0.01)
        turns.give("s")
        assert await turns.take("s", 0)
        turns.give("s")

    asyncio.run(main())
