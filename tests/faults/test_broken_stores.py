"""Ten stores broken on purpose: each is caught by the harness that is there for its mistake, and by which others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes.workers import needs_fork

from faults.broken_stores import BROKEN, broken
from faults.call_faults import FAULTS, each_point, rehearse
from faults.crash_states import Judge, Life
from faults.operations import ALL_OPERATIONS, KEY, SUFFIXES, open_store
from faults.three_writers import BETWEEN, SAME, meet_everywhere
from praison_store import SessionStoreError
from praison_store.model.message import new_record
from praison_store.retention import policy_named

pytestmark = needs_fork
APPENDS = [operation for operation in ALL_OPERATIONS if operation.name == "append with room in the window"]


def call_faults(root: Path, *faults: str) -> None:
    """Interrupt each call of an append."""
    for operation in APPENDS:
        rehearsed = rehearse(operation, root / operation.engine)
        for fault in faults or ("short write once", "EIO once", "ENOSPC for good"):
            for _ in each_point(rehearsed, root / "run", FAULTS[fault], fault):
                pass


def kills(root: Path) -> None:
    """Kill an append at each call."""
    call_faults(root, "killed")


def crash_states(root: Path) -> None:
    """Lose power at each call of an append."""
    judge = Judge(root)
    for engine in SUFFIXES:
        for step in ("append", "overflow"):
            judge.judge_life(Life(engine, "a full session", (step,)))


def three_writers(root: Path) -> None:
    """Have three writers meet at each call, on one session and on two."""
    for engine in SUFFIXES:
        for sessions in (SAME, BETWEEN):
            meetings = meet_everywhere(root / f"{engine}-{len(set(sessions))}", engine, sessions)
            print(f"{engine}, {', '.join(sessions)}: {meetings} meetings")


def writers_in_between(root: Path) -> None:
    """Let another store write the same bytes in between, at a full window."""
    record, policy = new_record("user", "equal", 1.0), policy_named("truncate", 3)
    with open_store(root) as first, open_store(root) as second:
        for turn in range(1, 10):
            for at, store in enumerate((first, second)):
                revision = store.engine.append(KEY, [record], now_s=1.0, policy=policy)
                assert 2 * turn - 1 + at == revision, "a write in between was not seen"


HARNESSES: dict[str, Callable[[Path], None]] = {
    "call faults": call_faults, "kills": kills, "crash states": crash_states, "three writers": three_writers,
    "writers in between": writers_in_between,
}
CAUGHT_BY = {
    "no lock": "three writers", "lock file removed on release": "three writers", "in-place write": "kills",
    "no flush": "crash states", "no directory flush": "crash states", "swallowed flush error": "call faults",
    "ignored short write": "call faults", "no tail repair": "crash states", "fixed temporary name": "three writers",
    "stale cache key": "writers in between",
}


@pytest.fixture(autouse=True)
def _no_records() -> Iterator[None]:
    """Keep quiet of the damage that is done here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def finding_of(harness: str, root: Path) -> str:
    """Return what a harness finds, in one line; "" where it finds nothing."""
    root.mkdir()
    try:
        HARNESSES[harness](root)
    except (AssertionError, SessionStoreError, ValueError, OSError) as error:
        return f"{type(error).__name__} {error}".splitlines()[0]
    return ""


@pytest.mark.parametrize("harness", HARNESSES)
def test_D3_D7_a_harness_finds_nothing_in_the_store_as_it_is(tmp_path: Path, harness: str) -> None:
    """Goal: what a harness finds is the mistake. Method: run it in the form of these tests on the sound store."""
    assert "" == finding_of(harness, tmp_path / "run")


@pytest.mark.parametrize("name", BROKEN)
def test_a_store_broken_on_purpose_is_caught_by_the_harness_for_its_mistake(tmp_path: Path, name: str) -> None:
    """Goal: no harness is blind for what it is there for. Method: break the store, run the harness."""
    with broken(name):
        finding = finding_of(CAUGHT_BY[name], tmp_path / "run")
    print(f"{name}: caught by {CAUGHT_BY[name]}: {finding[:200]}")
    assert finding


@pytest.mark.long
def test_each_broken_store_is_caught_by_some_harness_and_the_table_says_by_which(tmp_path: Path) -> None:
    """Goal: know what each harness is good for. Method: every broken store in every harness, as a table."""
    caught = {}
    for name in BROKEN:
        with broken(name):
            caught[name] = [harness for harness in HARNESSES if finding_of(harness, tmp_path / f"{name} {harness}")]
        print(f"{name}: {', '.join(caught[name])}")
    assert len(BROKEN) == len([name for name, harnesses in caught.items() if harnesses]) == 10
