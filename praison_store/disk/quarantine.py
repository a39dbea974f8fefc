"""Keep the bytes of a damaged file in `.quarantine/` before anything takes its place (D5)."""

from __future__ import annotations

import os
from datetime import datetime, timezone

from ..errors import StoreWriteError
from . import files, seam

DIRECTORY = ".quarantine"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | files.NOFOLLOW | files.BINARY


def keep_copy(path: str, raw: bytes) -> str:
    """
    Store the bytes of a damaged file, durably, under a new name.

    A copy, not a rename: between a rename and the repaired file a reader without a lock would see no session.

    Returns:
        The copy's name, relative to the directory of `path`: `.quarantine/<file>.<UTC time>`.
    Raises:
        StoreWriteError: The damaged file stands where it stood.
    """
    base = os.path.dirname(path)
    when = datetime.fromtimestamp(seam.time(), timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
    name = os.path.join(DIRECTORY, f"{os.path.basename(path)}.{when}")
    directory = os.path.join(base, DIRECTORY)
    if os.path.islink(directory):
        raise StoreWriteError(f"{directory} is a link: remove it. Nothing was changed.", path=directory)
    files.make_directory(directory)
    try:
        held = files.HeldFile(seam.open(os.path.join(base, name), _FLAGS, 0o600))
        try:
            files.write_all(held.descriptor, [raw])
            if seam.fchmod:
                seam.fchmod(held.descriptor, 0o600)
            seam.fsync(held.descriptor)
        except BaseException:
            seam.unlink(os.path.join(base, name))
            raise
        finally:
            held.close()
        files.sync_directory(directory)
    except OSError as error:
        raise StoreWriteError(
            f"Cannot keep a copy of the damaged {path}: {error.strerror}. It stands where it stood: make room or "
            f"permission, then read it again.", path=path, cause=error,
        ) from error
    return name
