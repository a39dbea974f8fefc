"""Numbers that forked processes share without a lock, and forked processes that may be killed at any moment."""

from __future__ import annotations

import gc
import mmap
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from processes.workers import DEADLINE_S


class Board:
    """
    A row of numbers in memory that every child forked after it has; each is written by one process at a time.

    A number is one aligned word, so that a reader sees the old one or the new, and who is killed leaves one of them.

    Args:
        path: a file to keep them in, for processes that are not forked; made if it is missing.
    """

    def __init__(self, size: int, path: Path | None = None) -> None:
        if path is None:
            self._memory = mmap.mmap(-1, 8 * size)
        else:
            with path.open("a+b") as file:
                file.truncate(8 * size)
                self._memory = mmap.mmap(file.fileno(), 8 * size)
        self._numbers = memoryview(self._memory).cast("Q")

    def __getitem__(self, index: int) -> int:
        return self._numbers[index]

    def __setitem__(self, index: int, number: int) -> None:
        self._numbers[index] = number

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_error: object) -> None:
        self._numbers.release()
        self._memory.close()


class Forked:
    """A child that was forked, and what it tells: bytes, until it ends."""

    def __init__(self, pid: int, told: int) -> None:
        self.pid, self._told, self._is_ended = pid, told, False
        self._so_far = b""

    def heard(self, size_bytes: int) -> bytes:
        """Wait until it tells that much, or ends."""
        return os.read(self._told, size_bytes)

    def killed(self) -> bytes:
        """Kill it, and return what it told until then; one that had failed before fails the test."""
        os.kill(self.pid, signal.SIGKILL)
        return self._ended(-signal.SIGKILL)

    def finished(self) -> bytes:
        """Wait until it is done, and return what it told; one that failed, or hangs, fails the test."""
        self._wait()
        return self._ended(0)

    def outcome(self) -> tuple[bytes, int]:
        """Wait until it ends, and return what it told and its status, negative for a signal; one that hangs fails."""
        self._wait()
        return self._reaped()

    def end(self) -> None:
        """End it, if it is not ended, whatever it did."""
        if not self._is_ended:
            os.kill(self.pid, signal.SIGKILL)
            self._reaped()

    def _wait(self) -> None:
        ends_s, is_open = time.monotonic() + DEADLINE_S, True
        while not os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
            if time.monotonic() > ends_s:
                self.killed()
                raise AssertionError("a forked process hangs")
            # A pipe takes 64 KB: a child that tells more ends only when it was heard.
            if is_open and select.select([self._told], [], [], 0.001)[0]:
                more = os.read(self._told, 1 << 16)
                self._so_far, is_open = self._so_far + more, bool(more)
            elif not is_open:
                time.sleep(0.001)

    def _ended(self, expected: int) -> bytes:
        told, status = self._reaped()
        assert expected == status, told.decode(errors="replace")
        return told

    def _reaped(self) -> tuple[bytes, int]:
        self._is_ended = True
        with os.fdopen(self._told, "rb") as pipe:
            told = self._so_far + pipe.read()
        _, status = os.waitpid(self.pid, 0)
        return told, os.waitstatus_to_exitcode(status)


@contextmanager
def children() -> Iterator[Callable[[Callable[[int], object]], Forked]]:
    """
    Lend what forks: the child does its work, given the descriptor it tells by, and ends with status 0, or tells why not.

    None of them outlives the block.
    """
    family: list[Forked] = []

    def fork(work: Callable[[int], object]) -> Forked:
        family.append(_forked(work))
        return family[-1]

    try:
        yield fork
    finally:
        for child in family:
            child.end()


def _forked(work: Callable[[int], object]) -> Forked:
    told, tell = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(tell)
        return Forked(pid, told)
    status = 1
    try:
        gc.disable()  # the objects of this process's tests are not this child's to finalize
        os.close(told)
        work(tell)
        status = 0
    except BaseException:  # noqa: BLE001 - whatever ended the work is what the test must be told
        os.write(tell, traceback.format_exc().encode())
    finally:
        os._exit(status)
