"""
What does storing one message cost, beside the least work that stores the same bytes, and beside the peers?

The window is full, so that each message pushes out another; every line of the file has 200 bytes. `truncate` lets one
message go with each that comes, `archive`, the default, moves a quarter window at once into the archive, so that its
file is a little longer; each has its own floor. Before each turn of a contender that flushes, what the others left
unflushed is flushed, not timed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from . import floor
from .harness import Contender, interleaved, nothing, ratio
from .report import Report
from .stores import LANGCHAIN, LINE_BYTES, OPENAI, SESSION, Kind, Ours, Store, installed, ours, praisonai, text_of

WINDOW = 100
LONG_WINDOW = 5000
REFILL_ROUNDS = 100


def measure(report: Report) -> None:
    """Measure every durability against the floor, then against the peers."""
    for durability, limit in (("process", 1.25), ("full", 1.2), ("ordered", None)):
        _beside_the_floor(report, durability, WINDOW, limit, report.rounds(1500, 30))
    for durability in ("process", "full"):
        _beside_the_floor(report, durability, LONG_WINDOW, 1.2, report.rounds(300, 10))
    never_flushing = [praisonai(retention="truncate"), praisonai(), LANGCHAIN]
    _beside_the_peers(report, "process", never_flushing, 6.0, report.rounds(500, 10))
    _beside_the_peers(report, "full", [*never_flushing, OPENAI], 2.5, report.rounds(500, 10))


def _beside_the_floor(report: Report, durability: str, window: int, limit: float | None, rounds: int) -> None:
    """Time ours, and the floor with the bytes our file had when the round began."""
    directory = report.directory / f"floor-{durability}-{window}"
    prepare = _settling(report, durability)
    contents: dict[str, bytes] = {}
    stores: dict[str, Store] = {}
    contenders, floors, files = [], {}, {}
    for retention in ("truncate", "archive"):
        kind = ours(durability, retention=retention, max_messages=window)
        floor_name = f"floor, {durability}, {retention}"
        stores[kind.name] = _filled(kind, directory / retention, window)
        files[floor_name], floors[kind.name] = directory / retention / f"{SESSION}.json", floor_name
        contenders += [
            _adding(kind.name, stores[kind.name], prepare),
            Contender(floor_name, _writing(directory / floor_name, floor_name, contents, durability), prepare),
        ]

    def read_files() -> None:
        contents.update((name, file.read_bytes()) for name, file in files.items())

    timings = interleaved(contenders, rounds, before_round=read_files)
    report.times(f"{durability}, {window:,} messages of {LINE_BYTES} bytes", timings, floors=floors)
    for name, store in stores.items():
        if limit is not None:
            report.bar(f"{name}, {window:,} messages: x floor", "<=", limit, ratio(timings, name, floors[name]))
        store.close()


def _beside_the_peers(report: Report, durability: str, peers: list[Kind], limit: float, rounds: int) -> None:
    directory = report.directory / f"peers-{durability}"
    mine = [ours(durability, retention="truncate"), ours(durability)]
    present = installed(peers, report.note)
    stores = {kind.name: _filled(kind, directory / kind.name, WINDOW) for kind in (*mine, *present)}
    settle = _settling(report, durability)
    refills = {praisonai().name: REFILL_ROUNDS, LANGCHAIN.name: 1}
    contenders = [_adding(name, store, _refilling(store, refills.get(name), settle)) for name, store in stores.items()]
    floor_name = f"floor, {durability}"
    contents = {floor_name: (directory / mine[0].name / f"{SESSION}.json").read_bytes()}
    contenders.append(Contender(floor_name, _writing(directory / "floor", floor_name, contents, durability), settle))
    timings = interleaved(contenders, rounds)
    report.times(f"{durability}, beside the peers, {WINDOW} messages", timings, ours=mine[0].name)
    report.note(f"PraisonAI and LangChain never flush. PraisonAI's default keeps in its file what leaves the window; "
                f"that file is set back to {WINDOW} messages every {REFILL_ROUNDS} rounds, LangChain's every round.")
    for kind in mine:
        for peer in (praisonai(retention="truncate").name, praisonai().name):
            report.bar(f"{kind.name}: times as fast as {peer}", ">=", limit, ratio(timings, peer, kind.name))
    for peer in (praisonai(retention="truncate").name, praisonai().name):
        report.note(f"The {floor_name} alone is {ratio(timings, peer, floor_name) or 0:.1f} times as fast as {peer}.")
    for store in stores.values():
        store.close()


def _filled(kind: Kind, directory: Path, window: int) -> Store:
    directory.mkdir(parents=True)
    store = kind.open(directory)
    store.fill([text_of(f"message {number} ") for number in range(window)])
    if isinstance(store, Ours):
        store.add(text_of())  # the window is full, and cut for the first time
    return store


def _adding(name: str, store: Store, prepare: Callable[[], object]) -> Contender:
    return Contender(name, partial(store.add, text_of("one more ")), prepare)


def _writing(directory: Path, name: str, contents: dict[str, bytes], durability: str) -> Callable[[], None]:
    directory.mkdir(parents=True)
    path = f"{directory}/{SESSION}.json"
    return lambda: floor.replace_bytes(path, contents[name], durability)


def _settling(report: Report, durability: str) -> Callable[[], object]:
    return nothing if durability == "process" else lambda: floor.settle(report.directory)


def _refilling(store: Store, every_rounds: int | None, settle: Callable[[], object]) -> Callable[[], object]:
    if every_rounds is None:
        return settle
    turns = [0]

    def prepare() -> None:
        if turns[0] % every_rounds == 0:
            store.fill([text_of(f"message {number} ") for number in range(WINDOW)])
        turns[0] += 1
        settle()

    return prepare
