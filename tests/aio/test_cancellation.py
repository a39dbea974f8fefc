"""Cancelled at any await, a block leaves a whole session, no lease, no turn and nothing in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from aio.awaits import is_cancelled_at
from aio.engines import WatchedEngine, owner_of

from praison_store.aio import SessionManager
from praison_store.engines.json_files import JsonFilesEngine

Body = Callable[[SessionManager], Coroutine[Any, Any, None]]


async def session_block(manager: SessionManager) -> None:
    """Change two things that belong together."""
    async with manager.session("s") as session:
        session.context["count"] = session.context["count"] + 1
        await asyncio.sleep(0)
        session.add_user_message(str(session.context["count"]))


async def lock_block(manager: SessionManager) -> None:
    """Hold the lease, and write under it by a session block."""
    async with manager.agent_lock.acquire("s", "agent"):
        await asyncio.sleep(0)
        await session_block(manager)


async def waiting_block(manager: SessionManager) -> None:
    """Wait for another block of the same manager first."""
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(session_block(manager))


async def kept_session(manager: SessionManager) -> None:
    """Keep a session in memory, change it, and have a cleanup save it."""
    session = await manager.get_or_create_session("s")
    session.context["count"] += 1
    session.add_user_message(str(session.context["count"]))
    await manager.cleanup()


async def cancel_by_turns(work: Coroutine[Any, Any, None], step: int) -> bool:
    """Run work as a task and cancel it after `step` turns of the event loop; False where it was done before."""
    task = asyncio.ensure_future(work)
    for _ in range(step):
        await asyncio.sleep(0)
        if task.done():
            break
    reached = task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return reached


async def state_is_whole(manager: SessionManager, directory: Path) -> int:
    """Make sure that nothing is left, and return how often the change was made."""
    assert owner_of(directory, "s") is None
    assert [] == [name for name in manager.get_active_sessions() if name != "s"]
    await manager.cleanup()
    assert [] == manager.get_active_sessions()
    assert {} == manager.agent_lock.holders
    assert not manager.agent_lock.turns.is_taken(("s", ""))
    assert [] == list(directory.glob("*.tmp"))
    session = await manager.get_session("s")
    assert session is not None
    assert [str(number + 1) for number in range(session.context["count"])] == [m.content for m in session.messages]
    return int(session.context["count"])


@pytest.mark.parametrize("kind", [WatchedEngine, JsonFilesEngine])
@pytest.mark.parametrize("body", [session_block, lock_block, waiting_block, kept_session])
def test_cancelled_after_any_turn_of_the_loop_nothing_is_half_done(body: Body, kind: Any, tmp_path: Path) -> None:
    """Goal: cancellation is safe at each await. Method: one turn of the loop later in each round, until it is done."""

    async def rounds() -> list[int]:
        manager = SessionManager(engine=kind(str(tmp_path)), wait_timeout=20)
        async with manager.session("s") as session:
            session.context["count"] = 0
        counts, step, was_running = [], 0, True
        while was_running:
            was_running = await cancel_by_turns(body(manager), step)
            counts.append(await state_is_whole(manager, tmp_path))
            step += 1 if step < 40 else step // 6  # each await in turn is the next test's; a thread takes many turns
        await manager.engine.close()
        return counts

    counts = asyncio.run(rounds())
    assert 5 < len(counts)
    assert sorted(counts) == counts
    assert counts[0] < counts[-1], "the last round was not cancelled in time, and was counted"


@pytest.mark.parametrize("body", [session_block, lock_block])
def test_cancelled_at_each_await_in_turn_nothing_is_left(body: Body, tmp_path: Path) -> None:
    """Goal: no await is missed. Method: throw a cancellation in at await 1, 2, 3 ... of the coroutine itself."""

    async def rounds() -> int:
        manager = SessionManager(engine=WatchedEngine(tmp_path), wait_timeout=20)
        async with manager.session("s") as session:
            session.context["count"] = 0
        step, reached = 0, True
        while reached:
            step += 1
            reached = await is_cancelled_at(step, body(manager), is_waiting=False)
            await state_is_whole(manager, tmp_path)
        return step + 1

    assert 6 <= asyncio.run(rounds())


@pytest.mark.parametrize("name", ["claim", "read", "update", "append", "release"])
def test_cancelled_inside_each_engine_call_the_call_is_done_and_the_lease_given_back(
    name: str, tmp_path: Path
) -> None:
    """Goal: a claim that comes with a cancellation is not forgotten. Method: cancel the block from within the call."""

    async def scenario() -> None:
        engine = WatchedEngine(tmp_path)
        manager = SessionManager(engine=engine)
        async with manager.session("s") as session:
            session.context["count"] = 0
        task = asyncio.ensure_future(session_block(manager) if name != "append" else append_block(manager))
        engine.before[name] = lambda *_arguments: task.cancel() and None
        await asyncio.wait([task])
        assert task.cancelled()
        engine.before.clear()
        assert owner_of(tmp_path, "s") is None
        assert {} == manager.agent_lock.holders
        async with manager.session("s", on_busy="fail") as session:
            done = {"claim": 0, "read": 0, "update": 1, "append": 0, "release": 1}[name]
            assert done == session.context["count"]
            assert len(session.messages) == (1 if name in ("update", "append", "release") else 0)

    asyncio.run(scenario())


async def append_block(manager: SessionManager) -> None:
    """Add a message and nothing else, under the lease."""
    async with manager.agent_lock.acquire("s", "agent"):
        await manager.append_messages(session_id="s", messages=[{"role": "user", "content": "1"}])


def test_a_loop_that_closes_lets_go_of_what_its_tasks_hold(tmp_path: Path) -> None:
    """Goal: Ctrl-C leaves no lease. Method: end asyncio.run while blocks run, wait and save in other tasks."""

    async def main() -> None:
        manager = SessionManager(engine=WatchedEngine(tmp_path))
        is_held = asyncio.Event()
        tasks = [asyncio.ensure_future(lock_block(manager)) for _ in range(8)]
        tasks.append(asyncio.ensure_future(hold(manager, is_held)))
        await is_held.wait()
        assert not tasks[-1].done()

    async def hold(manager: SessionManager, is_held: asyncio.Event) -> None:
        async with manager.session("other"):
            is_held.set()
            await asyncio.Event().wait()

    asyncio.run(main())
    assert (None, None) == (owner_of(tmp_path, "s"), owner_of(tmp_path, "other"))
