"""Ctrl-C at any line and any call: the turn is given back, the session is whole, the store goes on (D7)."""

from __future__ import annotations

import gc
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from processes.workers import needs_fork, run_all

import praison_store
from faults.operations import BRIM, Operation, add, names_in, numbered, open_store, state_of
from faults.test_failing_calls import Rehearsed, open_descriptors, rehearse
from praison_store.disk import seam

PACKAGE = str(Path(praison_store.__file__).parent)
INTERRUPTED = [
    Operation("append with room", numbered(2), add("one", "new")),
    Operation("append that overflows", numbered(2 * BRIM + 1), add("one", "new")),
    Operation("rename", numbered(2), lambda store: store.rename_session("one", "a title")),
    Operation("clear", numbered(2 * BRIM), lambda store: store.clear_session("one")),
]
REST = INTERRUPTED[1:]
each_operation = pytest.mark.parametrize("operation", INTERRUPTED, ids=lambda operation: operation.name)


class AtLine:
    """Raise KeyboardInterrupt before one of the lines this package runs, counted from the first."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.lines = 0
        self.where = ""

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            if self.lines == self.index:
                self.where = f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}:{frame.f_lineno}"
                raise KeyboardInterrupt
            self.lines += 1
        return self


def run_traced(trace: AtLine, do: Callable[[], object]) -> None:
    """Run with a trace, whether it is interrupted or not."""
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(KeyboardInterrupt):
            do()
    finally:
        sys.settrace(before)


def check_what_is_left(rehearsed: Rehearsed, directory: Path, told: str) -> None:
    """Whatever was interrupted, it happened or not, nobody waits for it, and vacuum clears what it left."""
    assert state_of(directory) in rehearsed.states(), told
    with open_store(directory, lock_timeout=0.0) as other:
        rehearsed.operation.run(other)
        assert rehearsed.after == state_of(directory), told
        other.vacuum()
        assert [] == other.check().problems, told
    assert [] == [name for name in names_in(directory) if name.endswith(".tmp")], told


def interrupt_every_line(root: str, name: str) -> int:
    """
    Interrupt an operation before each of its lines in turn; return how many there are.

    In a process of its own: an interrupt between a call that opens and the line that stores what it gave leaves a
    descriptor open, which no Python code can prevent, and one in a `__del__` is only told of.
    """
    sys.unraisablehook = lambda _unraisable: None
    (operation,) = (operation for operation in INTERRUPTED if operation.name == name)
    rehearsed = rehearse(operation, Path(root))
    index, trace = -1, AtLine(-1)
    while index < 0 or trace.where:
        index += 1
        directory, trace = Path(root) / "run", AtLine(index)
        shutil.copytree(rehearsed.before_directory, directory)
        with open_store(directory) as store:
            run_traced(trace, lambda store=store: operation.run(store))  # type: ignore[misc] # one type of store
            check_what_is_left(rehearsed, directory, f"line {index}, {trace.where}")
            store.add_user_message("one", "next")
            assert "next" == store.get_chat_history("one")[-1]["content"], trace.where
        shutil.rmtree(directory)
    return index


@needs_fork
@pytest.mark.parametrize("name", [INTERRUPTED[0].name, *(pytest.param(o.name, marks=pytest.mark.long) for o in REST)])
def test_D3_D7_ctrl_c_between_any_two_lines_gives_the_turn_back(tmp_path: Path, name: str) -> None:
    """
    Goal: an interrupt may come at any line; the lock must not wait for somebody to collect it.

    Method: raise KeyboardInterrupt before each line the operation runs; another store writes without patience, then
    the interrupted one goes on.
    """
    (lines,) = run_all([(interrupt_every_line, (str(tmp_path), name))])
    print(f"{name}: interrupted before {lines} lines")
    assert 100 < lines


@pytest.fixture
def _interrupts_in_del_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let go of an interrupt raised inside a `__del__`, where Python only tells of it; pytest would keep its frames."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _unraisable: None)


class AtCall:
    """Raise KeyboardInterrupt in place of one call of the seam, or behind it."""

    def __init__(self, index: int, *, behind: bool) -> None:
        self.index, self.behind = index, behind
        self._next = 0

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        index, self._next = self._next, self._next + 1
        if index == self.index and not (self.behind or name == "close"):
            raise KeyboardInterrupt
        result = call(*args, **named)
        if index == self.index and name not in ("open", "scandir"):  # what these gave would be lost by this test
            raise KeyboardInterrupt
        return result


@each_operation
@pytest.mark.usefixtures("_interrupts_in_del_are_forgotten")
@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
def test_D3_D7_ctrl_c_at_any_call_gives_the_turn_back(tmp_path: Path, operation: Operation, behind: bool) -> None:
    """Goal: as between lines, where a system call is interrupted. Method: at each call of the seam in turn."""
    rehearsed = rehearse(operation, tmp_path)
    for index, name in enumerate(rehearsed.calls):
        directory = tmp_path / "run"
        shutil.copytree(rehearsed.before_directory, directory)
        descriptors = open_descriptors()
        with open_store(directory) as store:
            with suppress(KeyboardInterrupt), seam.intercept(AtCall(index, behind=behind)):
                operation.run(store)
            check_what_is_left(rehearsed, directory, f"{name} at {index}")
            store.add_user_message("one", "next")
        gc.collect()
        assert set() == open_descriptors() - descriptors, f"{name} at {index}"
        shutil.rmtree(directory)


@each_operation
def test_D7_a_profiler_that_keeps_frames_breaks_no_write(tmp_path: Path, operation: Operation) -> None:
    """
    Goal: whoever looks at this thread's frames for a moment keeps their variables, and what these hold, alive.

    Method: keep all frames at every call, through the operation and one more write.
    """
    rehearsed = rehearse(operation, tmp_path)
    frames: list[Any] = []

    def around(_name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        frames.extend(sys._current_frames().values())
        return call(*args, **named)

    with open_store(rehearsed.before_directory) as store:
        add("one", "remembered")(store)
        with seam.intercept(around):
            operation.run(store)
            add("one", "next")(store)
        frames.clear()
        assert "next" == store.get_chat_history("one")[-1]["content"]
        assert "next" == state_of(rehearsed.before_directory)["one"]["messages"][-1]
