"""Ways to interrupt an operation at one of its calls to the system; each is an `around` for `seam.intercept`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from errno import EACCES, EDQUOT, EIO, EMFILE, ENOLCK, ENOSPC, EROFS
from typing import Any

ERRNOS = (EIO, ENOSPC, EDQUOT, EACCES, EROFS, EMFILE, ENOLCK)
# `close` gives the descriptor back whatever it answers, and one that was not called would be a leak of this test's own
# making; the clocks and `sleep` have no failure. Killing happens at these calls too.
NEVER_FAIL = frozenset({"close", "time", "monotonic", "sleep"})
Around = Callable[..., Any]


class Recorded:
    """Remember the name of every call, and let it happen."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        self.names.append(name)
        return call(*args, **named)


class Failing:
    """Fail the call of one index; `for_good` every later call of the same name too."""

    def __init__(self, index: int, number: int, *, for_good: bool) -> None:
        self.index, self.number, self.for_good = index, number, for_good
        self.name = ""
        self._next = 0

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        index, self._next = self._next, self._next + 1
        if index == self.index:
            self.name = name
        if index == self.index or (self.for_good and index > self.index and name == self.name):
            raise OSError(self.number, os.strerror(self.number))
        return call(*args, **named)


class FailingBehind(Failing):
    """Let the call of one index happen, and then say that it failed, as a network file system may."""

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        index, self._next = self._next, self._next + 1
        result = call(*args, **named)
        if index == self.index:
            self.name = name
            if name in ("open", "scandir"):
                return result  # what it gave would be lost, by this test and not by the store
            raise OSError(self.number, os.strerror(self.number))
        return result


class Short:
    """Write only a part of what one write was given; `parts` names its length as a fraction."""

    def __init__(self, index: int, fraction: float) -> None:
        self.index, self.fraction = index, fraction
        self._next = 0

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        index, self._next = self._next, self._next + 1
        if index != self.index:
            return call(*args, **named)
        descriptor, data = args
        pieces: Sequence[Any] = data if name == "writev" else [data]
        whole = b"".join(bytes(piece) for piece in pieces)
        part = whole[: max(1, int(len(whole) * self.fraction))]
        return call(descriptor, [part] if name == "writev" else part)


class Killing:
    """Kill this process with SIGKILL at the call of one index, before it or behind it."""

    def __init__(self, index: int, *, behind: bool) -> None:
        self.index, self.behind = index, behind
        self._next = 0

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        index, self._next = self._next, self._next + 1
        if index == self.index and not self.behind:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return call(*args, **named)
        finally:
            if index == self.index:
                os.kill(os.getpid(), signal.SIGKILL)
