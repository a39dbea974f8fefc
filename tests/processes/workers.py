"""Start writers in other processes, wait for them with a deadline, and count what they left behind."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from praison_store import DefaultSessionStore

# A deadline only bounds a hang: on an idle machine each test here is done in a few seconds.
DEADLINE_S = 240.0
Job = tuple[Callable[..., Any], tuple[Any, ...]]

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
# From Python 3.12 on a fork beside threads warns. It is what many servers do, so it is what these tests do.
forks_beside_threads = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
needs_praisonai = pytest.mark.skipif(find_spec("praisonaiagents") is None, reason="praisonaiagents is not installed")


def start_servers() -> None:
    """Have the resource tracker, the fork server and the shared heap: each keeps descriptors of this process open."""
    multiprocessing.Barrier(1)
    if os.name == "posix":
        resource_tracker.ensure_running()
        if "forkserver" in multiprocessing.get_all_start_methods():
            forkserver.ensure_running()


def run_all(jobs: Sequence[Job], *, start: str = "fork", deadline_s: float = DEADLINE_S) -> list[Any]:
    """
    Run each job in a process of its own, all let go at the same moment, and return their results in order.

    Raises:
        AssertionError: A job raised, died or was not done by the deadline; those still running are killed.
    """
    context: Any = multiprocessing.get_context(start)  # the stubs of a context do not know its Process
    gate = context.Barrier(len(jobs))
    running = []
    for function, arguments in jobs:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_report, args=(sender, gate, function, arguments), daemon=True)
        process.start()
        sender.close()
        running.append((process, receiver))
    ends_s = time.monotonic() + deadline_s
    try:
        outcomes = [_outcome(receiver, ends_s) for _process, receiver in running]
    finally:
        for process, receiver in running:
            process.join(max(0.0, min(10.0, ends_s - time.monotonic())))
            if process.is_alive():
                process.kill()
                process.join()
            receiver.close()
            process.close()
    errors = [error for error, _ in outcomes if error]
    if errors:
        raise AssertionError("\n".join(errors))
    return [result for _, result in outcomes]


def _report(sender: Connection, gate: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        gate.wait(DEADLINE_S)
        outcome = ("", function(*arguments))
    except BaseException:  # noqa: BLE001 - whatever ended the job is what the test must be told
        outcome = (traceback.format_exc(), None)
    sender.send(outcome)
    sender.close()


def _outcome(receiver: Connection, ends_s: float) -> tuple[str, Any]:
    if not receiver.poll(max(0.0, ends_s - time.monotonic())):
        return "still running at the deadline", None
    try:
        outcome: tuple[str, Any] = receiver.recv()
    except EOFError:
        return "died without a word", None
    return outcome


# ---- jobs -----------------------------------------------------------------------------------------------------


def append_numbered(
    directory: str, sessions: Sequence[str], writer: str, count: int, options: dict[str, Any]
) -> list[float]:
    """Append `<writer>:0`, `<writer>:1`, ... to each session in turn; return how long each call took, in seconds."""
    before = open_descriptors()
    took_s = []
    with DefaultSessionStore(directory, **options) as store:
        for number in range(count):
            for session_id in sessions:
                started_s = time.perf_counter()
                assert store.add_user_message(session_id, f"{writer}:{number}") is True
                took_s.append(time.perf_counter() - started_s)
    assert before == open_descriptors(), "the writer left descriptors open"
    return took_s


def append_with_praisonai(directory: str, session_id: str, writer: str, count: int) -> list[float]:
    """Append `<writer>:0`, `<writer>:1`, ... through PraisonAI's own store; return how long each call took."""
    os.environ["HOME"] = os.environ["PRAISONAI_HOME"] = str(Path(directory).parent)
    from praisonaiagents.session.store import DefaultSessionStore as TheirStore  # type: ignore[import-untyped] # has none

    # Their store looks every 50 ms whether the lock is free, so it may have to wait until ours are done.
    store = TheirStore(session_dir=directory, retention="keep_all", max_messages=1_000_000, lock_timeout=DEADLINE_S)
    took_s = []
    for number in range(count):
        started_s = time.perf_counter()
        assert store.add_user_message(session_id, f"{writer}:{number}") is True
        took_s.append(time.perf_counter() - started_s)
    return took_s


# ---- what is left ---------------------------------------------------------------------------------------------


def everything(store: DefaultSessionStore, session_id: str) -> list[Any]:
    """Return the contents of all messages, archived ones first."""
    archived = store.get_archived_messages(session_id)
    return [message.content for message in [*archived, *store.get_session(session_id).messages]]


def numbers_by_writer(contents: Iterable[str]) -> dict[str, list[int]]:
    """Return the numbers of `<writer>:<number>` messages, for each writer in the order they stand."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for content in contents:
        writer, _, number = content.rpartition(":")
        numbers[writer].append(int(number))
    return dict(numbers)


def assert_all_there(store: DefaultSessionStore, session_id: str, writers: Iterable[str], count: int) -> None:
    """Each writer's messages are there exactly once and in its order; the file is whole and nothing is left over."""
    expected = {writer: list(range(count)) for writer in writers}
    assert expected == numbers_by_writer(everything(store, session_id))
    directory = Path(str(store.session_dir))
    assert session_id == json.loads((directory / f"{session_id}.json").read_bytes())["session_id"]
    assert [] == sorted(path.name for path in directory.rglob("*.tmp"))
    assert [] == store.check().problems


def open_descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


def print_waits(what: str, results: Iterable[Sequence[float]]) -> None:
    """Print how long calls took: a report, not a bar (`pytest -rP` shows it)."""
    took_s = sorted(second for result in results for second in result)
    p50, p99 = (1000 * took_s[min(len(took_s) - 1, int(len(took_s) * part))] for part in (0.50, 0.99))
    print(f"{what}: {len(took_s)} adds, p50 {p50:.2f} ms, p99 {p99:.2f} ms, max {1000 * took_s[-1]:.2f} ms")
