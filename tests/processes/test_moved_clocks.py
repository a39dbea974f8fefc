"""A stopped holder, and a wall clock that jumps an hour: a writer waits as long as it asked for (D3)."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from praison_store import LockTimeoutError
from praison_store.engines import Engine
from praison_store.engines.json_files import JsonFilesEngine
from praison_store.engines.jsonl import JsonlEngine
from praison_store.engines.sql import SqlEngine
from praison_store.model.message import new_record
from praison_store.model.session import SessionData
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named
from processes.board import children
from processes.moved_clock import MovedClock, needs_gcc
from processes.workers import DEADLINE_S, forks_beside_threads, needs_fork

pytestmark = [needs_fork, forks_beside_threads]
KEY = SessionKey("shared")
ALL = policy_named("keep_all", 1)
HOUR_S, ASKED_S = 3600, 2.0
KINDS = ["json_files", "jsonl", "sqlite"]


def opened(kind: str, place: str) -> Engine:
    """Return an engine of a kind that waits two seconds."""
    if kind == "sqlite":
        return SqlEngine(f"sqlite:///{place}/sessions.db", lock_timeout_s=ASKED_S)
    if kind == "jsonl":
        return JsonlEngine(place, lock_timeout_s=ASKED_S)
    return JsonFilesEngine(place, lock_timeout_s=ASKED_S)


def wait(kind: str, place: str) -> None:
    """Say that all is ready, and when told so, write; then tell what came of it and what the clocks said."""
    engine = opened(kind, place)
    print(json.dumps([str(message["content"]) for message in engine.history(KEY, None)]), flush=True)
    sys.stdin.readline()
    began_s, began_at = time.monotonic(), time.time()
    told: dict[str, Any] = {"error": "", "holder": []}
    try:
        engine.append(KEY, [new_record("user", "refused", 1.0)], now_s=1.0, policy=ALL)
    except LockTimeoutError as error:
        told = {"error": type(error).__name__, "holder": list(error.holder)}
    waited_s = time.monotonic() - began_s
    read = [str(message["content"]) for message in engine.history(KEY, None)]
    print(json.dumps({**told, "waited_s": waited_s, "wall_s": time.time() - began_at, "read": read}), flush=True)


def hold(kind: str, place: str, tell: int) -> None:
    """Stand still in the middle of an update."""

    def change(_session: SessionData) -> None:
        os.write(tell, b"+")
        os.close(tell)
        time.sleep(DEADLINE_S)

    opened(kind, place).update(KEY, change, now_s=1.0, policy=ALL)


@needs_gcc
def test_D1_D3_a_wait_lasts_as_asked_whatever_the_wall_clock_does(tmp_path: Path) -> None:
    """
    Goal: no timeout is cut short or lasts an hour; who reads is not concerned; the holder is named where it is known.

    Method: a stopped holder on each engine; writers with two seconds of patience; the clock jumps in the middle.
    """
    waiting: list[tuple[str, int, int, Any]] = []
    with children() as fork:
        holders = {}
        for kind in KINDS:
            place = tmp_path / kind
            place.mkdir()
            engine = opened(kind, str(place))
            engine.append(KEY, [new_record("user", "first", 1.0)], now_s=1.0, policy=ALL)
            engine.close()
            holder = fork(lambda tell, kind=kind, place=place: hold(kind, str(place), tell))  # type: ignore[misc]
            assert b"+" == holder.heard(1)
            os.kill(holder.pid, signal.SIGSTOP)
            holders[kind] = holder.pid
        clocks = {}
        for moved_s in (-HOUR_S, HOUR_S):
            (tmp_path / str(moved_s)).mkdir()
            clocks[moved_s] = MovedClock(tmp_path / str(moved_s))
            waiting += [(kind, moved_s, holders[kind], clocks[moved_s].start(__name__, "wait", kind, str(tmp_path / kind)))
                        for kind in KINDS]
        for kind, _moved_s, _pid, process in waiting:
            assert ["first"] == json.loads(process.stdout.readline()), kind
        for _kind, _moved_s, _pid, process in waiting:
            process.stdin.write("go\n")
            process.stdin.flush()
        time.sleep(ASKED_S / 4)
        for moved_s, clock in clocks.items():
            clock.move(moved_s)
        for kind, moved_s, pid, process in waiting:
            told = json.loads(process.communicate(timeout=DEADLINE_S)[0])
            print(f"{kind}, clock moved by {moved_s} s: asked for {ASKED_S} s, waited {told['waited_s']:.3f} s")
            assert ("LockTimeoutError", ["first"]) == (told["error"], told["read"])
            assert ([] if kind == "sqlite" else [pid]) == told["holder"]
            assert abs(told["wall_s"] - moved_s - told["waited_s"]) < HOUR_S / 2, "the clock did not move"
            assert ASKED_S - 0.2 <= told["waited_s"] < ASKED_S + 30


@needs_gcc
@pytest.mark.parametrize("moved_s", [-HOUR_S, HOUR_S])
def test_the_moved_clock_moves_the_wall_clock_alone(tmp_path: Path, moved_s: int) -> None:
    """Goal: a harness that does what it says. Method: all clocks of a child, before and behind a move."""
    clock = MovedClock(tmp_path)
    process = clock.start(__name__, "tell_clocks")
    assert process.stdin is not None
    assert process.stdout is not None
    before = json.loads(process.stdout.readline())
    clock.move(moved_s)
    after = json.loads(process.communicate("go\n", timeout=DEADLINE_S)[0])
    moved = {name: after[name] - before[name] for name in before}
    assert moved["monotonic"] < DEADLINE_S
    assert abs(moved["time"] - moved_s - moved["monotonic"]) < 2
    assert abs(moved["sqlite"] - moved_s - moved["monotonic"]) < 2


def tell_clocks() -> None:
    """Print what Python and SQLite take for the time, twice."""
    import sqlite3

    connection = sqlite3.connect(":memory:")
    for is_last in (False, True):
        (sqlite_s,) = connection.execute("SELECT (julianday('now') - 2440587.5) * 86400.0").fetchone()
        print(json.dumps({"time": time.time(), "monotonic": time.monotonic(), "sqlite": sqlite_s}), flush=True)
        if not is_last:
            sys.stdin.readline()
    connection.close()
