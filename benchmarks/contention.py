"""
What do many writers of one session get done, how long does each wait, and is anything lost?

First the throughput of 16 processes on a full window of 100 messages: the contenders in random order, several rounds,
every call's time in one heap; once with writers that do nothing else, once with 5 ms of something else, on average,
between two messages of a writer. Without a pause whoever holds PraisonAI's lock keeps it while the others sleep, so its
throughput is that of a single writer, and its slowest call takes a second. Then the table of parallel writers: 8 and 64
processes add 25 messages each; afterwards what is really in the store is counted. A message is lost if the call said it
was stored and it is not there.
"""

from __future__ import annotations

import random

from .harness import Nanoseconds
from .report import Report, Row
from .stores import LANGCHAIN, LINE_BYTES, OPENAI, Kind, installed, ours, praisonai
from .writers import Floor, Outcome, write_at_once

WRITERS = 16
WINDOW = 100
P99_BAR_MS = 100.0


def measure(report: Report) -> None:
    """Measure throughput, then count what is lost."""
    for pause_ms in (0, 5):
        _throughput(report, pause_ms)
    for writers in (8, 64) if not report.quick else (4,):
        _table_of_writers(report, writers, report.rounds(25, 5))


def _throughput(report: Report, pause_ms: int) -> None:
    mine = [ours("process"), ours("full")]
    theirs = [praisonai(retention="truncate"), praisonai()]
    size_bytes = WINDOW * (LINE_BYTES + 2)
    floors = [
        Kind(f"floor, {durability}", Floor, durability, {"durability": durability, "size_bytes": size_bytes})
        for durability in ("process", "full")
    ]
    kinds = [*mine, *floors, *installed(theirs, report.note)]
    outcomes = {kind.name: Outcome() for kind in kinds}
    for round_number in range(report.rounds(5, 1)):
        for kind in random.sample(kinds, len(kinds)):
            directory = report.directory / f"pause-{pause_ms}-round-{round_number}" / kind.name
            outcomes[kind.name].add(write_at_once(
                kind, directory, writers=WRITERS, messages=report.rounds(25, 5), filled=WINDOW, pause_s=pause_ms / 1000
            ))
    forgetting = {kind.name for kind in kinds if kind.options.get("retention") == "truncate"}
    how = f"pauses of {pause_ms} ms" if pause_ms else "back to back"
    _add_table(report, f"{WRITERS} processes on a window of {WINDOW}, {how}", kinds, outcomes, forgetting)
    peer = outcomes.get(theirs[0].name)
    for kind in mine:
        outcome = outcomes[kind.name]
        faster = outcome.per_second / peer.per_second if peer is not None and peer.acknowledged else None
        what = f"{kind.name}, {how}"
        report.bar(f"{what}: times the throughput of {theirs[0].name}", ">=", 10.0, faster)
        report.bar(f"{what}: p99 of a call, ms", "<=", P99_BAR_MS, outcome.waits.percentile_ns(99) / 1e6)
        report.bar(f"{what}: refused (timeouts)", "<=", 0, outcome.refused + outcome.untried)
        if kind.name not in forgetting:
            report.bar(f"{what}: lost", "<=", 0, outcome.lost)


def _table_of_writers(report: Report, writers: int, messages: int) -> None:
    mine = [ours("full"), ours("process")]
    peers = installed([praisonai(retention="keep_all"), OPENAI, LANGCHAIN], report.note)
    outcomes = {
        kind.name: write_at_once(kind, report.directory / f"{writers}" / kind.name, writers=writers, messages=messages)
        for kind in random.sample([*mine, *peers], len(mine) + len(peers))
    }
    _add_table(report, f"{writers} processes, {messages} messages each, one session", [*mine, *peers], outcomes, set())
    for kind in mine:
        outcome = outcomes[kind.name]
        wrong = outcome.lost + outcome.refused + outcome.twice + outcome.untried
        report.bar(f"{kind.name}: lost, refused or stored twice of {writers} x {messages}", "<=", 0, wrong)


def _add_table(
    report: Report, title: str, kinds: list[Kind], outcomes: dict[str, Outcome], forgetting: set[str]
) -> None:
    """Add a table; what a store of `forgetting` lets go of by its own policy is not called lost."""
    rows: list[Row] = []
    for kind in kinds:
        outcome = outcomes[kind.name]
        counts = kind.opened is not Floor and kind.name not in forgetting
        rows.append({
            "": kind.name,
            "acknowledged": outcome.acknowledged,
            "lost": outcome.lost if counts else None,
            "twice": outcome.twice if counts else None,
            "refused": outcome.refused,
            "untried": outcome.untried,
            "a second": outcome.per_second,
            "median": Nanoseconds(outcome.waits.percentile_ns(50)),
            "p90": Nanoseconds(outcome.waits.percentile_ns(90)),
            "p99": Nanoseconds(outcome.waits.percentile_ns(99)),
            "max": Nanoseconds(max(outcome.waits.samples_ns)),
            "in all": Nanoseconds(outcome.span_ns),
        })
    report.table(title, rows)
    for kind in kinds:
        if outcomes[kind.name].reasons:
            reasons = ", ".join(f"{count} x {reason}" for reason, count in outcomes[kind.name].reasons.most_common(3))
            report.note(f"{kind.name}: {reasons}")
