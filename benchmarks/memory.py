"""
Does a process that touches many sessions stay small?

A fresh process reads 2,000 sessions of 20 messages each, then 48 large ones of 4 MiB each, one after the other, and
looks at itself on the way: descriptors, memory Python has allocated (tracemalloc), resident memory. A bounded cache
shows as memory that is the same after half of the sessions and after all.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import tracemalloc
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from praison_store import DefaultSessionStore

from .report import Report, Row
from .stores import Kind, Ours, PraisonAI, installed, ours, praisonai, text_of

SESSIONS, MESSAGES = 2000, 20
LARGE_SESSIONS, LARGE_MESSAGES, LARGE_TEXT_BYTES = 48, 64, 65536
CACHED_SESSIONS = 64
CACHED_MIB = 64
MIB = 2**20
DEADLINE_S = 300.0
_FRESH = multiprocessing.get_context("spawn")


def measure(report: Report) -> None:
    """Write the sessions, then let one fresh process for each store read them."""
    many, large = report.rounds(SESSIONS, 200), report.rounds(LARGE_SESSIONS, 40)
    directory = report.directory / "sessions"
    with DefaultSessionStore(directory, durability="process") as store:
        for number in range(many):
            _add(store, f"small-{number}", [text_of(f"message {index} ") for index in range(MESSAGES)])
        for number in range(large):
            texts = [f"message {index} ".ljust(LARGE_TEXT_BYTES, "x") for index in range(LARGE_MESSAGES)]
            _add(store, f"large-{number}", texts)
    kinds = [ours("full"), *installed([praisonai()], report.note)]
    looks = {kind.name: _in_a_fresh_process(kind, directory, many, large) for kind in kinds}
    for name, rows in looks.items():
        report.table(name, rows)
    half, whole, large_half, large_whole = looks[kinds[0].name][1:]
    report.bar(f"descriptors held after {many:,} sessions", "<=", CACHED_SESSIONS, _number(whole, "descriptors"))
    report.bar(f"memory after {many:,} sessions: x after half of them", "<=", 1.1, _growth(half, whole))
    growth = _growth(large_half, large_whole)
    report.bar(f"memory after {large} large sessions: x after half of them", "<=", 1.1, growth)
    report.bar(
        f"memory after {large} large sessions: x the cache's {CACHED_MIB} MiB of files", "<=", 2.5,
        _number(large_whole, "allocated MiB") / CACHED_MIB,
    )


def _add(store: DefaultSessionStore, session_id: str, texts: list[str]) -> None:
    store.add_messages(session_id, [{"role": "user", "content": text} for text in texts])


def _growth(half: Row, whole: Row) -> float:
    return _number(whole, "allocated MiB") / _number(half, "allocated MiB")


def _number(row: Row, column: str) -> float:
    value = row[column]
    assert isinstance(value, (int, float))
    return float(value)


def _in_a_fresh_process(kind: Kind, directory: Path, many: int, large: int) -> list[Row]:
    receiver, sender = _FRESH.Pipe(duplex=False)
    process = _FRESH.Process(target=_touch, args=(kind, directory, many, large, sender), daemon=True)
    process.start()
    sender.close()
    assert receiver.poll(DEADLINE_S), "the process that reads sessions never came back"
    rows: list[Row] = receiver.recv()
    process.join(DEADLINE_S)
    return rows


def _touch(kind: Kind, directory: Path, many: int, large: int, result: Connection) -> None:
    opened: Any = kind.open(directory)
    assert isinstance(opened, (Ours, PraisonAI))
    store = opened.store
    store.get_chat_history("small-0")
    tracemalloc.start()
    descriptors = _descriptors()
    rows = [_look("nothing", descriptors)]
    for kind_of_session, count in (("small", many), ("large", large)):
        for number in range(count):
            for _ in range(2):  # ours keeps a session from its second look on
                assert store.get_chat_history(f"{kind_of_session}-{number}")
            if number + 1 in (count // 2, count):
                rows.append(_look(f"{number + 1:,} {kind_of_session} sessions", descriptors))
    result.send(rows)


def _look(when: str, descriptors_before: int) -> Row:
    gc.collect()
    return {
        "after": when,
        "descriptors": _descriptors() - descriptors_before,
        "allocated MiB": tracemalloc.get_traced_memory()[0] / MIB,
        "peak MiB": tracemalloc.get_traced_memory()[1] / MIB,
        "resident MiB": _resident_bytes() / MIB,
    }


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
