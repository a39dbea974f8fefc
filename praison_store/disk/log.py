"""
Hold one append-only log: alone to write to it, with others to read it, by a lock on the log itself.

A log that is replaced (compacted, deleted) keeps its lock on a file without a name; so a lock counts only while the
locked file is the one that has the name, and who finds another there tries again with that one.
"""

from __future__ import annotations

import os
import stat
import weakref
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

from ..errors import OutcomeUnknownError, SessionStoreError, StoreWriteError
from . import atomic, files, lock, seam

_WRITE_FLAGS = os.O_RDWR | os.O_CREAT | files.NOFOLLOW | files.BINARY
# As in `lock`: pauses of random length, because waiters that wake in step starve each other.
_FIRST_PAUSE_S, _PAUSE_S, _LONG_PAUSE_S, _LONG_WAIT_S = 0.0003, 0.002, 0.01, 1.0


def read_at(held: files.HeldFile, path: str, start: int, size_bytes: int) -> bytes:
    """Return a part of a log, shorter where the log ends. Raises StoreReadError."""
    try:
        seam.lseek(held.descriptor, start, os.SEEK_SET)
    except OSError as error:
        raise files.unreadable(path, error) from error
    return files.read_all(held, path, size_bytes)


def state_of(held: files.HeldFile, path: str) -> os.stat_result:
    """Return the state of an open log. Raises StoreReadError."""
    try:
        return seam.fstat(held.descriptor)
    except OSError as error:
        raise files.unreadable(path, error) from error


def wait_to_read(held: files.HeldFile, path: str, timeout_s: float) -> bool:
    """Wait until no writer is in the middle of a write, and let the lock go; False where one did not end in time."""
    started_s = seam.monotonic()
    try:
        while not seam.take(held.descriptor, True):
            if seam.monotonic() - started_s >= timeout_s:
                return False
            seam.sleep(_PAUSE_S)
    except OSError as error:
        raise files.unreadable(path, error) from error
    with suppress(OSError):  # closing gives up the lock too
        seam.give(held.descriptor)
    return True


