"""
Every call of the seam fails, is cut short or kills, in every operation of both engines that write files: the old
session or the new one is there, whole, and everything goes on (D1, D2, D7).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from errno import EACCES, EIO, ENOSPC
from pathlib import Path

import pytest
from processes.workers import needs_fork

from faults.call_faults import FAULTS, MakeFault, each_point, interrupt, rehearse
from faults.interruptions import (
    ERRNOS,
    NEVER_FAIL,
    Failing,
    FailingBehind,
    Full,
    Interruption,
    Killing,
    Recorded,
    Short,
    without_flushes,
)
from faults.operations import ALL_OPERATIONS, BRIM, SUFFIXES, Operation, add, open_store, state_of
from praison_store import SessionStoreError
from praison_store.disk import seam

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc"), needs_fork]
each_operation = pytest.mark.parametrize("operation", ALL_OPERATIONS, ids=lambda operation: operation.title)
each_engine = pytest.mark.parametrize("engine", list(SUFFIXES))


@pytest.fixture(autouse=True)
def _flushes_take_no_time() -> Iterator[None]:
    with seam.intercept(without_flushes):
        yield


def run_faults(operation: Operation, tmp_path: Path, faults: dict[str, MakeFault]) -> None:
    """Interrupt each call of an operation with each fault; print how often that was and how often it raised."""
    rehearsed = rehearse(operation, tmp_path)
    raised = [
        error for told, make in faults.items()
        for error in each_point(rehearsed, tmp_path / "run", make, told)
    ]
    errors = len([error for error in raised if error])
    print(f"{operation.title}: {rehearsed.points} points, {len(raised)} faults, {errors} raised")


BEHIND: dict[str, MakeFault] = {
    "EIO behind": lambda index: FailingBehind(index, EIO), "killed behind": lambda index: Killing(index, behind=True),
}


def in_turn(offset: int) -> MakeFault:
    """Return the fault that is another one at each call: an errno once, another for good, a lie, a death."""

    def make(index: int) -> Interruption:
        number, kind = ERRNOS[(index + offset) // 2 % len(ERRNOS)], (index + offset) % 4
        if kind < 2:
            return Failing(index, number, for_good=kind == 1)
        return FailingBehind(index, EIO) if kind == 2 else Killing(index)

    return make


@each_operation
def test_D1_D7_a_call_that_fails_leaves_the_old_session_or_the_new(tmp_path: Path, operation: Operation) -> None:
    """
    Goal: whichever call fails, the operation raises one of our errors and changed nothing, or it succeeded; one that
    fails after it happened (a network file system may do that) stores nothing twice; nothing is left behind, and
    the operation can be repeated.

    Method: the first call of the operation, the second, ... until a run passes without a fault, the faults taken in
    turn; with --long each fault at each call.
    """
    run_faults(operation, tmp_path, {"a fault": in_turn(ALL_OPERATIONS.index(operation))})


@pytest.mark.long
@each_operation
def test_D1_D7_every_call_with_every_fault_leaves_the_old_session_or_the_new(
    tmp_path: Path, operation: Operation
) -> None:
    """Goal and method: the short form's, with ten faults at every call, once and for good; and those behind it."""
    run_faults(operation, tmp_path, {**FAULTS, **BEHIND})


@each_operation
def test_D7_a_short_write_is_continued(tmp_path: Path, operation: Operation) -> None:
    """
    Goal: the system may take less than asked; a disk may fill in the middle.

    Method: one byte, half and nearly all of each write are taken: the operation succeeds. Half is taken and the rest
    refused: all is as it was.
    """
    rehearsed = rehearse(operation, tmp_path)
    shortened: dict[str, MakeFault] = {
        "a byte of a write": lambda index: Short(index, 0.0), "half a write": lambda index: Short(index, 0.5),
        "nearly a whole write": lambda index: Short(index, 0.99),
    }
    for told, make in shortened.items():
        assert {""} >= set(each_point(rehearsed, tmp_path / "run", make, told))
    full: MakeFault = lambda index: Full(index, ENOSPC, 0.5)  # noqa: E731 - a fault like those above
    assert "" not in set(each_point(rehearsed, tmp_path / "run", full, "no room")) or operation.may_do_without


POINTS = {"json_files": 340, "jsonl": 260}


