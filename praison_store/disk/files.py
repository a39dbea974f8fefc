"""Open, read and describe single files, refusing whatever is no plain file (D8)."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from ..errors import StoreReadError, StoreWriteError
from . import seam

NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
BINARY = getattr(os, "O_BINARY", 0)
_READ_FLAGS = os.O_RDONLY | NOFOLLOW | BINARY
_PIECE_BYTES = 1 << 30
_IOV_MAX = 1024  # pieces one writev takes
# Windows does not let a file be replaced while somebody has it open, so nothing is kept open there.
CAN_HOLD = os.name == "posix"

Signature = tuple[int, int, int, int, int]


class HeldFile:
    """
    A descriptor kept open, closed with this object.

    As long as it is open the system cannot give the file's inode number to another file, so an equal signature
    proves an unchanged file (D10). An object, not an int, so that nothing forgets to close it; made before the file is
    opened, so that Ctrl-C finds no line between the two.
    """

    __slots__ = ("descriptor",)

    def __init__(self) -> None:
        self.descriptor = -1

    def close(self) -> None:
        """Close the descriptor; once is enough. What had to reach the disk was flushed before, so no error counts."""
        if self.descriptor >= 0:
            try:  # noqa: SIM105 - suppress is an object, and without memory `__del__` would leave the file open
                seam.close(self._forgotten())
            except OSError:
                pass

    def _forgotten(self) -> int:
        # Forgotten first, because closing twice may close another's; and in no line of its own, because what an
        # interrupt finds forgotten and open stays open for good. Within the line it may still come, behind `setattr`;
        # one descriptor left open by a Ctrl-C is the lesser harm.
        descriptor = self.descriptor
        return setattr(self, "descriptor", -1) or descriptor  # type: ignore[func-returns-value] # that None is meant

    def __del__(self) -> None:
        self.close()


def signature(state: os.stat_result) -> Signature:
    """Return what changes when a file is replaced or edited."""
    return state.st_ino, state.st_dev, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def signature_of(path: str) -> Signature | None:
    """Return the signature of the file at a path; None where there is none. Raises StoreReadError."""
    try:
        return signature(seam.lstat(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error


def open_to_read(path: str) -> tuple[HeldFile, os.stat_result] | None:
    """
    Return an open plain file and its state; None where there is none.

    Raises:
        StoreReadError: No permission, an I/O error, or no plain file: a link, FIFO or directory is not followed.
    """
    try:
        held = HeldFile()
        held.descriptor = seam.open(path, _READ_FLAGS)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        state = seam.fstat(held.descriptor)
    except OSError as error:
        held.close()
        raise unreadable(path, error) from error
    if not stat.S_ISREG(state.st_mode):
        held.close()
        raise unreadable(path, OSError(errno.EINVAL, "it is no plain file"))
    return held, state


def read_all(held: HeldFile, path: str, size_bytes: int | None = None) -> bytes:
    """Return a file's bytes from its start: all, or the first `size_bytes`. Raises StoreReadError."""
    pieces: list[bytes] = []
    wanted = size_bytes
    try:
        if wanted is None:
            wanted = seam.fstat(held.descriptor).st_size
        while wanted > 0:
            piece = seam.read(held.descriptor, min(wanted, _PIECE_BYTES))
            if not piece:
                break
            pieces.append(piece)
            wanted -= len(piece)
    except OSError as error:
        raise unreadable(path, error) from error
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def bytes_of(path: str) -> bytes:
    """Return a plain file's bytes; none where there is no file. Raises StoreReadError."""
    opened = open_to_read(path)
    if opened is None:
        return b""
    held, state = opened
    try:
        return read_all(held, path, state.st_size)
    finally:
        held.close()


def write_all(descriptor: int, chunks: Sequence[bytes | memoryview]) -> None:
    """Write pieces one after the other, all of them: the system may take less than asked. Raises OSError."""
    written = seam.writev(descriptor, chunks) if seam.writev and len(chunks) <= _IOV_MAX else 0
    if written == sum(map(len, chunks)):
        return
    pending = list(chunks)
    while True:
        while pending and written >= len(pending[0]):
            written -= len(pending.pop(0))
        if not pending:
            return
        if written:
            pending[0] = memoryview(pending[0])[written:]
        written = seam.writev(descriptor, pending[:_IOV_MAX]) if seam.writev else seam.write(descriptor, pending[0])
        if written <= 0:
            raise OSError(errno.EIO, "the system wrote nothing")


def sync_directory(path: str) -> None:
    """Flush a directory's entries to disk, where the system can. Raises OSError."""
    if os.name != "posix":
        return
    held = HeldFile()
    held.descriptor = seam.open(path or ".", os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        seam.fsync(held.descriptor)
    finally:
        held.close()


def make_directory(path: str) -> None:
    """
    Make a directory and its parents, for the owner alone (0700 under any umask), durably; one that exists stays.

    Raises:
        StoreWriteError: It cannot be made, or something else stands there.
    """
    missing = []
    current = path
    try:
        while current and not _is_directory(current):
            missing.append(current)
            parent = os.path.dirname(current)
            if parent == current:
                break
            current = parent
        for directory in reversed(missing):
            try:
                seam.mkdir(directory, 0o700)
            except FileExistsError:
                if not _is_directory(directory):
                    raise
                continue  # another process made it meanwhile
            seam.chmod(directory, 0o700)
            sync_directory(os.path.dirname(directory))
    except OSError as error:
        raise StoreWriteError(
            f"Cannot make the directory {path}: {error.strerror}. Pass a session_dir that is or can become a "
            f"directory you may write.", path=path, cause=error,
        ) from error


def _is_directory(path: str) -> bool:
    """Tell whether a directory, or a link to one, is there. Raises OSError where the system does not tell."""
    try:
        return stat.S_ISDIR(seam.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_planted(directory: str) -> bool:
    """
    Tell whether something other than a directory stands in its place; a link would lead out of ours (D8).

    Raises:
        StoreReadError: The system does not tell.
    """
    try:
        return not stat.S_ISDIR(seam.lstat(directory).st_mode)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unreadable(directory, error) from error


def names_in(directory: str) -> list[str]:
    """Return the names in a directory, in no order; none where there is no directory. Raises StoreReadError."""
    try:
        with seam.scandir(directory) as entries:
            return [entry.name for entry in entries]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(directory, error) from error


def unreadable(path: str, error: OSError) -> StoreReadError:
    """Return the error of a file that is there and cannot be read."""
    reason = "it is a link, which is never followed" if error.errno == errno.ELOOP else error.strerror
    return StoreReadError(f"Cannot read {path}: {reason}. Nothing was changed.", path=path, cause=error)
