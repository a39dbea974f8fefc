"""The floor: the least work that stores the same bytes as safely, with no thought of what they mean."""

from __future__ import annotations

import os
from pathlib import Path

try:
    import fcntl
except ImportError as error:  # pragma: no cover - the benchmarks run where flock is
    raise SystemExit(f"The floor needs flock, which this system has not ({error.name} is missing).") from error

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def replace_bytes(path: str, content: bytes, durability: str) -> None:
    """
    Replace a file: lock, temporary file, write, rename, unlock; flushed as far as `durability` says.

    Args:
        durability: `process`; `ordered` (the file is flushed before the rename); `full` (its directory after it too).
    """
    lock = os.open(path + ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    temporary = f"{path}.{os.urandom(8).hex()}.tmp"
    file = os.open(temporary, _NEW, 0o600)
    os.write(file, content)
    if durability != "process":
        os.fsync(file)
    os.close(file)
    os.replace(temporary, path)
    if durability == "full":
        settle(os.path.dirname(path))
    fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)


def settle(directory: str | Path) -> None:
    """
    Flush a directory.

    Between the turns of contenders that flush, so that none of them pays for the bytes another left unflushed.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def read_bytes(path: str) -> bytes:
    """Return a file's bytes."""
    descriptor = os.open(path, os.O_RDONLY)
    content = os.read(descriptor, os.fstat(descriptor).st_size)
    os.close(descriptor)
    return content
