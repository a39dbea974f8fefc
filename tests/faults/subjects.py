"""What may be interrupted anywhere - between two lines, at an allocation - of both engines that write files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from faults.call_faults import Rehearsed, rehearse
from faults.operations import BRIM, Operation, add, add_big, names_in, numbered, rename, steps

OPERATIONS = [
    Operation(name, *steps_of, engine=engine)
    for engine in ("json_files", "jsonl")
    for name, *steps_of in (
        ("append with room", numbered(2), add("one", "new")),
        ("append that overflows", numbered(2 * BRIM + 1), add("one", "new")),
        ("append that compacts", steps(numbered(0), add_big, add("one", *"abc")), add("one", "new")),
        ("rename", numbered(2), rename),
        ("clear", numbered(2 * BRIM), lambda store: store.clear_session("one")),
        ("delete", numbered(2 * BRIM), lambda store: store.delete_session("one")),
    )
    if engine == "jsonl" or "compacts" not in name
]
TITLES = [operation.title for operation in OPERATIONS]


@contextmanager
def in_memory(otherwise: Path) -> Iterator[str]:
    """Lend a directory in memory, where there is one: thousands of runs that flush would wear a disk for nothing."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield str(otherwise)
        return
    with TemporaryDirectory(prefix="praison-test-", dir=shared) as root:
        yield root


def rehearsed(title: str, root: Path) -> Rehearsed:
    """Run the operation of a title once, in directories below one."""
    (found,) = (operation for operation in OPERATIONS if operation.title == title)
    return rehearse(found, root)


def check_what_is_left(found: Rehearsed, directory: Path, told: str) -> None:
    """Whatever was interrupted, it happened or not, nobody waits for it, and vacuum clears what it left."""
    operation = found.operation
    assert operation.state_of(directory) in found.states(), told
    with operation.open(directory, lock_timeout=0.0) as other:
        operation.run(other)
        assert found.after == operation.state_of(directory), told
        if operation.engine == "json_files":
            other.vacuum()
            assert [] == other.check().problems, told
            assert [] == [name for name in names_in(directory) if name.endswith(".tmp")], told
