"""Put new bytes in the place of a file, so that a reader sees the old ones or the new ones and nothing else (D1)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from ..errors import OutcomeUnknownError, StoreWriteError
from . import files, seam

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | files.NOFOLLOW | files.BINARY


def replace_bytes(
    path: str, chunks: Sequence[bytes | memoryview], *, durability: str
) -> tuple[files.HeldFile, files.Signature | None]:
    """
    Replace a file by new bytes.

    Args:
        chunks: written one after the other.
        durability: `full` (file flushed, renamed, directory flushed), `ordered` (file flushed, renamed) or `process`.
    Returns:
        The new file, open, at its end, and its signature (None, which equals no other, where the system does not tell).
    Raises:
        StoreWriteError: The old file is whole, and no temporary file is left.
        OutcomeUnknownError: The new file is in place, but flushing the directory failed.
    Cost: benchmarks/append.py measures it beside the least work that stores the same bytes.
    """
    # A name of its own for every write, because two processes that share one temporary name can rename each
    # other's half-written bytes into place (D1).
    temporary = f"{path}.{os.urandom(8).hex()}.tmp"
    try:
        held = files.HeldFile()
        held.descriptor = seam.open(temporary, _FLAGS, 0o600)
    except OSError as error:
        raise failed(path, error) from error
    try:
        files.write_all(held.descriptor, chunks)
        if durability != "process":
            seam.fsync(held.descriptor)
        if not files.CAN_HOLD:
            held.close()
        seam.replace(temporary, path)
    except BaseException as error:
        held.close()
        _remove(temporary)
        if isinstance(error, OSError):
            raise failed(path, error) from error
        raise
    try:
        signature = _settled(held)
        if durability == "full":
            flush_names(path)
    except BaseException:
        held.close()
        raise
    return held, signature


def _settled(held: files.HeldFile) -> files.Signature | None:
    """Return the signature of a file in its place, after giving the owner the rights a umask may have taken."""
    if held.descriptor < 0:
        return None
    try:
        state = seam.fstat(held.descriptor)
        if state.st_mode & 0o777 != 0o600 and seam.fchmod:
            # Behind the rename, because one fstat serves both; a umask only ever leaves the file too private.
            seam.fchmod(held.descriptor, 0o600)
            state = seam.fstat(held.descriptor)
    except OSError:
        return None
    return files.signature(state)


def flush_names(path: str) -> None:
    """
    Flush the directory of a file that was just renamed, made or removed.

    Raises:
        OutcomeUnknownError: The change is in place, but may not outlive a loss of power.
    """
    try:
        files.sync_directory(os.path.dirname(path))
    except OSError as error:
        raise OutcomeUnknownError(
            f"The change of {path} is in place, but flushing its directory failed: {error.strerror}. It may not "
            f"outlive a loss of power: check the disk, and retry with the same message_id.", path=path, cause=error,
        ) from error


def remove(path: str) -> bool:
    """Remove a file; False where there was none. Raises StoreWriteError."""
    try:
        seam.unlink(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        message = f"Cannot remove {path}: {error.strerror}. It is still there: check the rights on its directory."
        raise StoreWriteError(message, path=path, cause=error) from error
    return True


def _remove(temporary: str) -> None:
    with suppress(OSError):  # the first failure is the one to tell; vacuum() removes what a dying disk would not
        seam.unlink(temporary)


def failed(path: str, error: OSError) -> StoreWriteError:
    """Return the error of a write that stored nothing."""
    return StoreWriteError(
        f"Cannot write {path}: {error.strerror}. Nothing was stored and the old session is whole: make room or "
        f"permission, then try again.", path=path, cause=error,
    )
