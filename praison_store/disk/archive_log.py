"""
The archive of one session: `.archive/<id>.jsonl`, a title that names the session, then one message per line, written
only behind what is committed.

The session's file says how many bytes of the archive are its own (`archived_bytes`). What stands behind them was left
by a write that never finished; the next one cuts it off, so a message is in the archive or in the window, once.
"""

from __future__ import annotations

import logging
import os
import stat

from ..errors import OutcomeUnknownError, StoreReadError, StoreWriteError
from . import atomic, files, seam

logger = logging.getLogger("praison_store")
DIRECTORY = ".archive"
_FLAGS = os.O_RDWR | os.O_CREAT | files.NOFOLLOW | files.BINARY


def path_of(session_path: str) -> str:
    """Return the path of a session's archive."""
    directory, name = os.path.split(session_path)
    return f"{directory}/{DIRECTORY}/{name.removesuffix('.json')}.jsonl"


def names(directory: str) -> list[str]:
    """Return the names of the archives of a directory's sessions, those that are gone included."""
    archive = os.path.join(directory, DIRECTORY)
    return [] if files.is_planted(archive) else [name for name in files.names_in(archive) if name.endswith(".jsonl")]


def whole(path: str) -> bytes:
    """Return an archive up to its last whole line, committed or not; empty where there is none."""
    raw = b"" if files.is_planted(os.path.dirname(path)) else files.bytes_of(path)
    return raw[: raw.rfind(b"\n") + 1]


def append(path: str, lines: bytes, committed_bytes: int, *, title: bytes, durability: str) -> int:
    """
    Put lines behind the committed part of an archive, durably, before the session lets go of them.

    Args:
        lines: messages, each with its newline.
        committed_bytes: how much of the file is the session's; what stands behind it is cut off.
        title: the line a new archive begins with; it names the session, so that no later one of its id adopts it.
    Returns:
        The new committed length in bytes.
    Raises:
        StoreWriteError: The committed part is as it was.
    """
    directory = os.path.dirname(path)
    if files.is_planted(directory):
        raise StoreWriteError(f"{directory} is no directory of its own: remove it. Nothing was stored.", path=directory)
    files.make_directory(directory)
    try:
        held = files.HeldFile()
        held.descriptor = seam.open(path, _FLAGS, 0o600)
        try:
            state = seam.fstat(held.descriptor)
            # A second hard link means the name was planted: what we write would land in somebody's other file.
            if not stat.S_ISREG(state.st_mode) or state.st_nlink > 1:
                message = f"{path} is no plain file of its own: put a copy of it in its place. Nothing was stored."
                raise StoreWriteError(message, path=path)
            if state.st_mode & 0o777 != 0o600 and seam.fchmod:
                seam.fchmod(held.descriptor, 0o600)
            if state.st_size < committed_bytes:
                logger.error("%s lacks %d archived bytes: restore it", path, committed_bytes - state.st_size)
            committed_bytes = min(committed_bytes, state.st_size)
            if state.st_size > committed_bytes:
                seam.ftruncate(held.descriptor, committed_bytes)
            seam.lseek(held.descriptor, committed_bytes, os.SEEK_SET)
            start = title if not committed_bytes else _missing_newline(held, committed_bytes)
            files.write_all(held.descriptor, [start, lines])
            if durability != "process":
                seam.fsync(held.descriptor)
                # Every time, because a store that promises less may have made the file and left its name unflushed.
                files.sync_directory(directory)
        finally:
            held.close()
    except StoreWriteError:
        raise
    except OSError as error:
        raise StoreWriteError(
            f"Cannot write the archive {path}: {error.strerror}. Nothing was stored and no message left the session: "
            f"make room or permission, then try again.", path=path, cause=error,
        ) from error
    return committed_bytes + len(start) + len(lines)


def _missing_newline(held: files.HeldFile, committed_bytes: int) -> bytes:
    """Return the newline a cut archive lacks, so that a message never stands behind half of another."""
    seam.lseek(held.descriptor, committed_bytes - 1, os.SEEK_SET)
    return b"" if seam.read(held.descriptor, 1) == b"\n" else b"\n"


def read(path: str, committed_bytes: int) -> bytes:
    """Return the committed part of an archive; empty where there is none. Raises StoreReadError."""
    if not committed_bytes:
        return b""
    directory = os.path.dirname(path)
    if files.is_planted(directory):
        raise StoreReadError(f"{directory} is no directory of its own: remove it. Nothing was read.", path=directory)
    opened = files.open_to_read(path)
    if opened is None:
        return b""
    held, _state = opened
    try:
        return files.read_all(held, path, committed_bytes)
    finally:
        held.close()


def remove(path: str) -> None:
    """
    Remove the archive of a session that let go of it, if there is one.

    Raises:
        OutcomeUnknownError: The session is as it should be, and the archive is still there.
    """
    try:
        if not files.is_planted(os.path.dirname(path)):
            atomic.remove(path)
    except OSError as error:
        raise OutcomeUnknownError(
            f"The session is as you asked, but its archive {path} could not be removed: {error.strerror}. vacuum() "
            f"removes it once the session is deleted.", path=path, cause=error,
        ) from error
