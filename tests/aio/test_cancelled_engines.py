"""On every kind of engine: cancelled at any await, a call is done or not begun, and what it held is free (D7)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from aio.awaits import is_cancelled_at
from faults.subjects import in_memory

from praison_store.aio import AsyncEngine, SessionManager, engine_from_url
from praison_store.model.message import new_record
from praison_store.model.session import SessionData, SessionMessage
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named

KEY, ALL = SessionKey("s"), policy_named("keep_all", 1)
URLS: dict[str, Callable[[Path], str]] = {
    "memory": lambda _path: "memory://",
    "sqlite": lambda path: f"sqlite:///{path}/sessions.db",
    "json_files": str,
    "jsonl": lambda path: f"jsonl://{path}",
}
# A pool that a cancelled call took a connection from, and did not give back, is empty before these are done.
TIMES = 3
Body = Callable[[SessionManager, str], Coroutine[Any, Any, None]]


def record(text: str) -> dict[str, Any]:
    """Return a message with its text as its id."""
    return new_record("user", text, 1.0, message_id=text)


async def append(manager: SessionManager, text: str) -> None:
    """Append by the engine alone."""
    await manager.engine.append(KEY, [record(text)], now_s=1.0, policy=ALL)


async def update(manager: SessionManager, text: str) -> None:
    """Change by the engine alone, once for each text."""

    def change(session: SessionData) -> bool:
        if text in session.context["seen"]:
            return False
        session.context["seen"].append(text)
        session.messages.append(SessionMessage("user", text))
        return True

    await manager.engine.update(KEY, change, now_s=1.0, policy=ALL)


async def acquire(manager: SessionManager, text: str) -> None:
    """Hold the lease, and append under it."""
    async with manager.agent_lock.acquire("s", "agent") as held:
        await asyncio.sleep(0)
        await manager.engine.append(KEY, [record(text)], now_s=1.0, policy=ALL, lease=held.lease)


async def block(manager: SessionManager, text: str) -> None:
    """Change a session in a block, once for each text."""
    async with manager.session("s") as session:
        await asyncio.sleep(0)
        if text not in session.context["seen"]:
            session.context["seen"] = [*session.context["seen"], text]
            session.add_user_message(text)


async def texts_in(engine: AsyncEngine) -> list[Any]:
    """Return what is stored."""
    return [message["content"] for message in await engine.history(KEY, None)]


async def check_what_is_left(manager: SessionManager, before: list[Any], text: str) -> bool:
    """It happened or not, and nobody holds the session; return whether it did."""
    assert {} == manager.agent_lock.holders
    assert not manager.agent_lock.turns.is_taken(("s", ""))
    lease = await manager.engine.claim(KEY, "probe", 60.0)
    assert lease is not None, "the lease was kept"
    assert await manager.engine.release(lease)
    found = await texts_in(manager.engine)
    assert found in (before, [*before, text])
    session = await manager.engine.read(KEY, None)
    assert session is not None
    assert set(session.context["seen"]) <= set(found), "half of a change was stored"
    return found != before


async def cancel_each_await(url: str, body: Body, *, is_waiting: bool) -> tuple[int, int]:
    """Cancel at each await in turn until none is left, then retry; return how many there are, and how often it was done."""
    manager = SessionManager(engine=engine_from_url(url), wait_timeout=20)
    async with manager.session("s") as session:
        session.context["seen"] = []
    before: list[Any] = []
    awaits = done = 0
    reached = True
    while reached:
        awaits += 1
        for time in range(TIMES):
            text = f"{awaits}.{time}"
            reached = await is_cancelled_at(awaits, body(manager, text), is_waiting=is_waiting)
            done += await check_what_is_left(manager, before, text) and reached
            await body(manager, text)  # the retry stores it, once
            before.append(text)
            assert before == await texts_in(manager.engine)
    await manager.engine.close()
    return awaits - 1, done


@pytest.mark.parametrize("is_waiting", [True, False], ids=["as it waits", "as it wakes"])
@pytest.mark.parametrize("body", [append, update, acquire, block], ids=lambda body: body.__name__)
@pytest.mark.parametrize("kind", URLS)
def test_D7_cancelled_at_each_await_it_is_done_or_not_begun(
    kind: str, body: Body, is_waiting: bool, tmp_path: Path
) -> None:
    """Goal: no await is missed, on any engine. Method: cancel await 1, 2, 3 ... three times each, look, retry, count."""
    with in_memory(tmp_path) as root:
        before = set(os.listdir("/proc/self/fd"))
        awaits, done = asyncio.run(cancel_each_await(URLS[kind](Path(root)), body, is_waiting=is_waiting))
        assert before == set(os.listdir("/proc/self/fd")), "descriptors left open"
    print(f"{kind}, {body.__name__}: {awaits} awaits x {TIMES}, cancelled and done {done}, 0 half done, 0 leases kept")
    if kind == "memory" and body in (append, update):
        assert 0 == awaits, "it answers at once"
    else:
        assert 0 < done <= awaits * TIMES
