"""Take turns on one session: across threads, forks, spawned processes, and PraisonAI's own store (D3)."""

from __future__ import annotations

import os
import stat
import weakref
from contextlib import suppress
from types import TracebackType
from typing import Any

from ..errors import LockTimeoutError, SessionStoreError, StoreWriteError
from . import files, seam

_FLAGS = (
    os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
)
# A waiter tries again after a pause of random length, because those that wake in step starve each other. It grows
# to 2 ms and no further, so that who waits long draws as many lots as who comes; only after seconds it tries less.
_FIRST_PAUSE_S, _PAUSE_S, _LONG_PAUSE_S = 0.0003, 0.002, 0.01
_LONG_WAIT_S = 1.0
# Every turn with an open descriptor, waiting ones and those on logs too: a child forked now has copies of them all.
# Weak, so that a turn which Ctrl-C left between two lines ends with its last reference.
open_turns: set[weakref.ref[Any]] = set()


class exclusive:  # noqa: N801 - read as a verb: with lock.exclusive(path, timeout_s=5.0)
    """
    Be the only writer of a file for the length of a block.

    Args:
        path: the session's file; the lock is `<path>.lock`, taken by the primitive PraisonAI's store uses.
        timeout_s: 0 or more seconds, by the monotonic clock.
    Raises:
        LockTimeoutError: Another kept it that long. Names the holder where the system tells.
        StoreWriteError: The lock file cannot be opened, or something that is no file stands in its place.
    Cost: an open, a lock and a close where nobody else wants it; the file stays, or two writers could come in.
    """

    __slots__ = ("__weakref__", "_descriptor", "_is_marked", "_path", "_self", "_timeout_s")

    def __init__(self, path: str, *, timeout_s: float) -> None:
        self._descriptor = -1  # first, because `__del__` asks for it whatever came between
        self._path = path + ".lock"
        self._timeout_s = timeout_s
        self._is_marked = False
        self._self = weakref.ref(self)

    def __enter__(self) -> exclusive:
        try:
            if self._taken() and not self._others_wait():
                return self
            started_s, waited_s, pause_s = seam.monotonic(), 0.0, _FIRST_PAUSE_S
            while True:
                seam.sleep(min(pause_s * (0.5 + os.urandom(1)[0] / 255), max(self._timeout_s - waited_s, 0.0)))
                if self._taken():
                    return self
                waited_s = seam.monotonic() - started_s
                if waited_s >= self._timeout_s:
                    raise timed_out(self._path, self._descriptor, self._timeout_s, waited_s)
                self._mark()
                pause_s = min(pause_s * 1.5, _PAUSE_S) if waited_s < _LONG_WAIT_S else _LONG_PAUSE_S
        except BaseException as error:
            self._close()
            if isinstance(error, OSError) and not isinstance(error, SessionStoreError):
                message = f"Cannot lock {self._path}: {error.strerror}. Nothing was written: check the file system."
                raise StoreWriteError(message, path=self._path, cause=error) from error
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor < 0:
            return  # a fork inside the block: the child dropped its copy, the turn is the parent's
        try:
            # Closing alone is not enough: a child forked meanwhile has a copy of the descriptor, and with it the lock.
            seam.unlock(self._descriptor)
        except OSError:
            pass  # where the system cannot unlock, the close does; what was written is written
        finally:
            self._close()

    def check(self) -> None:
        """Make sure the turn is still this process's. Raises StoreWriteError in a child forked inside the block."""
        if self._descriptor < 0:
            raise StoreWriteError(
                f"This process was forked while its parent had the turn on {self._path}. Nothing was written here: "
                f"call again.", path=self._path,
            )

    def _taken(self) -> bool:
        """Try once; the lock counts only while its file has its name, or the next writer would lock another one."""
        while True:
            if self._descriptor < 0:
                self._descriptor = _open(self._path)
                open_turns.add(self._self)
            if not seam.lock(self._descriptor):
                return False
            state = _checked(self._path, self._descriptor)
            if state.st_nlink:
                self._is_marked = state.st_size > 0 and state.st_nlink == 1
                return True
            self._close()

    def _others_wait(self) -> bool:
        """
        Let go of a lock taken at the first try, if a waiter left its mark: a byte in the lock file.

        Without this the process that just wrote takes its next turn while all others pause, and one in a hundred
        waits for seconds.
        """
        if not self._is_marked or not self._timeout_s:
            return False
        seam.ftruncate(self._descriptor, 0)
        seam.unlock(self._descriptor)
        return True

    def _mark(self) -> None:
        with suppress(OSError):  # a courtesy among waiters; without it the wait is longer, not wrong
            state = seam.fstat(self._descriptor)
            # A second name of somebody's file is a lock like any other, but its bytes are not ours (D8).
            if not state.st_size and state.st_nlink == 1:
                seam.ftruncate(self._descriptor, 1)

    def _close(self) -> None:
        if self._descriptor >= 0:
            open_turns.discard(self._self)
            try:  # noqa: SIM105 - as HeldFile closes its own, which may be out of memory
                seam.close(self._forgotten())
            except OSError:
                pass  # the system gives up the descriptor all the same, and with it the lock

    def _forgotten(self) -> int:
        # As `HeldFile` forgets its own: before it is closed, and in no line of its own.
        descriptor = self._descriptor
        return setattr(self, "_descriptor", -1) or descriptor  # type: ignore[func-returns-value] # that None is meant

    # Ctrl-C between two lines of a turn leaves it to nobody; the lock then ends with the object, not with the process.
    __del__ = _close

    def drop_copy(self) -> None:
        """Close a forked child's copy of the descriptor, without unlocking: the lock is still the parent's."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _open(path: str) -> int:
    try:
        return seam.open(path, _FLAGS, 0o600)
    except FileNotFoundError:
        files.make_directory(os.path.dirname(path))  # removed since the store was opened; a writer makes it anew
    except OSError as error:
        raise _refused(path, error) from error
    try:
        return seam.open(path, _FLAGS, 0o600)
    except OSError as error:
        raise _refused(path, error) from error


def _checked(path: str, descriptor: int) -> os.stat_result:
    """Return the state of the locked file; refuse whatever is no plain file (D8)."""
    state = seam.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode):
        raise StoreWriteError(f"{path} is no plain file and was not used as a lock: remove it.", path=path)
    if state.st_mode & 0o600 != 0o600 and seam.fchmod:
        seam.fchmod(descriptor, 0o600)  # a umask may have taken the owner's own rights from a new file
    return state


def _refused(path: str, error: OSError) -> StoreWriteError:
    return StoreWriteError(
        f"Cannot open the lock file {path}: {error.strerror}. Nothing was written: check that the directory is "
        f"writable and that no link or directory stands there.", path=path, cause=error,
    )


def timed_out(path: str, descriptor: int, timeout_s: float, waited_s: float) -> LockTimeoutError:
    """Return the error of a turn that did not come in time; names the holder where the system tells."""
    holder = holders(descriptor)
    named = f" by process {', '.join(map(str, holder))}" if holder else ""
    return LockTimeoutError(
        f"{path} stayed locked{named} for {timeout_s:g} s. Nothing was written: try again, or pass a longer "
        f"lock_timeout.", path=path, waited_s=waited_s, holder=holder,
    )


def holders(descriptor: int) -> tuple[int, ...]:
    """Return the ids of the processes that hold the lock, where Linux tells; else nothing."""
    try:
        state = os.fstat(descriptor)
        device = f"{os.major(state.st_dev):02x}:{os.minor(state.st_dev):02x}:{state.st_ino}"
        with open("/proc/locks", encoding="ascii") as table:
            rows = [row.split() for row in table]
    except (OSError, AttributeError):
        return ()
    return tuple(int(row[4]) for row in rows if len(row) > 5 and row[5] == device and row[1] == "FLOCK")


def _drop_copies() -> None:
    while open_turns:
        turn = open_turns.pop()()
        if turn is not None:
            turn.drop_copy()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_copies)
