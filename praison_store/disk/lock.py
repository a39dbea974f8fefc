"""Take turns on one session: across threads, forks, spawned processes, and PraisonAI's own store (D3)."""

from __future__ import annotations

import os
import stat
from types import TracebackType

from ..errors import LockTimeoutError, SessionStoreError, StoreWriteError
from . import files, seam

_FLAGS = (
    os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
)
_FIRST_PAUSE_S = 0.0002
_LONGEST_PAUSE_S = 0.004
_held: set[int] = set()


class exclusive:  # noqa: N801 - read as a verb: with lock.exclusive(path, timeout_s=5.0)
    """
    Be the only writer of a file for the length of a block.

    Args:
        path: the session's file; the lock is `<path>.lock`, taken by the primitive PraisonAI's store uses.
        timeout_s: 0 or more seconds, by the monotonic clock.
    Raises:
        LockTimeoutError: Another kept it that long. Names the holder where the system tells.
        StoreWriteError: The lock file cannot be opened, or something that is no file stands in its place.
    Cost: about 10 us where nobody else wants it; the file stays, since removing it would let two writers in.
    """

    __slots__ = ("_descriptor", "_path", "_timeout_s")

    def __init__(self, path: str, *, timeout_s: float) -> None:
        self._path = path + ".lock"
        self._timeout_s = timeout_s
        self._descriptor = -1

    def __enter__(self) -> exclusive:
        deadline_s: float | None = None
        pause_s = _FIRST_PAUSE_S
        while True:
            if self._descriptor < 0:
                self._descriptor = _open(self._path)
            try:
                if seam.lock(self._descriptor):
                    if _is_in_place(self._path, self._descriptor):
                        _held.add(self._descriptor)
                        return self
                    self._close()
                    continue
                now_s = seam.monotonic()
                if deadline_s is None:
                    deadline_s = now_s + self._timeout_s
                if now_s >= deadline_s:
                    raise self._timed_out()
                # Waiters draw lots: a pause of random length, because those that wake in step starve each other.
                seam.sleep(min(pause_s * (0.5 + os.urandom(1)[0] / 255), deadline_s - now_s))
                pause_s = min(pause_s * 1.3, _LONGEST_PAUSE_S)
            except BaseException as error:
                self._close()
                if isinstance(error, OSError) and not isinstance(error, SessionStoreError):
                    message = f"Cannot lock {self._path}: {error.strerror}. Nothing was written: check the file system."
                    raise StoreWriteError(message, path=self._path, cause=error) from error
                raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        descriptor = self._descriptor
        if descriptor not in _held:
            return  # a fork inside the block: the child dropped its copy, the lock is the parent's
        _held.discard(descriptor)
        try:
            # Closing alone is not enough: a child forked meanwhile has a copy of the descriptor, and with it the lock.
            seam.unlock(descriptor)
        finally:
            self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            seam.close(descriptor)

    def _timed_out(self) -> LockTimeoutError:
        holder = holders(self._descriptor)
        named = f" by process {', '.join(map(str, holder))}" if holder else ""
        return LockTimeoutError(
            f"{self._path} stayed locked{named} for {self._timeout_s:g} s. Nothing was written: try again, or pass a "
            f"longer lock_timeout.",
            path=self._path, waited_s=self._timeout_s, holder=holder,
        )


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


def _is_in_place(path: str, descriptor: int) -> bool:
    """Tell whether the locked file still has its name; refuse whatever is no plain file (D8)."""
    state = seam.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode):
        raise StoreWriteError(f"{path} is no plain file and was not used as a lock: remove it.", path=path)
    if state.st_mode & 0o600 != 0o600 and seam.fchmod:
        seam.fchmod(descriptor, 0o600)  # a umask may have taken the owner's own rights from a new file
    # The file may have been removed between our open and our lock; then the next writer would lock another file of
    # the same name, and both would write.
    return state.st_nlink > 0


def _refused(path: str, error: OSError) -> StoreWriteError:
    return StoreWriteError(
        f"Cannot open the lock file {path}: {error.strerror}. Nothing was written: check that the directory is "
        f"writable and that no link or directory stands there.", path=path, cause=error,
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
    """Close the copies of held locks a forked child got, without unlocking: they are still the parent's."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_copies)
