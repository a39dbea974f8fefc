"""A model of a disk that loses its power: which directories a crash may leave behind, as flushes allow it."""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Files = dict[str, bytes]
# What one call does to a directory: names, each with what it stands for now; None where it is gone.
Change = dict[str, "int | str | None"]


class Disk:
    """
    Follow the calls of the seam, and tell at any moment what a loss of power could leave.

    Shape: a file is a number with its bytes now and its bytes at the last flush; a directory has the names that were
    flushed, and the changes that were not, in their order. A name may stand for a directory, by its path.
    Model: a file that was not flushed may have its old bytes, its new ones, zeros for what is new, or half of it. Of a
    directory that was not flushed, any first part of the changes may be there; `is_ordered` keeps the changes of all
    directories in one order, as a journal does; without it each directory is for itself, as POSIX allows.
    """

    def __init__(self, root: Path, *, is_ordered: bool) -> None:
        self.root, self.is_ordered = str(root), is_ordered
        self.now: dict[int, bytes] = {}
        self.flushed: dict[int, bytes] = {}
        self.names: dict[str, dict[str, int | str]] = defaultdict(dict)
        self.current: dict[str, int | str] = {}
        self.pending: list[tuple[str, Change]] = []
        self._open: dict[int, int | str] = {}
        self._numbers = itertools.count()

    # ---- following calls --------------------------------------------------------------------------------------

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        result = call(*args, **named)
        if name == "open":
            self._opened(args[0], result)
        elif name == "close":
            self._open.pop(args[0], None)
        elif name in ("write", "writev", "ftruncate"):
            self._written(args[0])
        elif name == "fsync":
            self._synced(self._open[args[0]])
        elif name == "replace":
            number = self.current.pop(args[0])
            self.current[args[1]] = number
            self._change(args[0], {os.path.basename(args[0]): None, os.path.basename(args[1]): number})
        elif name == "unlink":
            del self.current[args[0]]
            self._change(args[0], {os.path.basename(args[0]): None})
        elif name == "mkdir":
            self._change(args[0], {os.path.basename(args[0]): args[0]})
        return result

    def _opened(self, path: str, descriptor: int) -> None:
        if os.path.isdir(path):
            self._open[descriptor] = path.rstrip("/")
            return
        if path not in self.current:
            number = next(self._numbers)
            self.current[path], self.now[number], self.flushed[number] = number, b"", b""
            self._change(path, {os.path.basename(path): number})
        self._open[descriptor] = self.current[path]

    def _written(self, descriptor: int) -> None:
        number = self._open[descriptor]
        assert isinstance(number, int)
        self.now[number] = os.pread(descriptor, os.fstat(descriptor).st_size, 0)

    def _synced(self, what: int | str) -> None:
        if isinstance(what, int):
            self.flushed[what] = self.now[what]
            return
        last = max((index for index, (directory, _) in enumerate(self.pending) if directory == what), default=-1)
        kept = []
        for index, (directory, change) in enumerate(self.pending):
            if directory == what or (self.is_ordered and index <= last):
                _apply(self.names[directory], change)
            else:
                kept.append((directory, change))
        self.pending = kept

    def _change(self, path: str, change: Change) -> None:
        self.pending.append((os.path.dirname(path), change))

    # ---- losing power -----------------------------------------------------------------------------------------

    def crashes(self) -> Iterator[Files]:
        """Yield what may be left, as the bytes of each file by its path relative to the root."""
        for done in self._changes_that_may_be_there():
            names = {directory: dict(entries) for directory, entries in self.names.items()}
            for directory, change in done:
                _apply(names.setdefault(directory, {}), change)
            for variant in range(5):
                yield dict(self._files(names, self.root, variant))

    def _changes_that_may_be_there(self) -> Iterator[list[tuple[str, Change]]]:
        if self.is_ordered:
            yield from (self.pending[:count] for count in range(len(self.pending) + 1))
            return
        by_directory: dict[str, list[tuple[str, Change]]] = defaultdict(list)
        for directory, change in self.pending:
            by_directory[directory].append((directory, change))
        parts = [[changes[:count] for count in range(len(changes) + 1)] for changes in by_directory.values()]
        yield from (list(itertools.chain(*chosen)) for chosen in itertools.product(*parts))

    def _files(
        self, names: dict[str, dict[str, int | str]], directory: str, variant: int
    ) -> Iterator[tuple[str, bytes]]:
        for name, what in names.get(directory, {}).items():
            if isinstance(what, str):
                yield from self._files(names, what, variant)
            else:
                path = os.path.relpath(os.path.join(directory, name), self.root)
                yield path, _torn(self.flushed[what], self.now[what], variant)


def _apply(entries: dict[str, int | str], change: Change) -> None:
    for name, what in change.items():
        if what is None:
            entries.pop(name, None)
        else:
            entries[name] = what


def _torn(old: bytes, new: bytes, variant: int) -> bytes:
    pairs = enumerate(zip(old, new, strict=False))
    same = next((index for index, (before, after) in pairs if before != after), min(len(old), len(new)))
    fresh = new[same:]
    return (old, new, new[:same] + bytes(len(fresh)), new[: same + len(fresh) // 2], new[:same])[variant]
