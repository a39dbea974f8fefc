"""Others see a session grow, whoever writes it and is killed: prefixes, never back, nothing acknowledged missing (D1)."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from faults.mounted import run_mounted

from praison_store.disk import seam
from praison_store.engines import Engine
from processes.consistency import (
    LONG,
    QUICK,
    Effort,
    Watch,
    opened,
    read_now,
    run_in,
    run_round,
    run_rounds,
    wrong_at_the_end,
)
from processes.workers import forks_beside_threads, needs_fork

sys.path.append(str(Path(__file__).parents[1] / "contract"))
from sql_places import URLS

pytestmark = [needs_fork, forks_beside_threads]
KINDS = ["json_files", "jsonl", "sqlite", "postgresql"]
# Time stamps are whole seconds where an inode has no room for more.
COARSE = 'truncate -s 256M "$1.img" && mkfs.ext4 -q -F -I 128 "$1.img" 2>/dev/null && mount -o loop "$1.img" "$1"'
on_json_files, on_jsonl = (partial(run_in, kind, QUICK) for kind in ("json_files", "jsonl"))
on_json_files_at_length, on_jsonl_at_length = (partial(run_in, kind, LONG) for kind in ("json_files", "jsonl"))


def run(kind: str, directory: Path, effort: Effort) -> dict[str, Any]:
    """Run all rounds of an effort in new places of a kind."""
    if kind not in URLS:
        return run_in(kind, effort, str(directory))

    def place(number: int) -> str:
        (directory / str(number)).mkdir()
        return URLS[kind](directory / str(number))

    return run_rounds(kind, place, effort)


def assert_consistent(outcome: dict[str, Any]) -> None:
    """No anomaly, and enough was written and read to find one."""
    print(", ".join(f"{name} {value}" for name, value in outcome.items() if name != "anomalies"),
          "anomalies", len(outcome["anomalies"]))
    assert [] == outcome["anomalies"]
    assert outcome["reads"] > 3
    assert outcome["messages"] > 3


@pytest.mark.parametrize("kind", KINDS)
def test_D1_D3_reads_beside_killed_writers_are_prefixes_and_never_go_back(kind: str, tmp_path: Path) -> None:
    """Goal: one order for all. Method: 3 writers, 2 readers without a lock, 2 writers killed and replaced."""
    assert_consistent(run(kind, tmp_path, QUICK))


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_D1_D3_reads_beside_killed_writers_are_prefixes_at_length(kind: str, tmp_path: Path) -> None:
    """Goal and method: the short form's, with 60 s, 6 writers, 2 readers and 20 kills."""
    assert_consistent(run(kind, tmp_path, LONG))


needs_mkfs = pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="there is no mkfs.ext4 here")


@needs_mkfs
@pytest.mark.parametrize("kind", ["json_files", "jsonl"])
def test_D10_reads_where_time_stamps_are_whole_seconds_are_prefixes(kind: str, tmp_path: Path) -> None:
    """Goal: no proof of an unchanged file rests on its time. Method: the same, on an ext4 with inodes of 128 bytes."""
    assert_consistent(run_mounted(COARSE, __name__, f"on_{kind}", tmp_path))


@needs_mkfs
@pytest.mark.long
@pytest.mark.parametrize("kind", ["json_files", "jsonl"])
def test_D10_reads_where_time_stamps_are_whole_seconds_are_prefixes_at_length(kind: str, tmp_path: Path) -> None:
    """Goal and method: the short form's, with 60 s, 6 writers, 2 readers and 20 kills."""
    assert_consistent(run_mounted(COARSE, __name__, f"on_{kind}_at_length", tmp_path))


# ---- the judge is judged -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reads", "final", "expected"), [
    ([["a:0"], ["a:0", "b:0"]], ["a:0", "b:0", "a:1"], ""),
    ([["a:0", "b:0"], ["a:0"]], ["a:0", "b:0"], "went back"),
    ([["a:0", "b:0"], ["b:0", "a:0"]], ["b:0", "a:0"], "not the list seen before"),
    ([["a:0", "b:0"]], ["a:0", "a:1"], "no prefix"),
    ([["b:0"]], ["b:0", "a:0"], "acknowledged"),
    ([[]], ["a:0"], "acknowledged"),
])
def test_the_judge_of_reads_finds_each_anomaly(reads: list[list[str]], final: list[str], expected: str) -> None:
    """Goal: a harness that finds nothing could. Method: lists by hand; `a:0` was acknowledged before every read."""
    watch = Watch()
    for texts in reads:
        watch.see(texts, {"a": 1})
    told = " ".join(watch.end(final))
    assert expected in told
    assert bool(expected) == bool(told)


@pytest.mark.parametrize(("final", "is_right"), [
    (["a:0", "b:0", "a:1"], True), (["a:0", "b:0", "a:1", "a:2"], True), (["a:0", "b:0"], False),
    (["a:0", "a:0", "a:1", "b:0"], False), (["a:1", "a:0", "b:0"], False), (["a:0", "a:1", "b:0", "c:0"], False),
])
def test_the_judge_of_the_end_finds_what_is_lost_or_doubled(final: list[str], is_right: bool) -> None:
    """Goal: the same, of the final list. Method: two of `a` and one of `b` were acknowledged."""
    assert is_right is (wrong_at_the_end(final, {"a": 2, "b": 1}) == [])


class Stale:
    """Read once, and give the same to the next readers, as a cache whose key repeats does."""

    def __init__(self) -> None:
        self._kept: list[str] = []

    def __call__(self, engine: Engine, number: int) -> list[str]:
        if number % 8 < 2:
            self._kept = read_now(engine, number)
        return self._kept


def no_lock(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Say that every lock was taken."""
    return True if name in ("lock", "take") else call(*args, **named)


def in_place(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Write over the file that is there, in place of renaming another to its name."""
    if name != "replace":
        return call(*args, **named)
    source, target = map(Path, args)
    data = source.read_bytes()
    source.unlink()
    with target.open("wb") as file:
        for start in range(0, len(data), 512):
            file.write(data[start : start + 512])
            file.flush()
    return None


ROUNDS_TO_CATCH = 10  # on a busy machine a round may be over before anybody read in the middle of a write


@pytest.mark.parametrize("broken", ["no lock", "in-place write", "stale cache"])
def test_stores_broken_on_purpose_are_caught(broken: str, tmp_path: Path) -> None:
    """Goal: the whole harness finds what it is for. Method: a lock that is none, a write in place, a stale reader."""
    around = {"no lock": no_lock, "in-place write": in_place}.get(broken)
    held: list[Any] = []

    def write_with() -> Engine:
        if around is not None:
            held.append(seam.intercept(around))
            held[-1].__enter__()  # in the child, and to its end
        return opened("json_files", str(tmp_path))

    effort = Effort(1, 0.5, 3, 2, 0)
    for _ in range(ROUNDS_TO_CATCH):
        try:
            outcome = run_round(
                effort, lambda: opened("json_files", str(tmp_path)), write_with=write_with,
                read=Stale() if broken == "stale cache" else read_now)
        except (AssertionError, ValueError) as error:
            print(f"{broken}: {str(error)[-200:]}")  # a writer or a reader met what no store may show it
            return
        if outcome.anomalies:
            break
        shutil.rmtree(tmp_path)  # each round has a new session
        tmp_path.mkdir()
    print(f"{broken}: {len(outcome.anomalies)} anomalies, the first: {outcome.anomalies[:1]}")
    assert [] != outcome.anomalies
