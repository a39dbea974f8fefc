"""Descriptors, memory and files stay what they are, however many writes there were and however writers died."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes.workers import needs_fork, open_descriptors, run_all

from faults.operations import names_in
from praison_store import DefaultSessionStore

pytestmark = needs_fork
SESSIONS, WINDOW = 20, 10
WARM_APPENDS = 15 * SESSIONS  # every window is full, every cache too, and a log was compacted where logs are
MOST_TRACED_BYTES, MOST_TRACED_BYTES_EACH, MOST_RSS_BYTES = 500_000, 250, 16_000_000
LIVES = [("json_files", "truncate"), ("json_files", "archive"), ("jsonl", "truncate"), ("sqlite", "truncate")]
TEXT = "x" * 400


@pytest.fixture
def directory() -> Iterator[str]:
    """Give a directory in memory where there is some to be had: flushes are not what is counted here."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as made:
        yield made


def open_on(engine: str, directory: str, retention: str) -> DefaultSessionStore:
    """Return a store of an engine."""
    url = {"jsonl": f"jsonl://{directory}", "sqlite": f"sqlite:///{directory}/sessions.db"}.get(engine)
    return DefaultSessionStore(
        None if url else directory, WINDOW, retention=retention, durability="process", db=url, lock_timeout=60.0
    )


def append_and_read(store: DefaultSessionStore, first: int, count: int) -> None:
    """Append messages to all sessions in turn, each with an id of its own, and read now and then."""
    for number in range(first, first + count):
        session_id = f"session-{number % SESSIONS}"
        store.add_user_message(session_id, f"{number} {TEXT}", message_id=f"id-{number}")
        if number % 10 == 0:
            assert f"{number} {TEXT}" == store.get_chat_history(session_id)[-1]["content"]


def resident_bytes() -> int:
    """Return how much memory of this process is in use, as the system counts it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def grow(engine: str, directory: str, retention: str, appends: int) -> dict[str, Any]:
    """Append until everything is warm, then on; return what grew meanwhile. In a process of its own."""
    with open_on(engine, directory, retention) as store:
        append_and_read(store, 0, WARM_APPENDS)
        tracemalloc.start()
        append_and_read(store, WARM_APPENDS, WARM_APPENDS)
        gc.collect()
        before = open_descriptors(), names_in(Path(directory)), resident_bytes(), tracemalloc.get_traced_memory()[0]
        append_and_read(store, 2 * WARM_APPENDS, appends)
        gc.collect()
        traced = tracemalloc.get_traced_memory()[0]
        after = open_descriptors(), names_in(Path(directory)), resident_bytes(), traced
        tracemalloc.stop()
    return {
        "descriptors": after[0] - before[0], "files": sorted(after[1] ^ before[1]),
        "resident_bytes": after[2] - before[2], "traced_bytes": after[3] - before[3],
    }


def assert_nothing_grew(directory: str, engine: str, retention: str, appends: int) -> None:
    """Nothing is left of that many appends but what they stored."""
    (grown,) = run_all([(grow, (engine, directory, retention, appends))], deadline_s=1800.0)
    print(f"{engine}, {retention}, {appends} appends: {grown}")
    assert (0, []) == (grown["descriptors"], grown["files"])
    assert min(MOST_TRACED_BYTES, MOST_TRACED_BYTES_EACH * appends) > grown["traced_bytes"]
    assert MOST_RSS_BYTES > grown["resident_bytes"]


@pytest.mark.parametrize(("engine", "retention"), LIVES[:3])
def test_D7_seven_hundred_appends_leave_nothing_behind(directory: str, engine: str, retention: str) -> None:
    """Goal: a process may live for months. Method: 700 appends with ids on 20 sessions, once everything is warm."""
    assert_nothing_grew(directory, engine, retention, 700)


@pytest.mark.long
@pytest.mark.parametrize(("engine", "retention"), LIVES)
def test_D7_a_hundred_thousand_appends_leave_nothing_behind(directory: str, engine: str, retention: str) -> None:
    """Goal and method: the short form's, with 100,000 appends."""
    assert_nothing_grew(directory, engine, retention, 100_000)


def killed_in_the_middle(engine: str, directory: str) -> None:
    """Kill a writer of this process's own in the middle of its work."""
    told, acknowledged = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            store = open_on(engine, directory, "truncate")
            while True:
                store.add_user_message("shared", TEXT)
                os.write(acknowledged, b"+")
        finally:
            os._exit(1)
    os.close(acknowledged)
    os.read(told, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(told)


@pytest.mark.parametrize("engine", ["json_files", "jsonl", "sqlite"])
def test_D7_killed_writers_leave_no_file_that_stays(directory: str, engine: str) -> None:
    """
    Goal: however many writers die, the directory is the same size.

    Method: kill 30 in the middle of their work; what the last one left is removed by a vacuum, or used by the next.
    """
    killed_in_the_middle(engine, directory)
    with open_on(engine, directory, "truncate") as store:
        store.add_user_message("shared", TEXT)
        names = {name for name in names_in(Path(directory)) if not name.endswith(".tmp")}
    for _ in range(30):
        killed_in_the_middle(engine, directory)
    with open_on(engine, directory, "truncate") as store:
        store.add_user_message("shared", TEXT)
        if engine == "json_files":
            store.vacuum()
        assert names == names_in(Path(directory))
        assert WINDOW == len(store.get_chat_history("shared"))
