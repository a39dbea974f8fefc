"""
What others see while a session is written: writers append, readers read, some writers are killed.

Promise checked: every read is a prefix of the final list, reads never go back, and what was acknowledged before a read
began is in it. `Watch` is the judge and does no I/O; `run_round` lets processes loose on one session.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from praison_store.engines import Engine
from praison_store.engines.json_files import JsonFilesEngine
from praison_store.engines.jsonl import JsonlEngine
from praison_store.engines.sql import SqlEngine
from praison_store.model.message import new_record
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named
from processes.board import Board, Forked, children
from processes.workers import DEADLINE_S, numbers_by_writer

KEY = SessionKey("shared")
ALL = policy_named("keep_all", 1)
STOP_WRITING, STOP_READING, FIRST_WRITER = 0, 1, 2
Open = Callable[[], Engine]
Read = Callable[[Engine, int], list[str]]


class Effort(NamedTuple):
    """How long, and with how many: each round has a session of its own; who is killed is replaced."""

    rounds: int
    seconds: float
    writers: int
    readers: int
    kills: int  # in each round


LEAST_MESSAGES, PATIENCE_S = 12, 10.0
QUICK = Effort(1, 0.7, 3, 2, 2)
LONG = Effort(10, 6.0, 6, 2, 2)


def opened(kind: str, place: str) -> Engine:
    """Return an engine of a kind on a directory, or at a URL; so patient that only a hang is refused."""
    if kind == "json_files":
        return JsonFilesEngine(place, lock_timeout_s=DEADLINE_S)
    if kind == "jsonl":
        return JsonlEngine(place, lock_timeout_s=DEADLINE_S)
    return SqlEngine(place, lock_timeout_s=DEADLINE_S)


def read_now(engine: Engine, number: int) -> list[str]:
    """Read the whole window, by turns as a session and as a history."""
    if number % 2:
        return [str(record["content"]) for record in engine.history(KEY, None)]
    session = engine.read(KEY, None)
    return [str(message.content) for message in session.messages] if session else []


class Watch:
    """What one reader has seen, and what was wrong with it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.reads = 0
        self.anomalies: list[str] = []

    def see(self, texts: list[str], acknowledged: dict[str, int]) -> None:
        """Judge one read, given how many messages of each writer had been acknowledged before it began."""
        self.reads += 1
        if texts[: len(self.seen)] != self.seen:
            went_back = len(texts) < len(self.seen) and texts == self.seen[: len(texts)]
            self.anomalies.append(f"read {self.reads}: {'went back' if went_back else 'not the list seen before'}")
        counts = {writer: len(numbers) for writer, numbers in numbers_by_writer(texts).items()}
        missing = {writer: count for writer, count in acknowledged.items() if counts.get(writer, 0) < count}
        if missing:
            self.anomalies.append(f"read {self.reads}: of {missing} acknowledged there were {counts}")
        self.seen = texts

    def end(self, final: list[str]) -> list[str]:
        """Return all that was wrong, with the final list known."""
        if final[: len(self.seen)] != self.seen:
            self.anomalies.append("what was read is no prefix of the final list")
        return self.anomalies


def wrong_at_the_end(final: list[str], acknowledged: dict[str, int]) -> list[str]:
    """Return what is lost, doubled or out of order: each writer's numbers run from 0; one more may be unacknowledged."""
    found, wrong = numbers_by_writer(final), []
    for writer, count in acknowledged.items():
        numbers = found.pop(writer, [])
        if list(range(len(numbers))) != numbers:
            wrong.append(f"{writer}: lost, doubled or out of order")
        if len(numbers) not in (count, count + 1):
            wrong.append(f"{writer}: {count} acknowledged, {len(numbers)} there")
    return wrong + [f"{writer}: never written" for writer in found]


def _write(open_engine: Open, board: Board, slot: int) -> None:
    """Append `<writer>:0`, `<writer>:1`, ..., and count each on the board as soon as the call returned."""
    engine, number = open_engine(), 0
    while not board[STOP_WRITING]:
        engine.append(KEY, [new_record("user", f"w{slot}:{number}", 1.0)], now_s=1.0, policy=ALL)
        number += 1
        board[slot] = number
    engine.close()


