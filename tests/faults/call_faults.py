"""
The harness of call faults: run an operation with one of its calls failing, and judge what that leaves.

A point is one call of one operation. At each point, counted from the first call until a run passes without a fault:
an error reached the caller or the operation succeeded; what is there is the state before it or the one after it, so
that nothing acknowledged is missing and nothing refused is there twice; no descriptor, temporary file or lock is
left; and once the fault is gone the operation and the next append work.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from errno import EACCES, errorcode
from pathlib import Path
from typing import NamedTuple

from faults.interruptions import ERRNOS, NEVER_FAIL, Failing, FailingBehind, Interruption, Killing, Recorded, Short
from faults.operations import SUFFIXES, WINDOW, Operation, State, names_in
from praison_store import DefaultSessionStore, LockTimeoutError, OutcomeUnknownError, SessionStoreError
from praison_store.disk import seam

MakeFault = Callable[[int], Interruption]


def _failing(number: int, for_good: bool) -> MakeFault:
    return lambda index: Failing(index, number, for_good=for_good)


# Ten faults: eight errors and a short write, each once and for good, and death, which is for good.
FAULTS: dict[str, MakeFault] = {
    **{f"{errorcode[number]} once": _failing(number, for_good=False) for number in ERRNOS},
    **{f"{errorcode[number]} for good": _failing(number, for_good=True) for number in ERRNOS},
    "short write once": lambda index: Short(index, 0.5),
    "short writes for good": lambda index: Short(index, 0.3, for_good=True),
    "killed": Killing,
}


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

    @property
    def points(self) -> int:
        """How many of its calls can fail."""
        return len([name for name in self.calls if name not in NEVER_FAIL])


def rehearse(operation: Operation, tmp_path: Path, durability: str = "full") -> Rehearsed:
    """Run an operation without a fault, from a store that remembers nothing, as every interrupted run begins."""
    gc.collect()  # what earlier tests left open is not to be counted here
    before_directory, directory = tmp_path / "before", tmp_path / "rehearsed"
    with operation.open(before_directory, durability=durability) as store:
        operation.prepare(store)
    shutil.copytree(before_directory, directory)
    with operation.open(directory, durability=durability) as store:
        recorded = Recorded()
        with seam.intercept(recorded):
            operation.run(store)
    before = _state_of_copy(operation, before_directory)
    return Rehearsed(operation, before_directory, before, operation.state_of(directory), recorded.names)


def _state_of_copy(operation: Operation, directory: Path) -> State:
    copy = directory.parent / "looked-at"
    shutil.copytree(directory, copy)
    state = operation.state_of(copy)
    shutil.rmtree(copy)
    return state


def open_descriptors() -> set[str]:
    """Return the descriptors this process has open."""
    return set(os.listdir("/proc/self/fd"))


def each_point(rehearsed: Rehearsed, directory: Path, make: MakeFault, told: str) -> Iterator[str]:
    """Interrupt the first call, the second, ... until a run passes without a fault; yield the error of each."""
    for index in itertools.count():
        around = make(index)
        if around.kills:
            if not kill(rehearsed, directory, around, f"{told} at {index}"):
                return
            yield ""
            continue
        raised = interrupt(rehearsed, directory, around, f"{told} at {index}")
        if not around.name:
            assert not raised, f"{told}: raised {raised} without a fault"
            return
        yield raised


def interrupt(rehearsed: Rehearsed, directory: Path, around: Interruption, told: str) -> str:
    """
    Run an operation with a fault, check what it left, lift the fault, and check that everything goes on.

    Returns:
        The name of the error it raised; "" where it succeeded.
    """
    shutil.copytree(rehearsed.before_directory, directory)
    descriptors = open_descriptors()
    store = rehearsed.operation.open(directory, lock_timeout=0.2)
    raised: Raised | None = None
    with around.armed():
        try:
            rehearsed.operation.run(store)
        except SessionStoreError as error:
            raised = Raised(type(error), str(error), getattr(error, "errno", None), getattr(error, "path", None))
    told = f"{rehearsed.operation.title}: {told}, {around.name}"
    _check_what_is_left(rehearsed, directory, around, raised, told)
    # The fault is lifted: the same store, whatever it remembers, repeats the operation, and then it happened once.
    rehearsed.operation.run(store)
    go_on(rehearsed, directory, told)
    assert store.add_user_message("one", "next") is True
    store.close()
    assert set() == open_descriptors() - descriptors, told
    shutil.rmtree(directory)
    return raised.kind.__name__ if raised else ""


def kill(rehearsed: Rehearsed, directory: Path, around: Interruption, told: str) -> bool:
    """
    Run an operation in a forked child that is killed at one of its calls, and check what it left.

    Returns:
        False where it has fewer calls, and ended well.
    """
    operation = rehearsed.operation
    shutil.copytree(rehearsed.before_directory, directory)
    pid = os.fork()
    if pid == 0:
        ended = 1
        try:
            with operation.open(directory) as store, around.armed():
                operation.run(store)
            ended = 0
        finally:
            os._exit(ended)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -signal.SIGKILL), f"{told}: the child failed before it was killed"
    told = f"{operation.title}: {told}"
    if not operation.meets_damage:
        _check_bytes(operation, directory)
    assert operation.state_of(directory) in rehearsed.states(), told
    with operation.open(directory, lock_timeout=0.0) as store:
        operation.run(store)
        _vacuum(operation, directory)
    go_on(rehearsed, directory, told)
    assert [] == _temporary_files(directory), told
    shutil.rmtree(directory)
    return code != 0


def go_on(rehearsed: Rehearsed, directory: Path, told: str) -> None:
    """
    Make sure the operation happened, once; let a fresh store without patience write on, and look at every file.

    The store that was interrupted is still open, so that a lock it kept would refuse the fresh one.
    """
    operation = rehearsed.operation
    assert rehearsed.after == operation.state_of(directory), told
    with operation.open(directory, lock_timeout=0.0) as fresh:
        for session_id in ("one", "other"):
            before = rehearsed.after.get(session_id, {"shown": []})["shown"]
            assert fresh.add_user_message(session_id, "next") is True
            # Further back a policy may have let them go.
            assert [*before, "next"][-WINDOW:] == _shown(fresh, session_id)[-WINDOW:], told
        if operation.engine == "json_files":
            assert [] == [problem for problem in fresh.check().problems if problem.code != "leftover"], told
    _check_bytes(operation, directory)


def _shown(store: DefaultSessionStore, session_id: str) -> list[object]:
    return [message["content"] for message in store.get_chat_history(session_id)]


def _vacuum(operation: Operation, directory: Path) -> None:
    with operation.open(directory, lock_timeout=0.0) as store:
        store.engine.vacuum()  # type: ignore[attr-defined] # both engines that write files have it


def _check_bytes(operation: Operation, directory: Path) -> None:
    """Read the sessions' files as any reader of JSON would."""
    for path in directory.glob("*.json"):
        json.loads(path.read_bytes())
    if operation.engine == "jsonl":
        for path in directory.glob("*.jsonl"):
            whole = path.read_bytes()
            for line in whole[: whole.rfind(b"\n") + 1].splitlines():  # half a line is a write that never finished
                json.loads(line)


