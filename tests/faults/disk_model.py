"""
A model of a disk that loses its power: every directory a crash may leave behind, as far as flushes allow it.

After ALICE (Pillai and others, OSDI 2014): the calls of the seam are recorded as changes of bytes and of names, and
each change that no flush has made sure of may be there or not. Two models of what a file system promises:
    posix  No more than the standard: of the changes not flushed any subset is there, in bytes and in names, each file
           and each directory for itself. A write may be there in part, and may be zeros where its bytes are missing.
    ext4   A journal in order, as ext4 with data=ordered has: names change in the order of the calls, and any flush
           makes sure of all that changed before; of a file's writes the first ones are there, the last one in part.
"""

from __future__ import annotations

import itertools
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

# A directory as a crash leaves it: the bytes of each file by its path; a directory's path ends with a slash.
Left = dict[str, bytes]
MODELS = ("posix", "ext4")
_SECTOR_BYTES = 512
_MOST_STATES = 20_000
_TEMPORARY = re.compile(r"[0-9a-f]{16}(?=\.tmp$)")


class _Written(NamedTuple):
    """Bytes written to a file."""

    at: int
    raw: bytes


class _Cut(NamedTuple):
    """A file cut off, or made longer by zeros."""

    size_bytes: int


class _Named(NamedTuple):
    """Names of one directory that stand for something else now: a file's number, a directory's path, None for gone."""

    directory: str
    names: dict[str, int | str | None]


class Disk:
    """
    Follow the calls of the seam, and tell at any moment what a loss of power could leave.

    Shape: a file is a number, its flushed bytes and the changes that were not flushed; a directory is a path and its
    flushed names. Nothing is really flushed, and the clock ticks a second a call, so that a run can be repeated.
    """

    def __init__(self, root: Path, model: str) -> None:
        self.root, self.model = str(root), model
        self.bytes: dict[int, bytes] = {}
        self.unflushed: dict[int, list[_Written | _Cut]] = defaultdict(list)
        self.names: dict[str, dict[str, int | str]] = {self.root: {}}
        self.pending: list[_Named] = []
        self._current: dict[str, int] = {}
        self._open: dict[int, int | str] = {}
        self._numbers = itertools.count()
        self._temporary = itertools.count()
        self._shown: dict[str, str] = {}
        self._clock_s = 1_700_000_000.0
        self.settle()

    def settle(self) -> None:
        """Take the directory as it is now, every byte and name of it flushed: whatever changed it was no store."""
        self.pending.clear()
        self.unflushed.clear()
        self.bytes.clear()
        self.names = {self.root: {}}
        for place, directories, files in os.walk(self.root):
            self.names[place] = {name: os.path.join(place, name) for name in directories}
            for name in files:
                path = os.path.join(place, name)
                number = self._current.setdefault(path, next(self._numbers))
                self.names[place][name], self.bytes[number] = number, Path(path).read_bytes()

    # ---- following calls --------------------------------------------------------------------------------------

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name == "fsync":
            return self._flush(self._open[args[0]])
        if name == "time":
            return self.now_s()
        result = call(*args, **named)
        if name == "open":
            self._opened(args[0], result)
        elif name == "close":
            self._open.pop(args[0], None)
        elif name in ("write", "writev"):
            raw = args[1] if name == "write" else b"".join(map(bytes, args[1]))
            end = os.lseek(args[0], 0, os.SEEK_CUR)
            self._changed(args[0], _Written(end - result, bytes(raw[:result])))
        elif name == "ftruncate":
            self._changed(args[0], _Cut(args[1]))
        elif name == "replace":
            number = self._current.pop(args[0])
            self._current[args[1]] = number
            self._rename(args[0], {args[0]: None, args[1]: number})
        elif name == "unlink":
            del self._current[args[0]]
            self._rename(args[0], {args[0]: None})
        elif name == "link":
            self._current[args[1]] = self._current[args[0]]
            self._rename(args[1], {args[1]: self._current[args[1]]})
        elif name == "mkdir":
            self.names[args[0]] = {}
            self._rename(args[0], {args[0]: args[0]})
        return result

    def now_s(self) -> float:
        """Return the time of the modelled machine."""
        self._clock_s += 1
        return self._clock_s

    def _opened(self, path: str, descriptor: int) -> None:
        if os.path.isdir(path):
            self._open[descriptor] = path.rstrip("/")
            return
        if path not in self._current:
            self._current[path] = number = next(self._numbers)
            self.bytes[number] = b""
            self._rename(path, {path: number})
        self._open[descriptor] = self._current[path]

    def _changed(self, descriptor: int, change: _Written | _Cut) -> None:
        number = self._open[descriptor]
        assert isinstance(number, int)
        self.unflushed[number].append(change)

    def _rename(self, path: str, names: dict[str, int | str | None]) -> None:
        self.pending.append(_Named(os.path.dirname(path), {os.path.basename(one): what for one, what in names.items()}))

    def _flush(self, what: int | str) -> None:
        if isinstance(what, int):
            for written in self.unflushed.pop(what, []):
                self.bytes[what] = _applied(self.bytes[what], written)
        is_sure = [self.model == "ext4" or change.directory == what for change in self.pending]
        for change in itertools.compress(self.pending, is_sure):
            _apply_names(self.names, change)
        self.pending = [change for change, sure in zip(self.pending, is_sure, strict=True) if not sure]

    # ---- losing power -----------------------------------------------------------------------------------------

    def crashes(self) -> Iterator[Left]:
        """Yield what may be left, paths relative to the root."""
        count = 0
        for done in self._changes_that_may_be_there():
            names = {directory: dict(entries) for directory, entries in self.names.items()}
            for change in done:
                _apply_names(names, change)
            paths = dict(self._paths(names, self.root))
            numbers = sorted({number for number in paths.values() if number is not None})
            for chosen in itertools.product(*(self._versions(number) for number in numbers)):
                count += 1
                assert count <= _MOST_STATES, "too many states for one crash: none may be left out unseen"
                raw = dict(zip(numbers, chosen, strict=True))
                yield {path: b"" if number is None else raw[number] for path, number in paths.items()}

    def _changes_that_may_be_there(self) -> Iterable[tuple[_Named, ...]]:
        if self.model == "ext4":
            return (tuple(self.pending[:count]) for count in range(len(self.pending) + 1))
        counts = range(len(self.pending) + 1)
        return itertools.chain.from_iterable(itertools.combinations(self.pending, count) for count in counts)

    def _paths(self, names: dict[str, dict[str, int | str]], directory: str) -> Iterator[tuple[str, int | None]]:
        for name, what in names[directory].items():
            path = os.path.relpath(os.path.join(directory, name), self.root)
            if isinstance(what, str):
                yield path + "/", None
                yield from self._paths(names, what)
            else:
                yield self._without_chance(path), what

    def _without_chance(self, path: str) -> str:
        """Return a path with a count in place of the random part of a temporary name."""
        return _TEMPORARY.sub(lambda found: self._shown.setdefault(found[0], f"{next(self._temporary):016x}"), path)

    def _versions(self, number: int) -> list[bytes]:
        """Return the bytes a file may have."""
        versions = {self.bytes[number]}
        if self.model == "ext4":
            whole = self.bytes[number]
            for change in self.unflushed.get(number, []):
                versions |= _torn(whole, change, zeros=False)
                whole = _applied(whole, change)
        else:
            for change in self.unflushed.get(number, []):
                versions |= {torn for version in versions for torn in _torn(version, change, zeros=True)}
        return sorted(versions)


