"""Every call of the seam fails once, in every operation: it raises and leaves everything whole, or it succeeds (D7)."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from errno import EACCES, EIO, ENOSPC
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from faults.interruptions import ERRNOS, NEVER_FAIL, Around, Failing, FailingBehind, Recorded, Short
from faults.operations import OPERATIONS, Operation, State, add, names_in, open_store, state_of
from praison_store import OutcomeUnknownError, SessionStoreError
from praison_store.disk import seam

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")
each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)


class Raised(NamedTuple):
    """What is kept of an error; the error itself would keep the frames it came through, and their files."""

    kind: type[SessionStoreError]
    message: str
    errno: int | None = None
    path: str | None = None


class Rehearsed(NamedTuple):
    """An operation that was run once: the directory before it, what was there before and after, and its calls."""

    operation: Operation
    before_directory: Path
    before: State
    after: State
    calls: list[str]

    def states(self) -> list[State]:
        """Return the states the operation may stop in."""
        return [self.before, self.after]

    def indexes(self) -> Iterator[tuple[int, str]]:
        """Yield the index and the name of each call that can fail."""
        return ((index, name) for index, name in enumerate(self.calls) if name not in NEVER_FAIL)


def rehearse(operation: Operation, tmp_path: Path, durability: str = "full") -> Rehearsed:
    """Run an operation without a fault, from a store that remembers nothing, as every interrupted run begins."""
    gc.collect()  # what earlier tests left open is not to be counted here
    before_directory, directory = tmp_path / "before", tmp_path / "rehearsed"
    with open_store(before_directory, durability=durability) as store:
        operation.prepare(store)
    shutil.copytree(before_directory, directory)
    with open_store(directory, durability=durability) as store:
        recorded = Recorded()
        with seam.intercept(recorded):
            operation.run(store)
    return Rehearsed(operation, before_directory, _state_of_copy(before_directory), state_of(directory), recorded.names)


def _state_of_copy(directory: Path) -> State:
    copy = directory.parent / "looked-at"
    shutil.copytree(directory, copy)
    state = state_of(copy)
    shutil.rmtree(copy)
    return state


def open_descriptors() -> set[str]:
    """Return the descriptors this process has open."""
    return set(os.listdir("/proc/self/fd"))


def interrupt(rehearsed: Rehearsed, directory: Path, around: Around, told: str, *, done_is_fine: bool = False) -> str:
    """
    Run an operation with a fault, check what it left, lift the fault, and check that everything goes on.

    Args:
        done_is_fine: the call that fails had its effect, so that a refused operation may be done all the same.
    Returns:
        The name of the error it raised; "" where it succeeded.
    """
    shutil.copytree(rehearsed.before_directory, directory)
    descriptors = open_descriptors()
    store = open_store(directory, lock_timeout=2.0)
    raised: Raised | None = None
    with seam.intercept(around):
        try:
            rehearsed.operation.run(store)
        except SessionStoreError as error:
            raised = Raised(type(error), str(error), getattr(error, "errno", None), getattr(error, "path", None))
    _check_what_is_left(rehearsed, directory, around, raised, told, done_is_fine)
    # The fault is lifted: the same store, whatever it remembers, repeats the operation, and then it happened once.
    rehearsed.operation.run(store)
    assert rehearsed.after == state_of(directory), told
    assert store.add_user_message("one", "next") is True
    assert store.add_user_message("other", "next") is True
    with open_store(directory, lock_timeout=0.5) as fresh:
        assert "next" == fresh.get_chat_history("one")[-1]["content"], told
        assert ["other-0", "other-1", "next"] == [message["content"] for message in fresh.get_chat_history("other")]
        assert [] == [problem for problem in fresh.check().problems if problem.code != "leftover"], told
    store.close()
    assert set() == open_descriptors() - descriptors, told
    shutil.rmtree(directory)
    return raised.kind.__name__ if raised else ""


def _check_what_is_left(
    rehearsed: Rehearsed, directory: Path, around: Around, raised: Raised | None, told: str, done_is_fine: bool
) -> None:
    if getattr(around, "name", "") != "unlink" and rehearsed.operation.name != "vacuum":
        assert [] == [name for name in names_in(directory) if name.endswith(".tmp")], told
    if raised and issubclass(raised.kind, OSError):
        assert raised.path, told
        assert around.number == raised.errno, told  # type: ignore[attr-defined] # every interruption that raises has it
    if "damaged" not in rehearsed.operation.name:
        for path in directory.glob("*.json"):
            json.loads(path.read_bytes())
    found = state_of(directory)
    if raised is None:
        assert rehearsed.after == found, f"{told}: succeeded, but its effect is not there"
    elif done_is_fine or issubclass(raised.kind, OutcomeUnknownError):
        assert found in rehearsed.states(), f"{told}: {raised}"
    else:
        assert rehearsed.before == found, f"{told}: {raised}"


@each_operation
def test_D7_a_call_that_fails_leaves_everything_whole(tmp_path: Path, operation: Operation) -> None:
    """
    Goal: whichever call fails, once or from then on, the operation raises one of our errors and changed nothing, or
    it succeeded; nothing is left behind, and it can be repeated.

    Method: learn the calls of an operation, then fail each of them, the errnos taken in turn (all with --long).
    """
    rehearsed = rehearse(operation, tmp_path)
    count = len(ERRNOS)
    fail_each(rehearsed, tmp_path, lambda index: [(ERRNOS[index % count], False), (ERRNOS[(index + 3) % count], True)])


def fail_each(rehearsed: Rehearsed, tmp_path: Path, faults: Callable[[int], list[tuple[int, bool]]]) -> None:
    """Fail each call with the errnos given for its index, once or for good."""
    run = tmp_path / "run"
    raised = [
        interrupt(rehearsed, run, Failing(index, number, for_good=for_good), f"{name} at {index}: {number}")
        for index, name in rehearsed.indexes()
        for number, for_good in faults(index)
    ]
    calls, errors = len(rehearsed.calls), len([error for error in raised if error])
    print(f"{rehearsed.operation.name}: {calls} calls, {len(raised)} runs, {errors} raised")


@pytest.mark.long
@each_operation
def test_D7_a_call_that_fails_leaves_everything_whole_for_every_errno(tmp_path: Path, operation: Operation) -> None:
    """Goal and method: the short form's, with every errno at every call."""
    every = [(number, for_good) for number in ERRNOS for for_good in (False, True)]
    fail_each(rehearse(operation, tmp_path), tmp_path, lambda _index: every)


