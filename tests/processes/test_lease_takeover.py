"""A lease ran out and many want it: one has it at a time, each with a generation of its own, and the late are refused."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from praison_store.aio import AsyncEngine, LeaseExpiredError, SessionManager, engine_from_url
from praison_store.engines import Engine
from praison_store.engines.urls import from_url
from praison_store.model.lease import Lease
from praison_store.model.message import new_record
from praison_store.model.session import SessionData
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named
from processes.workers import DEADLINE_S, Job, forks_beside_threads, needs_fork, run_all

sys.path.append(str(Path(__file__).parents[1] / "contract"))
from sql_places import URLS

ALL = policy_named("keep_all", 1)
NOW_S = 1_767_326_400.0
TASKS, PROCESSES = 20, 6
PLACES = ["json_files", "sqlite", "postgresql", "mariadb"]
pytestmark = [needs_fork, forks_beside_threads]


def url_of(place: str, directory: Path) -> str:
    """Return the URL of a new, empty place."""
    if place == "json_files":
        return str(directory / "sessions")
    return URLS[place](directory)


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    """Open an engine for a while."""
    engine = from_url(url)
    try:
        yield engine
    finally:
        engine.close()


def expired_leases(url: str, rounds: int) -> list[Lease]:
    """Claim the lease of each round's session for no time at all: its holder stalls from the first moment on."""
    leases = []
    with opened(url) as engine:
        for number in range(rounds):
            key = SessionKey(f"round-{number}")
            engine.append(key, [new_record("system", "0", NOW_S)], now_s=NOW_S, policy=ALL)
            lease = engine.claim(key, f"stalled-{number}", 0.0)
            assert lease is not None
            leases.append(lease)
    return leases


async def contend(engine: AsyncEngine, key: SessionKey, name: str) -> int:
    """Wait for the lease; under it read a count, let others run, and write it one higher; return the generation."""
    manager = SessionManager(engine=engine, wait_timeout=DEADLINE_S)
    async with manager.agent_lock.acquire(key.session_id, name) as held:
        found = await engine.read(key, None)
        count = found.context.get("count", 0) if found else 0
        await asyncio.sleep(0)
        record = new_record("user", str(held.generation), NOW_S)
        await engine.append(key, [record], now_s=NOW_S, policy=ALL, lease=held.lease)

        def counted(session: SessionData) -> None:
            session.context["count"] = count + 1

        await engine.update(key, counted, now_s=NOW_S, policy=ALL, lease=held.lease)
        return held.generation


async def come_back_late(engine: AsyncEngine, lease: Lease) -> tuple[int, bool]:
    """Write as the stalled holder until a write is refused, then release; return the accepted and what release said."""
    accepted = 0
    while True:
        try:
            record = new_record("user", str(lease.generation), NOW_S)
            await engine.append(lease.key, [record], now_s=NOW_S, policy=ALL, lease=lease)
        except LeaseExpiredError:
            return accepted, await engine.release(lease)
        accepted += 1
        await asyncio.sleep(0)


def contenders(url: str, leases: list[Lease], tasks: int, name: str, gate: Any, stalls: bool) -> list[Any]:
    """Take part in every round with some tasks; return the generations of each, and what the stalled holder met."""

    async def one_round(lease: Lease) -> Any:
        engine = engine_from_url(url)
        try:
            works: list[Any] = [contend(engine, lease.key, f"{name}-{number}") for number in range(tasks)]
            if stalls:
                works.append(come_back_late(engine, lease))
            return await asyncio.gather(*works)
        finally:
            await engine.close()

    results = []
    for lease in leases:
        gate.wait(DEADLINE_S)
        results.append(asyncio.run(one_round(lease)))
    return results


def take_over(place: str, directory: Path, rounds: int) -> None:
    """Run the rounds, and look at what every one of them left."""
    url = url_of(place, directory)
    leases = expired_leases(url, rounds)
    gate = multiprocessing.get_context("fork").Barrier(PROCESSES + 1)
    jobs: list[Job] = [(contenders, (url, leases, TASKS, "task", gate, True))]
    jobs += [(contenders, (url, leases, 1, f"process-{number}", gate, False)) for number in range(PROCESSES)]
    mine, *others = run_all(jobs, deadline_s=DEADLINE_S * max(1, rounds / 20))
    with opened(url) as engine:
        for number, lease in enumerate(leases):
            *generations, (accepted, released) = mine[number]
            generations += [one for other in others for one in other[number]]
            assert list(range(lease.generation + 1, lease.generation + 1 + TASKS + PROCESSES)) == sorted(generations)
            assert not released, "a stalled holder gave its successor's lease back"
            session = engine.read(lease.key, None)
            assert session is not None
            assert TASKS + PROCESSES == session.context["count"], "two held it at once"
            written = [int(str(message.content)) for message in session.messages]
            assert [0] + [lease.generation] * accepted + sorted(generations) == written
            last = engine.claim(lease.key, "after", 1.0)
            assert last is not None, "a lease is left"
            assert lease.generation + TASKS + PROCESSES + 1 == last.generation


@pytest.mark.parametrize("place", PLACES)
def test_D3_an_expired_lease_goes_to_one_of_many(place: str, tmp_path: Path) -> None:
    """Goal: no two holders, no late write. Method: 20 tasks, 6 processes and the stalled holder, 2 rounds."""
    take_over(place, tmp_path, 2)


@pytest.mark.long
@pytest.mark.parametrize("place", PLACES)
def test_D3_an_expired_lease_goes_to_one_of_many_at_length(place: str, tmp_path: Path) -> None:
    """Goal and method: the short form's, with 200 rounds."""
    take_over(place, tmp_path, 200)


def change_names(url: str, first: int, count: int) -> int:
    """Change one name of a session's context in each of some tasks; return how many did."""

    async def main() -> int:
        manager = SessionManager(endpoint=url)

        async def one(number: int) -> None:
            async with manager.session("shared") as session:
                session.context[f"key-{number}"] = number
                session.context["turns"] = session.context.get("turns", 0) + 1

        await asyncio.gather(*(one(number) for number in range(first, first + count)))
        await manager.cleanup()
        return count

    return asyncio.run(main())


@pytest.mark.parametrize("place", PLACES)
def test_D3_fifty_tasks_in_five_processes_change_fifty_names(place: str, tmp_path: Path) -> None:
    """Goal: blocks on one session lose nothing. Method: 5 processes of 10 tasks, one name and one count each."""
    url = url_of(place, tmp_path)
    jobs: list[Job] = [(change_names, (url, first, 10)) for first in range(0, 50, 10)]
    assert [10] * 5 == run_all(jobs)
    with opened(url) as engine:
        session = engine.read(SessionKey("shared"), None)
    assert session is not None
    assert {**{f"key-{number}": number for number in range(50)}, "turns": 50} == session.context