def _watch(open_engine: Open, read: Read, board: Board, slots: int, first: int, tell: int) -> None:
    """Read until told to stop, and tell what was seen and what was wrong."""
    watch, engine, stopped = Watch(), open_engine(), False
    while not stopped:
        stopped = bool(board[STOP_READING])  # one more read behind the last write
        acknowledged = {f"w{slot}": board[slot] for slot in range(FIRST_WRITER, slots)}
        watch.see(read(engine, watch.reads + first), acknowledged)
    engine.close()
    report = {"reads": watch.reads, "seen": watch.seen, "anomalies": watch.anomalies}
    with os.fdopen(tell, "wb", closefd=False) as pipe:
        pipe.write(json.dumps(report).encode())


class Outcome(NamedTuple):
    """What a round came to."""

    messages: int
    reads: int
    anomalies: list[str]


def run_round(
    effort: Effort, open_engine: Open, *, write_with: Open | None = None, read: Read = read_now
) -> Outcome:
    """
    Let writers and readers loose on one new session for a while, kill some writers, and judge what all of them saw.

    Args:
        write_with, read: another engine for the writers, another way to read; for a store that is broken on purpose.
    """
    slots = FIRST_WRITER + effort.writers + effort.kills
    chance = random.Random()
    with Board(slots) as board, children() as fork:
        def start(slot: int) -> Forked:
            return fork(lambda _tell: _write(write_with or open_engine, board, slot))

        readers = [
            fork(lambda tell, first=number: _watch(open_engine, read, board, slots, first, tell))  # type: ignore[misc]
            for number in range(effort.readers)
        ]
        writers = [start(FIRST_WRITER + number) for number in range(effort.writers)]
        for kill in range(effort.kills):
            time.sleep(effort.seconds / (effort.kills + 1) * chance.uniform(0.7, 1.3))
            writers.pop(chance.randrange(len(writers))).killed()
            writers.append(start(FIRST_WRITER + effort.writers + kill))
        time.sleep(effort.seconds / (effort.kills + 1))
        _await_messages(board, range(FIRST_WRITER, slots))
        board[STOP_WRITING] = 1
        for writer in writers:
            writer.finished()
        board[STOP_READING] = 1
        reports: list[dict[str, Any]] = [json.loads(reader.finished()) for reader in readers]
        acknowledged = {f"w{slot}": board[slot] for slot in range(FIRST_WRITER, slots)}
    engine = open_engine()
    final = read_now(engine, 0)
    engine.close()
    anomalies = wrong_at_the_end(final, acknowledged)
    for report in reports:
        watch = Watch()
        watch.seen, watch.anomalies = report["seen"], report["anomalies"]
        anomalies += watch.end(final)
    return Outcome(len(final), sum(report["reads"] for report in reports), anomalies)


def _await_messages(board: Board, writers: range) -> None:
    # A busy machine may give the writers no turn in all that time, and then nothing was tried.
    ends_s = time.monotonic() + PATIENCE_S
    while sum(board[writer] for writer in writers) < LEAST_MESSAGES and time.monotonic() < ends_s:
        time.sleep(0.01)


def run_rounds(kind: str, place_of_round: Callable[[int], str], effort: Effort) -> dict[str, Any]:
    """Run all rounds of an effort on a kind of engine, and return what they came to, as plain data."""
    outcomes = []
    for number in range(effort.rounds):
        place = place_of_round(number)
        outcomes.append(run_round(effort, lambda place=place: opened(kind, place)))  # type: ignore[misc]
    return {
        "kind": kind, "seconds": round(effort.rounds * effort.seconds), "kills": effort.rounds * effort.kills,
        "messages": sum(one.messages for one in outcomes), "reads": sum(one.reads for one in outcomes),
        "anomalies": [anomaly for one in outcomes for anomaly in one.anomalies],
    }


def run_in(kind: str, effort: Effort, directory: str) -> dict[str, Any]:
    """Run all rounds in directories below one."""
    return run_rounds(kind, lambda number: str(Path(directory) / str(number)), effort)