@each_operation
def test_D7_a_call_that_fails_after_it_happened_stores_nothing_twice(tmp_path: Path, operation: Operation) -> None:
    """
    Goal: a network file system may do a thing and say it failed; then the operation is done once or not, never twice.

    Method: let each call happen and raise EIO behind it; repeat the operation as soon as the fault is lifted.
    """
    rehearsed = rehearse(operation, tmp_path)
    for index, name in rehearsed.indexes():
        around = FailingBehind(index, EIO, for_good=False)
        interrupt(rehearsed, tmp_path / "run", around, f"{name} at {index}", done_is_fine=True)


@each_operation
@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.99])
def test_D7_a_short_write_is_continued(tmp_path: Path, operation: Operation, fraction: float) -> None:
    """Goal: the system may take less than asked. Method: cut each write short in turn; the operation succeeds."""
    rehearsed = rehearse(operation, tmp_path)
    for index, name in rehearsed.indexes():
        if name in ("write", "writev"):
            assert "" == interrupt(rehearsed, tmp_path / "run", Short(index, fraction), f"{name} at {index}")


@each_operation
def test_D7_a_short_write_and_then_no_space_leaves_everything_whole(tmp_path: Path, operation: Operation) -> None:
    """Goal: a disk that fills in the middle of a write. Method: half of each write is taken, the rest is refused."""
    rehearsed = rehearse(operation, tmp_path)
    for index, name in rehearsed.indexes():
        if name in ("write", "writev"):
            halved, failing = Short(index, 0.5), Failing(index + 1, ENOSPC, for_good=False)
            interrupt(rehearsed, tmp_path / "run", chained(failing, halved), f"{name} at {index}")


def chained(outer: Around, inner: Around) -> Around:
    """Return the interruption that does both, the outer one first."""

    def around(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        return outer(name, lambda *given, **more: inner(name, call, *given, **more), *args, **named)

    around.number, around.name = ENOSPC, "writev"  # type: ignore[attr-defined] # what a test asks an interruption
    return around


def test_D7_the_table_of_faults_reaches_every_call_of_the_seam(tmp_path: Path) -> None:
    """Goal: no call of the seam escapes these tests unseen. Method: the union of all operations' calls."""
    seen: set[str] = set()
    for number, operation in enumerate(OPERATIONS):
        recorded = Recorded()
        with seam.intercept(recorded), open_store(tmp_path / str(number)) as store:
            operation.prepare(store)
            operation.run(store)
        seen.update(recorded.names)
    # Nobody removes directories; write stands in where writev is missing; who waits has no failing call of its own;
    # fchmod mends what a umask took, which the next test is for; logs are taken and given by tests of their own.
    assert {"rmdir", "write", "sleep", "monotonic", "fchmod", "take", "give"} >= set(seam.CALLS) - seen


@pytest.fixture
def umask_that_takes_everything() -> Iterator[None]:
    """Take every right from new files, the owner's too."""
    before = os.umask(0o777)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask_that_takes_everything")
@pytest.mark.parametrize("for_good", [False, True])
def test_D7_calls_that_fail_while_rights_are_mended(tmp_path: Path, for_good: bool) -> None:
    """
    Goal: the calls that give the owner his rights back may fail too.

    Method: under umask 0777, append to a new session in a new directory, each call failing in turn.
    """
    recorded, new = Recorded(), add("one", "new")
    with seam.intercept(recorded), open_store(tmp_path / "rehearsed") as store:
        new(store)
    assert "fchmod" in recorded.names
    for index, name in enumerate(recorded.names):
        if name in NEVER_FAIL:
            continue
        directory = tmp_path / str(index)
        failing = Failing(index, EACCES, for_good=for_good)
        with suppress(SessionStoreError), seam.intercept(failing), open_store(directory) as store:
            new(store)
        with open_store(directory, lock_timeout=0.5) as store:
            new(store)
            assert ["new"] == [message["content"] for message in store.get_chat_history("one")], f"{name} at {index}"