@each_engine
def test_D7_the_points_are_as_many_as_the_operations_have_calls_that_can_fail(tmp_path: Path, engine: str) -> None:
    """Goal: the harness does not shrink unseen. Method: count the calls of all operations of an engine."""
    counts = [
        rehearse(operation, tmp_path / str(number)).points
        for number, operation in enumerate(ALL_OPERATIONS) if operation.engine == engine
    ]
    print(f"{engine}: {sum(counts)} points in {len(counts)} operations")
    assert POINTS[engine] <= sum(counts)


def test_D7_the_table_of_faults_reaches_every_call_of_the_seam(tmp_path: Path) -> None:
    """Goal: no call of the seam escapes these tests unseen. Method: the union of all operations' calls."""
    seen: set[str] = set()
    for number, operation in enumerate(ALL_OPERATIONS):
        recorded = Recorded()
        with seam.intercept(recorded), operation.open(tmp_path / str(number)) as store:
            operation.prepare(store)
            operation.run(store)
        seen.update(recorded.names)
    # Write stands in where writev is missing; who waits has no failing call of its own; fchmod mends what a umask
    # took, which the next test is for.
    assert {"write", "sleep", "monotonic", "fchmod"} >= set(seam.CALLS) - seen


def write_from_nothing(directory: Path, engine: str) -> None:
    """Append more messages than a window holds to a new session in a new directory."""
    with open_store(directory, engine=engine, lock_timeout=0.5) as store:
        add("one", *map(str, range(BRIM + 1)))(store)


@each_engine
def test_D3_a_kill_at_any_call_of_a_first_write_in_a_new_directory(tmp_path: Path, engine: str) -> None:
    """Goal: also directories and the first lock file may be half made. Method: kill at each call, from nothing on."""
    index = 0
    while True:
        directory = tmp_path / str(index)
        pid = os.fork()
        if pid == 0:
            try:
                with Killing(index).armed():
                    write_from_nothing(directory, engine)
            finally:
                os._exit(0)
        _, status = os.waitpid(pid, 0)
        write_from_nothing(directory, engine)
        assert list(map(str, range(BRIM + 1))) == state_of(directory, engine=engine)["one"]["messages"]
        if os.waitstatus_to_exitcode(status) == 0:
            break
        index += 1
    print(f"{engine}: {index} kills")


@pytest.fixture
def umask_that_takes_everything() -> Iterator[None]:
    """Take every right from new files, the owner's too."""
    before = os.umask(0o777)
    yield
    os.umask(before)


@each_engine
@pytest.mark.usefixtures("umask_that_takes_everything")
@pytest.mark.parametrize("for_good", [False, True])
def test_D7_calls_that_fail_while_rights_are_mended(tmp_path: Path, engine: str, for_good: bool) -> None:
    """
    Goal: the calls that give the owner his rights back may fail too.

    Method: under umask 0777, append to a new session in a new directory, each call failing in turn.
    """
    recorded, new, index = Recorded(), add("one", "new"), -1
    with seam.intercept(recorded), open_store(tmp_path / "rehearsed", engine=engine) as store:
        new(store)
    assert "fchmod" in recorded.names
    failing = Failing(index, EACCES, for_good=for_good)
    while index < 0 or failing.name:
        index += 1
        directory, failing = tmp_path / str(index), Failing(index, EACCES, for_good=for_good)
        with suppress(SessionStoreError), failing.armed(), open_store(directory, engine=engine) as store:
            new(store)
        with open_store(directory, engine=engine, lock_timeout=0.5) as store:
            new(store)
            found = [message["content"] for message in store.get_chat_history("one")]
            assert ["new"] == found, f"{failing.name} at {index}"


@each_engine
def test_D7_a_look_that_fails_is_told_with_its_errno(tmp_path: Path, engine: str) -> None:
    """
    Goal: no answer is not the answer that nothing is there. Method: each look at a directory fails for good while a
    damaged file is moved to quarantine; the error has the errno, and the file stands where it stood.
    """
    (operation,) = (one for one in ALL_OPERATIONS if one.title == f"{engine}: append to a damaged file")
    rehearsed = rehearse(operation, tmp_path)
    looks = [index for index, name in enumerate(rehearsed.calls) if name in ("stat", "lstat")]
    assert "stat" in rehearsed.calls
    for number, at in enumerate(looks):
        counted = len([name for name in rehearsed.calls[:at] if name not in NEVER_FAIL])
        failing = Failing(counted, EACCES, for_good=True)
        interrupt(rehearsed, tmp_path / str(number), failing, f"{rehearsed.calls[at]} at {at}")