def _apply_names(names: dict[str, dict[str, int | str]], change: _Named) -> None:
    entries = names[change.directory]
    for name, what in change.names.items():
        if what is None:
            entries.pop(name, None)
        else:
            entries[name] = what


def _applied(raw: bytes, change: _Written | _Cut) -> bytes:
    if isinstance(change, _Cut):
        return raw[: change.size_bytes].ljust(change.size_bytes, b"\0")
    return raw[: change.at].ljust(change.at, b"\0") + change.raw + raw[change.at + len(change.raw) :]


def _torn(raw: bytes, change: _Written | _Cut, *, zeros: bool) -> set[bytes]:
    """Return what a file may hold of one change: all, a first part, and with `zeros`, zeros for any of its parts."""
    whole = _applied(raw, change)
    if isinstance(change, _Cut):
        return {whole}
    at, new = change
    ends = {1, len(new) // 2, len(new) - 1, *_line_ends(new)}
    torn = {_applied(raw, _Written(at, new[:end])) for end in ends if 0 < end < len(new)}
    if zeros and at + len(new) > len(raw):
        # What the file grew by is allocated, and its bytes are not all there: sectors are written in any order.
        sectors = [end - at for end in range(at, at + len(new)) if end % _SECTOR_BYTES == 0 and end > at]
        parts = [0, *sectors, len(new)]
        for first, last in itertools.combinations(parts if len(parts) <= 4 else [0, parts[1], parts[-2], len(new)], 2):
            torn.add(_applied(raw, _Written(at, new[:first] + bytes(last - first) + new[last:])))
        torn.add(_applied(raw, _Written(at, new[: len(new) // 2].ljust(len(new), b"\0"))))
    return {whole, *torn}


def _line_ends(raw: bytes) -> list[int]:
    """Return where the first and the last lines of a write end."""
    ends = [index + 1 for index, byte in enumerate(raw) if byte == 10]
    return [*ends[:2], *ends[-3:]]
