"""Ways to interrupt an operation at one of its calls to the system; each is an `around` for `seam.intercept`."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from errno import EACCES, EDQUOT, EINTR, EIO, EMFILE, ENOLCK, ENOSPC, EROFS
from typing import Any

from praison_store.disk import seam

ERRNOS = (EIO, ENOSPC, EDQUOT, EACCES, EROFS, EMFILE, EINTR, ENOLCK)
# The clocks and `sleep` have no failure; a process may be killed at these calls too.
NEVER_FAIL = frozenset({"time", "monotonic", "sleep"})
WRITES = frozenset({"write", "writev"})
# What these gave would be lost with the error, by the test and not by the store.
GIVERS = frozenset({"open", "scandir"})


class Recorded:
    """Remember the name of every call, and let it happen."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        self.names.append(name)
        return call(*args, **named)


def without_flushes(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Do every call but a flush, which only a loss of power could tell from this, and which takes most of the time."""
    return None if name == "fsync" else call(*args, **named)


class Interruption:
    """
    Do something else at the call of one index, counted from 0 among those it can happen to.

    Shape: `name` is that call's, "" as long as it did not come; `number` the errno it raises, 0 for none; `unflushed`
    are the files and directories, by device and inode, whose last flush failed; `kills` tells that nobody outlives it.
    """

    number = 0
    for_good = False
    kills = False

    def __init__(self, index: int) -> None:
        self.index = index
        self.name = ""
        self.unflushed: set[tuple[int, int]] = set()
        self._next = 0

    def armed(self) -> AbstractContextManager[None]:
        """Return the block in which it happens."""
        return seam.intercept(self)

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Stand around a call of the seam."""
        raise NotImplementedError

    def counts(self, name: str) -> bool:
        """Tell whether it can happen to calls of that name."""
        return name not in NEVER_FAIL

    def is_now(self, name: str) -> bool:
        """Count a call, and tell whether it is to happen to this one."""
        if not self.counts(name):
            return False
        index, self._next = self._next, self._next + 1
        if index == self.index:
            self.name = name
        return index == self.index or (self.for_good and index > self.index and name == self.name)


class Failing(Interruption):
    """Fail the call of one index; `for_good` every later call of the same name too."""

    def __init__(self, index: int, number: int, *, for_good: bool) -> None:
        super().__init__(index)
        self.number, self.for_good = number, for_good

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        fails = self.is_now(name)
        if name == "fsync":
            state = os.fstat(args[0])
            if fails:
                self.unflushed.add((state.st_dev, state.st_ino))
            elif stat.S_ISDIR(state.st_mode):
                # Names may be flushed again. Bytes may not: the system forgot which of them it could not write.
                self.unflushed.discard((state.st_dev, state.st_ino))
        if fails:
            if name == "close":
                call(*args, **named)  # the system gives a descriptor back whatever it answers
            raise OSError(self.number, os.strerror(self.number))
        return call(*args, **named)


class FailingBehind(Interruption):
    """Let the call of one index happen, and then say that it failed, as a network file system may."""

    def __init__(self, index: int, number: int) -> None:
        super().__init__(index)
        self.number = number

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        fails = self.is_now(name)
        result = call(*args, **named)
        if fails and name not in GIVERS:
            raise OSError(self.number, os.strerror(self.number))
        return result


class Short(Interruption):
    """Write only a part of what one write was given, `for_good` of what every later one was too."""

    def __init__(self, index: int, fraction: float, *, for_good: bool = False) -> None:
        super().__init__(index)
        self.fraction, self.for_good = fraction, for_good

    def counts(self, name: str) -> bool:
        """Only writes can be short."""
        return name in WRITES

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if not self.is_now(name):
            return call(*args, **named)
        descriptor, data = args
        pieces: Sequence[Any] = data if name == "writev" else [data]
        whole = b"".join(bytes(piece) for piece in pieces)
        part = whole[: max(1, int(len(whole) * self.fraction))]
        return call(descriptor, [part] if name == "writev" else part)


class Full(Short):
    """Write a part of what one write was given, and have no room for the rest."""

    def __init__(self, index: int, number: int, fraction: float) -> None:
        super().__init__(index, fraction)
        self.number = number

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if self.name and name in WRITES and self._next == self.index + 1:
            self._next += 1
            raise OSError(self.number, os.strerror(self.number))
        return super().__call__(name, call, *args, **named)


class Killing(Interruption):
    """Kill this process with SIGKILL at the call of one index, before it or behind it."""

    kills = True

    def __init__(self, index: int, *, behind: bool = False) -> None:
        super().__init__(index)
        self.behind = behind

    def counts(self, name: str) -> bool:
        """A process may die at every call."""
        return True

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        is_now = self.is_now(name)
        if is_now and not self.behind:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return call(*args, **named)
        finally:
            if is_now:
                os.kill(os.getpid(), signal.SIGKILL)
