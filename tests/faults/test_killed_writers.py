"""Writers are killed at random moments, over and over: what was acknowledged is there, once, in order (D2, D3)."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from processes.board import children
from processes.workers import DEADLINE_S, everything, needs_fork, numbers_by_writer

from faults.operations import open_store
from praison_store import DefaultSessionStore
from praison_store.engines.jsonl import JsonlEngine

pytestmark = needs_fork
AT_A_TIME = 8
ROUNDS_OF_A_SESSION = 12
WINDOW = 8
KINDS = ["json_files", "jsonl"]  # the engines of ours that write files


def opened(kind: str, directory: Path, **options: Any) -> DefaultSessionStore:
    """Return a store on a directory of files, or of logs."""
    db = {} if kind == "json_files" else {"db": f"jsonl://{directory}"}
    return open_store(directory, **{"max_messages": WINDOW, **db, **options})


def write_until_killed(kind: str, directory: Path, writer: str, acknowledged: int, durability: str) -> None:
    """Append `<writer>:0`, `<writer>:1`, ... and tell of each one as soon as the call returned; rename now and then."""
    store = opened(kind, directory, durability=durability, lock_timeout=DEADLINE_S)
    number = 0
    while True:
        store.add_user_message("shared", f"{writer}:{number}")
        os.write(acknowledged, b"+")
        number += 1
        if number % 5 == 0:
            store.rename_session("shared", f"{writer} {number}")


def kill_some(kind: str, directory: Path, first: int, durability: str, chance: random.Random) -> dict[str, int]:
    """Start a few writers, kill each at a random moment, and return how many messages of each were acknowledged."""
    with children() as fork:
        running = []
        for number in range(first, first + AT_A_TIME):
            writer = f"writer-{number}"
            running.append((writer, fork(
                lambda tell, writer=writer: write_until_killed(kind, directory, writer, tell, durability))))  # type: ignore[misc]
        chance.shuffle(running)
        counts = {}
        for writer, child in running:
            time.sleep(chance.uniform(0.002, 0.02))
            counts[writer] = len(child.killed())
    return counts


def check_session(kind: str, directory: Path, acknowledged: dict[str, int], survivors: int) -> Counter[str]:
    """Each writer's numbers run from 0 in order: those acknowledged, and at most one more."""
    with opened(kind, directory, lock_timeout=0.0) as store:
        found = numbers_by_writer(everything(store, "shared"))
        assert list(range(survivors)) == found.pop("survivor")
        assert set(found) <= set(acknowledged)
        for writer, count in acknowledged.items():
            numbers = found.get(writer, [])
            assert list(range(len(numbers))) == numbers, f"{writer}: missing, twice, or out of order"
            assert len(numbers) in (count, count + 1), f"{writer}: {count} acknowledged, {len(numbers)} there"
        assert False is (directory / ".quarantine").exists(), "a kill damaged a file"
        leftovers = sorted(path.name for path in directory.glob("*.tmp"))
        if isinstance(store.engine, JsonlEngine):
            assert leftovers == sorted(name for name in store.engine.vacuum().removed if name.endswith(".tmp"))
        else:
            assert "shared" == json.loads((directory / "shared.json").read_bytes())["session_id"]
            assert [] == [problem for problem in store.check().problems if problem.code != "leftover"]
            assert leftovers == sorted(store.vacuum().removed)
            assert [] == store.check().problems
        assert [] == list(directory.rglob("*.tmp"))
    return Counter(
        acknowledged=sum(acknowledged.values()),
        unacknowledged_but_there=sum(map(len, found.values())) - sum(acknowledged.values()),
        temporary_files_left=len(leftovers),
    )


def next_write_s(kind: str, directory: Path, number: int, durability: str) -> float:
    """Write as one who waits for nobody, right behind the last kill; return how long that took."""
    with opened(kind, directory, durability=durability, lock_timeout=0.0) as store:
        started_s = time.perf_counter()
        store.add_user_message("shared", f"survivor:{number}")
        return time.perf_counter() - started_s


def kill_many(kind: str, tmp_path: Path, kills: int, durability: str) -> None:
    """Kill that many writers, a few at a time, and check each session when its last one is dead."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    totals: Counter[str] = Counter()
    acknowledged: dict[str, int] = {}
    took_s = []
    # Imports what a forked child would import anew each time.
    opened(kind, tmp_path / "warm", durability=durability).add_user_message("warm", "up")
    rounds = -(-kills // AT_A_TIME)
    for number in range(rounds):
        directory = tmp_path / f"sessions-{number // ROUNDS_OF_A_SESSION}"
        acknowledged |= kill_some(kind, directory, number * AT_A_TIME, durability, chance)
        survivor = number % ROUNDS_OF_A_SESSION
        took_s.append(next_write_s(kind, directory, survivor, durability))
        if survivor == ROUNDS_OF_A_SESSION - 1 or number == rounds - 1:
            totals += check_session(kind, directory, acknowledged, survivor + 1)
            acknowledged = {}
    told = ", ".join(f"{count} {what}" for what, count in totals.items())
    print(f"{kind}, {durability}: {rounds * AT_A_TIME} kills, {told}, next write at most {1000 * max(took_s):.0f} ms")
    assert DEADLINE_S > max(took_s)
    assert totals["acknowledged"] > 0


@pytest.mark.parametrize(("kind", "durability"), [
    ("json_files", "full"), ("json_files", "ordered"), ("json_files", "process"), ("jsonl", "full"), ("jsonl", "process"),
])
def test_D2_D3_writers_killed_at_random_lose_nothing_acknowledged(
    tmp_path: Path, kind: str, durability: str
) -> None:
    """Goal: every level survives the death of the process. Method: 40 kills, 8 writers at a time, a small window."""
    kill_many(kind, tmp_path, 40, durability)


@pytest.mark.long
@pytest.mark.parametrize("durability", ["full", "process"])
@pytest.mark.parametrize("kind", KINDS)
def test_D2_D3_a_thousand_writers_killed_at_random_lose_nothing(tmp_path: Path, kind: str, durability: str) -> None:
    """Goal and method: the short form's, with 1,000 kills."""
    kill_many(kind, tmp_path, 1000, durability)


@pytest.mark.parametrize("kind", KINDS)
def test_D3_killed_writers_with_message_ids_store_each_message_once(tmp_path: Path, kind: str) -> None:
    """
    Goal: whoever does not know whether a message was stored sends it again with its id, and it is there once.

    Method: each writer is killed at a random moment; its successor repeats the last message and goes on with the next.
    """
    chance = random.Random(20)
    directory = tmp_path / "sessions"
    sent = 0
    for _ in range(40):
        with children() as fork:
            child = fork(lambda tell, first=sent: repeat_and_go_on(kind, directory, first, tell))  # type: ignore[misc]
            time.sleep(chance.uniform(0.002, 0.02))
            sent += len(child.killed())
    with opened(kind, directory, lock_timeout=0.0) as store:
        store.add_user_message("shared", "survivor:0")
        numbers: list[Any] = numbers_by_writer(everything(store, "shared")).get("writer", [])
    assert list(range(len(numbers))) == numbers
    assert len(numbers) in (sent, sent + 1)
    print(f"{kind}: 40 kills, {sent} acknowledged, {len(numbers) - sent} more")


def repeat_and_go_on(kind: str, directory: Path, first: int, acknowledged: int) -> None:
    """Append from a number on, with ids; the first one may be there already."""
    store = opened(kind, directory)
    number = first
    while True:
        store.add_user_message("shared", f"writer:{number}", message_id=f"id-{number}")
        os.write(acknowledged, b"+")
        number += 1
