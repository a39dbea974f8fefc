"""Writers are killed at random moments, over and over: what was acknowledged is there, once, in order (D2, D3)."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from processes.workers import DEADLINE_S, everything, needs_fork, numbers_by_writer

from faults.operations import open_store

pytestmark = needs_fork
AT_A_TIME = 4
ROUNDS_OF_A_SESSION = 25
WINDOW = 8


def write_until_killed(directory: Path, writer: str, acknowledged: int, durability: str) -> None:
    """Append `<writer>:0`, `<writer>:1`, ... and tell of each one as soon as the call returned; rename now and then."""
    store = open_store(directory, max_messages=WINDOW, durability=durability, lock_timeout=DEADLINE_S)
    number = 0
    while True:
        store.add_user_message("shared", f"{writer}:{number}")
        os.write(acknowledged, b"+")
        number += 1
        if number % 5 == 0:
            store.rename_session("shared", f"{writer} {number}")


def kill_some(directory: Path, first: int, durability: str, chance: random.Random) -> dict[str, int]:
    """Start a few writers, kill each at a random moment, and return how many messages of each were acknowledged."""
    running = []
    for number in range(first, first + AT_A_TIME):
        told, acknowledged = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                write_until_killed(directory, f"writer-{number}", acknowledged, durability)
            finally:
                os._exit(1)
        os.close(acknowledged)
        running.append((f"writer-{number}", pid, told))
    chance.shuffle(running)
    counts = {}
    for writer, pid, told in running:
        time.sleep(chance.uniform(0.002, 0.02))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert -signal.SIGKILL == os.waitstatus_to_exitcode(status), "the writer failed before it was killed"
        with os.fdopen(told, "rb") as pipe:
            counts[writer] = len(pipe.read())
    return counts


def check_session(directory: Path, acknowledged: dict[str, int]) -> Counter[str]:
    """Each writer's numbers run from 0 in order: those acknowledged, and at most one more."""
    with open_store(directory, max_messages=WINDOW, lock_timeout=0.0) as store:
        store.add_user_message("shared", "survivor:0")
        found = numbers_by_writer(everything(store, "shared"))
        assert [0] == found.pop("survivor")
        assert set(found) <= set(acknowledged)
        for writer, count in acknowledged.items():
            numbers = found.get(writer, [])
            assert list(range(len(numbers))) == numbers, f"{writer}: missing, twice, or out of order"
            assert len(numbers) in (count, count + 1), f"{writer}: {count} acknowledged, {len(numbers)} there"
        path = directory / "shared.json"
        assert "shared" == json.loads(path.read_bytes())["session_id"]
        assert [] == [problem for problem in store.check().problems if problem.code != "leftover"]
        leftovers = [path.name for path in directory.glob("*.tmp")]
        assert sorted(leftovers) == sorted(store.vacuum().removed)
        assert [] == list(directory.rglob("*.tmp"))
        assert [] == store.check().problems
        assert False is (directory / ".quarantine").exists(), "a kill damaged a file"
    return Counter(
        acknowledged=sum(acknowledged.values()),
        unacknowledged_but_there=sum(map(len, found.values())) - sum(acknowledged.values()),
        temporary_files_left=len(leftovers),
    )


def kill_many(tmp_path: Path, kills: int, durability: str) -> None:
    """Kill that many writers, a few at a time, and check each session when its last one is dead."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    totals: Counter[str] = Counter()
    acknowledged: dict[str, int] = {}
    directory = tmp_path / "sessions"
    open_store(directory).add_user_message("warm", "up")  # imports what a forked child would import anew each time
    rounds = -(-kills // AT_A_TIME)
    for number in range(rounds):
        directory = tmp_path / f"sessions-{number // ROUNDS_OF_A_SESSION}"
        acknowledged |= kill_some(directory, number * AT_A_TIME, durability, chance)
        if number % ROUNDS_OF_A_SESSION == ROUNDS_OF_A_SESSION - 1 or number == rounds - 1:
            totals += check_session(directory, acknowledged)
            acknowledged = {}
    print(f"{durability}: {rounds * AT_A_TIME} kills,", ", ".join(f"{count} {what}" for what, count in totals.items()))


@pytest.mark.parametrize("durability", ["full", "ordered", "process"])
def test_D2_D3_writers_killed_at_random_lose_nothing_acknowledged(tmp_path: Path, durability: str) -> None:
    """Goal: every level survives the death of the process. Method: 40 kills, 4 writers at a time, a small window."""
    kill_many(tmp_path, 40, durability)


@pytest.mark.long
@pytest.mark.parametrize("durability", ["full", "process"])
def test_D2_D3_a_thousand_writers_killed_at_random_lose_nothing(tmp_path: Path, durability: str) -> None:
    """Goal and method: the short form's, with 1,000 kills."""
    kill_many(tmp_path, 1000, durability)


def test_D3_killed_writers_with_message_ids_store_each_message_once(tmp_path: Path) -> None:
    """
    Goal: whoever does not know whether a message was stored sends it again with its id, and it is there once.

    Method: each writer is killed at a random moment; its successor repeats the last message and goes on with the next.
    """
    chance = random.Random(20)
    directory = tmp_path / "sessions"
    sent = 0
    for _ in range(40):
        told, acknowledged = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                repeat_and_go_on(directory, sent, acknowledged)
            finally:
                os._exit(1)
        os.close(acknowledged)
        time.sleep(chance.uniform(0.002, 0.02))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with os.fdopen(told, "rb") as pipe:
            sent += len(pipe.read())
    with open_store(directory, max_messages=WINDOW, lock_timeout=0.0) as store:
        numbers: list[Any] = numbers_by_writer(everything(store, "shared"))["writer"]
    assert list(range(len(numbers))) == numbers
    assert len(numbers) in (sent, sent + 1)
    print(f"40 kills, {sent} acknowledged, {len(numbers) - sent} more")


def repeat_and_go_on(directory: Path, first: int, acknowledged: int) -> None:
    """Append from a number on, with ids; the first one may be there already."""
    store = open_store(directory, max_messages=WINDOW)
    number = first
    while True:
        store.add_user_message("shared", f"writer:{number}", message_id=f"id-{number}")
        os.write(acknowledged, b"+")
        number += 1
