"""
How does the cost of storing a message grow with the window, and the throughput with the number of processes?

Two tables, each also as a picture beside the JSON: time against window size, from 10 to 10,000 messages of 200 bytes,
and messages a second of one session against the number of processes that write to it, from 1 to 32.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from . import floor
from .harness import Contender, Nanoseconds, interleaved, nothing
from .report import Report, Row
from .stores import LINE_BYTES, SESSION, Kind, installed, ours, praisonai, text_of
from .writers import Floor, Outcome, write_at_once

WINDOWS = (10, 30, 100, 300, 1000, 3000, 10_000)
PROCESSES = (1, 2, 4, 8, 16, 32)
WINDOW = 100
Curves = dict[str, list[float]]


def measure(report: Report) -> None:
    """Measure both curves."""
    _against_the_window(report)
    _against_processes(report)


def _against_the_window(report: Report) -> None:
    windows = WINDOWS[:3] if report.quick else WINDOWS
    has_peer = bool(installed([praisonai(retention="truncate")], report.note))
    rows: list[Row] = []
    curves: Curves = {}
    for window in windows:
        row: Row = {"window": window}
        for durability in ("process", "full"):
            rounds = report.rounds(min(300, max(15, 60_000 // window)), 5)
            contenders = _contenders(report, durability, window, with_peer=has_peer and durability == "process")
            for name, timing in interleaved(contenders, rounds).items():
                row[name] = Nanoseconds(timing.median_ns)
                curves.setdefault(name, []).append(timing.median_ns / 1000)
        rows.append(row)
    report.table(f"add_message against the window, messages of {LINE_BYTES} bytes, medians", rows)
    _draw(report, "scale-window", windows, curves, "messages in the window", "microseconds to store one message")


def _contenders(report: Report, durability: str, window: int, *, with_peer: bool) -> list[Contender]:
    directory = report.directory / f"{durability}-{window}"
    settle: Callable[[], object] = nothing if durability == "process" else lambda: floor.settle(report.directory)
    options = {"retention": "truncate", "max_messages": window}
    kinds = [ours(durability, **options), *([praisonai(**options)] if with_peer else [])]
    contenders = []
    for kind in kinds:
        (directory / kind.name).mkdir(parents=True)
        store = kind.open(directory / kind.name)
        store.fill([text_of(f"message {number} ") for number in range(window)])
        contenders.append(Contender(kind.name, partial(store.add, text_of("one more ")), settle))
    content = Path(f"{directory}/{kinds[0].name}/{SESSION}.json").read_bytes()
    (directory / "floor").mkdir()
    path = f"{directory}/floor/{SESSION}.json"
    name = f"floor, {durability}"
    return [*contenders, Contender(name, lambda: floor.replace_bytes(path, content, durability), settle)]


def _against_processes(report: Report) -> None:
    counts = PROCESSES[:2] if report.quick else PROCESSES
    size_bytes = WINDOW * (LINE_BYTES + 2)
    kinds = [
        ours("process"), ours("full"),
        *(Kind(f"floor, {durability}", Floor, durability, {"durability": durability, "size_bytes": size_bytes})
          for durability in ("process", "full")),
        *installed([praisonai(retention="truncate")], report.note),
    ]
    rows: list[Row] = []
    curves: Curves = {}
    for processes in counts:
        row: Row = {"processes": processes}
        outcomes: dict[str, Outcome] = {}
        for kind in random.sample(kinds, len(kinds)):
            outcomes[kind.name] = write_at_once(
                kind, report.directory / f"{processes}-processes" / kind.name, writers=processes,
                messages=max(report.rounds(480, 16) // processes, 2), filled=WINDOW,
            )
        for kind in kinds:
            row[kind.name] = outcomes[kind.name].per_second
            curves.setdefault(kind.name, []).append(outcomes[kind.name].per_second)
        rows.append(row)
    report.table("messages a second of one session, against the number of processes", rows)
    _draw(report, "scale-processes", counts, curves, "processes that write to one session", "messages a second")


def _draw(report: Report, name: str, xs: tuple[int, ...], curves: Mapping[str, list[float]], x: str, y: str) -> None:
    if report.output is None:
        return
    try:
        import matplotlib as mpl
    except ImportError as error:
        report.note(f"{name}.png was not drawn: {error.name} is missing")
        return
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for label, ys in curves.items():
        axes.loglog(xs, ys, **_style(label), label=label)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_xticks(xs, [f"{value:,}" for value in xs])
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend()
    report.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(report.output / f"{name}.png", dpi=110)
    pyplot.close(figure)


def _style(label: str) -> dict[str, Any]:
    colour = "tab:blue" if "process" in label else "tab:green"
    if label.startswith("floor"):
        return {"color": colour, "linestyle": ":"}
    return {"color": colour, "marker": "o"} if label.startswith("ours") else {"color": "tab:red", "marker": "x"}
