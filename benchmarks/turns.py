"""
What does storing one message cost when another process wrote since?

Two processes take turns on one session, handing over by a pipe, so that each finds what the other wrote. In its turn a
process runs every contender once, in random order: ours, PraisonAI's store, the floor, which writes the bytes our file
had when the turn began, and a floor that reads the other's file first, as whoever appends to it must.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from . import floor
from .harness import WARM_UP, Timing, ratio
from .report import Report
from .stores import SESSION, Kind, installed, ours, praisonai, text_of
from .writers import CONTEXT, finished

WINDOW = 100
DEADLINE_S = 300.0
FLOOR, READING_FLOOR = "floor", "floor that reads first"


def measure(report: Report) -> None:
    """Measure with and without flushing."""
    peers = installed([praisonai(retention="truncate")], report.note)
    for durability in ("process", "full"):
        kind = ours(durability, retention="truncate", max_messages=WINDOW)
        directory = report.directory / durability
        directory.mkdir()
        turns = report.rounds(1000, 20)
        timings = _taken_in_turns([kind, *(peers if durability == "process" else [])], directory, durability, turns)
        report.times(
            f"{durability}, two processes in turns", timings, floors=dict.fromkeys((kind.name, READING_FLOOR), FLOOR),
            ours=kind.name,
        )
        report.bar(f"{kind.name}, in turns: x floor", "<=", 1.5, ratio(timings, kind.name, FLOOR))


def _taken_in_turns(kinds: list[Kind], directory: Path, durability: str, turns: int) -> dict[str, Timing]:
    for kind in kinds:
        store = kind.open(directory / kind.name)
        store.fill([text_of(f"message {number} ") for number in range(WINDOW)])
        store.close()
    ends: tuple[Connection, Connection] = CONTEXT.Pipe()
    results, result_of_worker = CONTEXT.Pipe(duplex=False)
    shared = (kinds, directory, durability, turns, result_of_worker)
    workers = [
        CONTEXT.Process(target=_take_turns, args=(*shared, end, number == 0), daemon=True)
        for number, end in enumerate(ends)
    ]
    for worker in workers:
        worker.start()
    timings: dict[str, Timing] = {}
    for _ in workers:
        assert results.poll(DEADLINE_S), "the processes stopped taking turns"
        for name, samples_ns in results.recv().items():
            timings.setdefault(name, Timing()).samples_ns += samples_ns
    finished(workers)
    return timings


def _take_turns(
    kinds: list[Kind], directory: Path, durability: str, turns: int, result: Connection, other: Connection, begins: bool
) -> None:
    stores = {kind.name: kind.open(directory / kind.name) for kind in kinds}
    model = f"{directory}/{kinds[0].name}/{SESSION}.json"
    floors = {name: f"{directory}/{name}/{SESSION}.json" for name in (FLOOR, READING_FLOOR)}
    content = [b""]

    def write_floor() -> None:
        floor.replace_bytes(floors[FLOOR], content[0], durability)

    def read_and_write_floor() -> None:
        floor.read_bytes(floors[READING_FLOOR])
        floor.replace_bytes(floors[READING_FLOOR], content[0], durability)

    steps: dict[str, Callable[[], object]] = {FLOOR: write_floor, READING_FLOOR: read_and_write_floor}
    steps.update((name, partial(store.add, text_of("one more "))) for name, store in stores.items())
    for path in floors.values():
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_bytes(Path(model).read_bytes())
    samples_ns: dict[str, list[int]] = {name: [] for name in steps}
    warm_up_turns = max(2, int(turns * WARM_UP))
    for turn in range(turns + warm_up_turns):
        if turn or not begins:
            other.recv_bytes()
        content[0] = Path(model).read_bytes()
        for name in random.sample(list(steps), len(steps)):
            if durability != "process":
                floor.settle(directory)
            start_ns = time.perf_counter_ns()
            steps[name]()
            taken_ns = time.perf_counter_ns() - start_ns
            if turn >= warm_up_turns:
                samples_ns[name].append(taken_ns)
        other.send_bytes(b"your turn")
    result.send(samples_ns)
    if begins:
        other.recv_bytes()  # the other's last word; without it the pipe would break under it
    for store in stores.values():
        store.close()