def _temporary_files(directory: Path) -> list[str]:
    return [name for name in names_in(directory) if name.endswith(".tmp")]


def _check_what_is_left(
    rehearsed: Rehearsed, directory: Path, around: Interruption, raised: Raised | None, told: str
) -> None:
    operation = rehearsed.operation
    if around.name != "unlink" and operation.name != "vacuum":
        assert [] == _temporary_files(directory), told
    if raised and issubclass(raised.kind, OSError):
        assert raised.path, told
        # To a lock POSIX allows EACCES as the answer that another has it.
        is_refused_lock = (around.name, around.number) == ("flock", EACCES)
        assert (LockTimeoutError if is_refused_lock else raised.kind) is raised.kind, told
        assert is_refused_lock or around.number == raised.errno, f"{told}: {raised}"
    if not operation.meets_damage:
        _check_bytes(operation, directory)
        if raised is None:
            _check_it_is_flushed(directory, around, SUFFIXES[operation.engine], told)
    found = operation.state_of(directory)
    if raised is None:
        assert rehearsed.after == found, f"{told}: succeeded, but its effect is not there"
    elif isinstance(around, FailingBehind) or issubclass(raised.kind, OutcomeUnknownError):
        assert found in rehearsed.states(), f"{told}: {raised}"
    else:
        assert rehearsed.before == found, f"{told}: {raised}"


def _check_it_is_flushed(directory: Path, around: Interruption, suffix: str, told: str) -> None:
    """What was acknowledged stands in no file, and under no name, whose flush failed."""
    for path in [directory, *directory.rglob("*")]:
        if path.is_dir() or path.name.endswith((suffix, ".json", ".jsonl")):
            state = path.stat()
            assert (state.st_dev, state.st_ino) not in around.unflushed, f"{told}: acknowledged, {path} is not flushed"
