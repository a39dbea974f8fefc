"""What may be interrupted anywhere - between two lines, at an allocation - of both engines that write files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from faults import test_jsonl_crashes as logs
from faults.operations import BRIM, Operation, add, names_in, numbered, open_store, state_of
from faults.test_failing_calls import Rehearsed, rehearse

OF_FILES = [
    Operation("append with room", numbered(2), add("one", "new")),
    Operation("append that overflows", numbered(2 * BRIM + 1), add("one", "new")),
    Operation("rename", numbered(2), lambda store: store.rename_session("one", "a title")),
    Operation("clear", numbered(2 * BRIM), lambda store: store.clear_session("one")),
    Operation("delete", numbered(2 * BRIM), lambda store: store.delete_session("one")),
]


@contextmanager
def in_memory(otherwise: Path) -> Iterator[str]:
    """Lend a directory in memory, where there is one: thousands of runs that flush would wear a disk for nothing."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield str(otherwise)
        return
    with TemporaryDirectory(prefix="praison-test-", dir=shared) as root:
        yield root


class Subject(NamedTuple):
    """
    An operation that was rehearsed: where it begins, how to run it, and what must be true wherever it was stopped.

    Shape: `check` looks at a directory as another process would, without patience; `go_on` writes with the store that
    was interrupted.
    """

    before: Path
    open: Callable[[Path], Any]
    run: Callable[[Any], Any]
    check: Callable[[Path, str], None]
    go_on: Callable[[Any, str], None]


NAMES = [f"files: {operation.name}" for operation in OF_FILES] + [f"logs: {one.name}" for one in logs.OPERATIONS]


def rehearsed(name: str, root: Path) -> Subject:
    """Run the operation of a name once, in directories below one."""
    kind, _, short = name.partition(": ")
    if kind == "files":
        (of_files,) = (operation for operation in OF_FILES if operation.name == short)
        return _of_files(rehearse(of_files, root))
    (of_logs,) = (operation for operation in logs.OPERATIONS if operation.name == short)
    return _of_logs(logs.rehearse(of_logs, root))


def _of_files(found: Rehearsed) -> Subject:
    def go_on(store: Any, told: str) -> None:
        store.add_user_message("one", "next")
        assert "next" == store.get_chat_history("one")[-1]["content"], told

    return Subject(found.before_directory, open_store, found.operation.run,
                   lambda directory, told: check_what_is_left(found, directory, told), go_on)


def _of_logs(found: logs.Rehearsed) -> Subject:
    def check(directory: Path, told: str) -> None:
        assert logs.state_of(directory) in (found.before, found.after), told
        logs.go_on(found, directory, told)

    def go_on(engine: Any, told: str) -> None:
        logs.say(engine, "behind")
        assert "behind" == engine.history(logs.KEY, 1)[-1]["content"], told

    return Subject(found.directory, logs.opened, found.operation.run, check, go_on)


def check_what_is_left(found: Rehearsed, directory: Path, told: str) -> None:
    """Whatever was interrupted, it happened or not, nobody waits for it, and vacuum clears what it left."""
    assert state_of(directory) in found.states(), told
    with open_store(directory, lock_timeout=0.0) as other:
        found.operation.run(other)
        assert found.after == state_of(directory), told
        other.vacuum()
        assert [] == other.check().problems, told
    assert [] == [name for name in names_in(directory) if name.endswith(".tmp")], told