class writing:  # noqa: N801 - read as a verb: with log.writing(path, timeout_s=5.0) as turn
    """
    Be the only writer of a log for the length of a block; an unknown log is made, and removed if nothing was written.

    Args:
        timeout_s: 0 or more seconds, by the monotonic clock.
    Raises:
        LockTimeoutError: Another kept it that long. Names the holder where the system tells.
        StoreWriteError: The log cannot be opened, or something that is no plain file stands in its place.
    """

    __slots__ = ("__weakref__", "_durability", "_path", "_self", "_timeout_s", "held", "size_bytes")

    def __init__(self, path: str, *, timeout_s: float, durability: str) -> None:
        self._path, self._timeout_s, self._durability = path, timeout_s, durability
        self.held = files.HeldFile()
        self.size_bytes = 0
        self._self = weakref.ref(self)

    def __enter__(self) -> writing:
        try:
            if self._taken():
                return self
            started_s, pause_s = seam.monotonic(), _FIRST_PAUSE_S
            while True:
                waited_s = seam.monotonic() - started_s
                seam.sleep(min(pause_s * (0.5 + os.urandom(1)[0] / 255), max(self._timeout_s - waited_s, 0.0)))
                if self._taken():
                    return self
                waited_s = seam.monotonic() - started_s
                if waited_s >= self._timeout_s:
                    raise lock.timed_out(self._path, self.held.descriptor, self._timeout_s, waited_s)
                pause_s = min(pause_s * 1.5, _PAUSE_S) if waited_s < _LONG_WAIT_S else _LONG_PAUSE_S
        except BaseException as error:
            self._close()
            if isinstance(error, OSError) and not isinstance(error, SessionStoreError):
                raise _refused(self._path, error) from error
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.held.descriptor < 0:
            return  # a fork inside the block: the turn is the parent's
        try:
            if not self.size_bytes:
                with suppress(OSError):  # an empty log is no session; the next writer fills it
                    if not seam.fstat(self.held.descriptor).st_size and self._is_named():
                        seam.unlink(self._path)
            with suppress(OSError):  # where the system cannot unlock, the close does
                seam.give(self.held.descriptor)
        finally:
            self._close()

    def check(self) -> None:
        """Make sure the turn is still this process's. Raises StoreWriteError in a child forked inside the block."""
        if self.held.descriptor < 0:
            raise StoreWriteError(
                f"This process was forked while its parent had the turn on {self._path}. Nothing was written here: "
                f"call again.", path=self._path,
            )

    def append(self, at: int, lines: Sequence[bytes]) -> None:
        """
        Put lines behind the first `at` bytes of a log, all or none; what stood there was never acknowledged.

        Raises:
            StoreWriteError: The log is as it was. OutcomeUnknownError: The lines may be there, and may be lost.
        """
        self.check()
        descriptor = self.held.descriptor
        try:
            if self.size_bytes > at:
                seam.ftruncate(descriptor, at)
            seam.lseek(descriptor, at, os.SEEK_SET)
            files.write_all(descriptor, lines)
        except BaseException as error:
            self._cut_back(at)
            if isinstance(error, OSError):
                raise atomic.failed(self._path, error) from error
            raise
        self.size_bytes = at + sum(map(len, lines))
        if self._durability != "process":
            self._flush(at)

    def replace(self, lines: Sequence[bytes]) -> None:
        """
        Put another log in this one's place, or the first: a loss of power in the middle of an append to an empty file
        may leave zeros, and nothing would tell them from a session that is damaged.

        Raises:
            StoreWriteError, OutcomeUnknownError: See `replace_bytes`.
        """
        self.check()
        held, _signature = atomic.replace_bytes(self._path, lines, durability=self._durability)
        held.close()
        if not self.size_bytes and self._durability == "ordered":
            atomic.flush_names(self._path)  # or whatever is appended from now on is lost with its name
        self.size_bytes = self.size_bytes or 1  # the name is the new file's by now

    def remove(self) -> None:
        """Remove the log, durably. Raises StoreWriteError, OutcomeUnknownError."""
        self.check()
        atomic.remove(self._path)
        if self._durability != "process":
            atomic.flush_names(self._path)

    def _flush(self, at: int) -> None:
        """Flush what was written behind `at`; if that fails, put what stood before into a new file."""
        try:
            seam.fsync(self.held.descriptor)
        except OSError as error:
            # The system may have dropped pages it could not write, and a second flush would not tell: whatever is
            # written to this file from now on could stand behind a hole. So the old bytes get a file of their own.
            try:
                old = read_at(self.held, self._path, 0, at)
                atomic.replace_bytes(self._path, [old], durability="full")[0].close()
            except OSError as second:
                raise OutcomeUnknownError(
                    f"The change of {self._path} is in place, but flushing it failed: {error.strerror}. It may not "
                    f"outlive a loss of power: check the disk, and retry with the same message_id.",
                    path=self._path, cause=error,
                ) from second
            raise atomic.failed(self._path, error) from error

    def _cut_back(self, at: int) -> None:
        with suppress(OSError):  # what stays behind `at` has no end mark: readers leave it out, the next writer cuts it
            seam.ftruncate(self.held.descriptor, at)
            self.size_bytes = at

    def _taken(self) -> bool:
        """Try once; the lock counts only while the locked log has its name."""
        while True:
            if self.held.descriptor < 0:
                self.held = files.HeldFile()
                self.held.descriptor = _open(self._path)
                lock.open_turns.add(self._self)
            if not seam.take(self.held.descriptor, False):
                return False
            state = seam.fstat(self.held.descriptor)
            if not stat.S_ISREG(state.st_mode):
                raise StoreWriteError(f"{self._path} is no plain file and was not written: remove it.", path=self._path)
            if self._is_named():
                if state.st_nlink > 1:
                    # A second name, planted or left by a repair that was killed: what we append would land there too.
                    raw = read_at(self.held, self._path, 0, state.st_size)
                    atomic.replace_bytes(self._path, [raw], durability=self._durability)[0].close()
                    self._close()
                    continue
                if state.st_mode & 0o777 != 0o600 and seam.fchmod:
                    seam.fchmod(self.held.descriptor, 0o600)
                self.size_bytes = state.st_size
                return True
            self._close()

    def _is_named(self) -> bool:
        try:
            named, locked = seam.lstat(self._path), seam.fstat(self.held.descriptor)
        except FileNotFoundError:
            return False
        return (named.st_ino, named.st_dev) == (locked.st_ino, locked.st_dev)

    def _close(self) -> None:
        lock.open_turns.discard(self._self)
        self.held.close()

    # Ctrl-C between two lines of a turn leaves it to nobody; the lock then ends with the object.
    __del__ = _close

    def drop_copy(self) -> None:
        """Close a forked child's copy of the descriptor, without unlocking: the lock is still the parent's."""
        self.held.close()


def _open(path: str) -> int:
    try:
        return seam.open(path, _WRITE_FLAGS, 0o600)
    except FileNotFoundError:
        files.make_directory(os.path.dirname(path))  # removed since the engine was opened; a writer makes it anew
    return seam.open(path, _WRITE_FLAGS, 0o600)


def _refused(path: str, error: OSError) -> StoreWriteError:
    return StoreWriteError(
        f"Cannot open the log {path}: {error.strerror}. Nothing was written: check that the directory is writable and "
        f"that no link or directory stands there.", path=path, cause=error,
    )
