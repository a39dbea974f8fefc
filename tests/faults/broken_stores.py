"""
Stores broken on purpose, one mistake each, to show that the harnesses find it.

A mistake is a layer between the store and the seam: the store's calls go through it, and what the layer lets through
meets the harness's faults below. One mistake is no call, so it replaces a function.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from praison_store.disk import files, seam


class Sound:
    """Pass every call on; a broken store changes one or two."""

    def __getattr__(self, name: str) -> Any:
        return getattr(seam, name)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Stand between every module of the store and the seam."""
        users = [module for name, module in sys.modules.items() if name.startswith("praison_store.")]
        for module in users:
            if getattr(module, "seam", None) is seam and module.__name__ != "praison_store.disk":
                patch.setattr(module, "seam", self)


class NoLock(Sound):
    """Write without waiting for one's turn."""

    def lock(self, _descriptor: int) -> bool:
        """Say that it is locked."""
        return True

    def take(self, _descriptor: int, _shared: bool) -> bool:
        """Say that it is locked."""
        return True


class LockFileRemovedOnRelease(Sound):
    """Tidy up the lock file behind each write, as if nobody could have opened it meanwhile."""

    def __init__(self) -> None:
        self.paths: dict[int, str] = {}

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        """Remember which descriptor is whose."""
        descriptor = seam.open(path, flags, mode)
        self.paths[descriptor] = path
        return descriptor

    def unlock(self, descriptor: int) -> None:
        """Unlock, then remove the file."""
        seam.unlock(descriptor)
        with suppress(FileNotFoundError):
            seam.unlink(self.paths[descriptor])


class InPlace(Sound):
    """Write the new bytes over the old ones."""

    def replace(self, source: str, target: str) -> None:
        """Copy instead of renaming."""
        old, new = seam.open(source, os.O_RDONLY), seam.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            seam.ftruncate(new, 0)  # as O_TRUNC did; the model of the disk sees only this
            files.write_all(new, [seam.read(old, 1 << 30)])
            seam.fsync(new)
        finally:
            seam.close(old)
            seam.close(new)
        seam.unlink(source)


def _is_directory(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


class NoFlush(Sound):
    """Rename without having flushed the file."""

    def fsync(self, descriptor: int) -> None:
        """Flush directories only."""
        if _is_directory(descriptor):
            seam.fsync(descriptor)


class NoDirectoryFlush(Sound):
    """Acknowledge a rename nothing made durable."""

    def fsync(self, descriptor: int) -> None:
        """Flush files only."""
        if not _is_directory(descriptor):
            seam.fsync(descriptor)


class SwallowedFlushError(Sound):
    """Take a flush that failed for one that is not needed."""

    def fsync(self, descriptor: int) -> None:
        """Flush, whatever comes of it."""
        with suppress(OSError):
            seam.fsync(descriptor)


class IgnoredShortWrite(Sound):
    """Believe that the system wrote all it was given."""

    def writev(self, descriptor: int, chunks: Sequence[bytes]) -> int:
        """Write, and do not look how much."""
        seam.writev(descriptor, chunks)
        return sum(map(len, chunks))


class NoTailRepair(Sound):
    """Append behind whatever an unfinished write left."""

    def __init__(self) -> None:
        self.uncut: set[int] = set()

    def ftruncate(self, descriptor: int, _size_bytes: int) -> None:
        """Leave the tail where it is."""
        self.uncut.add(descriptor)

    def lseek(self, descriptor: int, offset: int, whence: int) -> int:
        """Go behind the tail."""
        if descriptor in self.uncut:
            self.uncut.discard(descriptor)
            return seam.lseek(descriptor, 0, os.SEEK_END)
        return seam.lseek(descriptor, offset, whence)


class FixedTemporaryName(Sound):
    """Write every new file under the same name first."""

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        """Take the name whoever has it."""
        if path.endswith(".tmp"):
            return seam.open(self._fixed(path), flags & ~os.O_EXCL | os.O_TRUNC, mode)
        return seam.open(path, flags, mode)

    def replace(self, source: str, target: str) -> None:
        """Rename whatever has the name."""
        seam.replace(self._fixed(source), target)

    def unlink(self, path: str) -> None:
        """Remove whatever has the name."""
        seam.unlink(self._fixed(path) if path.endswith(".tmp") else path)

    @staticmethod
    def _fixed(path: str) -> str:
        return f"{os.path.dirname(path)}/session.tmp"


class StaleCacheKey(Sound):
    """Take a file of the same size for the same file."""

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Replace what a cached session is known by."""
        patch.setattr(files, "signature", lambda state: (0, 0, state.st_size, 0, 0))


BROKEN: dict[str, type[Sound]] = {
    "no lock": NoLock,
    "lock file removed on release": LockFileRemovedOnRelease,
    "in-place write": InPlace,
    "no flush": NoFlush,
    "no directory flush": NoDirectoryFlush,
    "swallowed flush error": SwallowedFlushError,
    "ignored short write": IgnoredShortWrite,
    "no tail repair": NoTailRepair,
    "fixed temporary name": FixedTemporaryName,
    "stale cache key": StaleCacheKey,
}


@contextmanager
def broken(name: str) -> Iterator[None]:
    """Break every store of this process until the block ends."""
    with pytest.MonkeyPatch.context() as patch:
        BROKEN[name]().install(patch)
        yield
