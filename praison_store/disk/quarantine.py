"""Keep a damaged file in `.quarantine/` before anything takes its place (D5)."""

from __future__ import annotations

import os
import stat
from datetime import datetime, timezone

from ..errors import StoreWriteError
from . import files, seam

DIRECTORY = ".quarantine"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | files.NOFOLLOW | files.BINARY


def keep(path: str, raw: bytes) -> str:
    """
    Keep a damaged file under a new name, durably, before another takes its place.

    A second link, not a rename: between a rename and the repaired file a reader without a lock would see no session.
    Not a copy either, where the system can link: if the "damage" is an editor in the middle of saving, what it writes
    from now on goes to the file in quarantine instead of nowhere.

    Args:
        raw: the file's bytes, for systems that cannot link.
    Returns:
        The new name, relative to the directory of `path`: `.quarantine/<file>.<UTC time>`.
    Raises:
        StoreWriteError: The damaged file stands where it stood.
    """
    base = os.path.dirname(path)
    when = datetime.fromtimestamp(seam.time(), timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
    name = os.path.join(DIRECTORY, f"{os.path.basename(path)}.{when}")
    directory = os.path.join(base, DIRECTORY)
    try:
        is_link = stat.S_ISLNK(seam.lstat(directory).st_mode)
    except FileNotFoundError:
        is_link = False
    except OSError as error:
        raise _failed(path, error) from error
    if is_link:
        raise StoreWriteError(f"{directory} is a link: remove it. Nothing was changed.", path=directory)
    files.make_directory(directory)
    try:
        try:
            seam.link(path, os.path.join(base, name))
            _flush(path)
        except OSError:
            name += ".copy"  # a name of its own, because a link that failed may stand there all the same
            _copy(os.path.join(base, name), raw)
        files.sync_directory(directory)
    except OSError as error:
        raise _failed(path, error) from error
    return name


def _failed(path: str, error: OSError) -> StoreWriteError:
    return StoreWriteError(
        f"Cannot keep the damaged {path}: {error.strerror}. It stands where it stood: make room or "
        f"permission, then read it again.", path=path, cause=error,
    )


def _flush(path: str) -> None:
    held = files.HeldFile()
    held.descriptor = seam.open(path, os.O_RDONLY | files.NOFOLLOW | files.BINARY)
    try:
        seam.fsync(held.descriptor)
    finally:
        held.close()


def _copy(path: str, raw: bytes) -> None:
    held = files.HeldFile()
    held.descriptor = seam.open(path, _FLAGS, 0o600)
    try:
        files.write_all(held.descriptor, [raw])
        seam.fsync(held.descriptor)
    except BaseException:
        seam.unlink(path)
        raise
    finally:
        held.close()
