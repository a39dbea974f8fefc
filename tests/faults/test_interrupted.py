"""Ctrl-C at any line and any call: the turn is given back, the session is whole, the store goes on (D7)."""

from __future__ import annotations

import gc
import linecache
import os
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from processes.workers import DEADLINE_S, needs_fork, run_all

import praison_store
from faults.call_faults import open_descriptors, rehearse
from faults.operations import Operation, add, open_store, state_of
from faults.subjects import OPERATIONS, TITLES, check_what_is_left, in_memory, rehearsed
from praison_store.disk import seam

PACKAGE = str(Path(praison_store.__file__).parent)
QUICK = ["json_files: append with room", "jsonl: append with room"]
each_operation = pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.engine == "json_files"], ids=lambda operation: operation.name)


class AtLine:
    """Raise KeyboardInterrupt before one of the lines this package runs, counted from the first."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.lines = 0
        self.where = ""

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line" and not _ends_a_mutex(frame):
            if self.lines == self.index:
                self.where = f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}:{frame.f_lineno}"
                raise KeyboardInterrupt
            self.lines += 1
        return self


def _ends_a_mutex(frame: FrameType) -> bool:
    # Behind the last line of `with mutex:` comes the C call that unlocks it, and Python heeds no signal in between: an
    # error raised there by a trace would leave the mutex locked, but Ctrl-C never comes there.
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    return line.lstrip().startswith("with ") and "mutex" in line


def run_traced(trace: AtLine, do: Callable[[], object]) -> bool:
    """Run with a trace; return whether an interrupt came out. One inside a `__del__` Python only tells of."""
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        do()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def in_another_thread(do: Callable[[], object], told: str) -> None:
    """Run in a thread of its own, which waits for a mutex that was left locked where this one may not; no hang."""
    with ThreadPoolExecutor(1) as pool:
        try:
            pool.submit(do).result(DEADLINE_S / 10)
        except TimeoutError:
            print(f"stuck: {told}", flush=True)
            os._exit(1)  # nothing ends a thread that waits


def go_on(store: Any, told: str) -> None:
    """Write with the store that was interrupted."""
    store.add_user_message("one", "next")
    assert "next" == store.get_chat_history("one")[-1]["content"], told


def interrupt_every_line(root: str, name: str) -> tuple[int, list[str]]:
    """
    Interrupt an operation before each of its lines in turn; return how many there are, and where descriptors leaked.

    In a process of its own. An interrupt that ends a `__del__` counts as no leak: it ends nothing else, and no Python
    code can go on there.
    """
    sys.unraisablehook = lambda _unraisable: None
    found, leaks = rehearsed(name, Path(root)), []
    index, trace = -1, AtLine(-1)
    while index < 0 or trace.where:
        index += 1
        directory, trace = Path(root) / "run", AtLine(index)
        shutil.copytree(found.before_directory, directory)
        descriptors = open_descriptors()
        store = found.operation.open(directory)
        is_told = run_traced(trace, lambda store=store: found.operation.run(store))  # type: ignore[misc] # bound now
        told = f"line {index}, {trace.where}"
        check_what_is_left(found, directory, told)
        in_another_thread(lambda store=store, told=told: go_on(store, told), told)  # type: ignore[misc] # the same
        store.close()
        if open_descriptors() - descriptors:
            gc.collect()
        if is_told and open_descriptors() - descriptors:
            leaks.append(told)
        shutil.rmtree(directory)
    return index, leaks


@needs_fork
@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in TITLES])
def test_D3_D7_ctrl_c_between_any_two_lines_gives_the_turn_back(tmp_path: Path, name: str) -> None:
    """
    Goal: an interrupt may come at any line; the lock must not wait for somebody to collect it, and no file stays open.

    Method: raise KeyboardInterrupt before each line the operation runs; another store writes without patience, then
    the interrupted one goes on.
    """
    with in_memory(tmp_path) as root:
        ((lines, leaks),) = run_all([(interrupt_every_line, (root, name))])
    print(f"{name}: interrupted before {lines} lines, 0 stuck, {len(leaks)} descriptors leaked")
    assert [] == leaks
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
    found = rehearse(operation, tmp_path)
    for index, name in enumerate(found.calls):
        directory = tmp_path / "run"
        shutil.copytree(found.before_directory, directory)
        descriptors = open_descriptors()
        with open_store(directory) as store:
            with suppress(KeyboardInterrupt), seam.intercept(AtCall(index, behind=behind)):
                operation.run(store)
            check_what_is_left(found, directory, f"{name} at {index}")
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
    found = rehearse(operation, tmp_path)
    frames: list[Any] = []

    def around(_name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        frames.extend(sys._current_frames().values())
        return call(*args, **named)

    with open_store(found.before_directory) as store:
        add("one", "remembered")(store)
        with seam.intercept(around):
            operation.run(store)
            add("one", "next")(store)
        frames.clear()
        assert "next" == store.get_chat_history("one")[-1]["content"]
        assert "next" == state_of(found.before_directory)["one"]["messages"][-1]
