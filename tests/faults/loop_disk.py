"""A disk of one's own in a file: made, mounted, its power cut, mounted again; for a process behind `run_mounted`."""

from __future__ import annotations

import ctypes
import fcntl
import gc
import os
import subprocess
from pathlib import Path
from types import TracebackType

_libc = ctypes.CDLL(None, use_errno=True)
# The same number for ext4 (EXT4_IOC_SHUTDOWN) and XFS (XFS_IOC_GOINGDOWN); the flag leaves the journal unflushed.
_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2
_MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}
_SMALLEST_MB = {"ext4": 48, "xfs": 320, "btrfs": 128}


class LoopDisk:
    """
    A file system on a loop device, mounted at a directory for the length of a block.

    Args:
        kind: `ext4`, `xfs` or `btrfs`. directory: an empty one, for the disk's bytes and its mount point.
        made_with: arguments of its mkfs. mounted_with: options of its mount.
    """

    def __init__(
        self, kind: str, directory: Path, *, size_mb: int = 0, made_with: tuple[str, ...] = (), mounted_with: str = ""
    ) -> None:
        self.kind, self.root, self._mounted_with = kind, directory / "root", mounted_with
        self._image = directory / "image"
        with self._image.open("wb") as file:
            file.truncate((size_mb or _SMALLEST_MB[kind]) << 20)
        run(*_MAKE[kind], *made_with, str(self._image))
        self.root.mkdir()

    def __enter__(self) -> LoopDisk:
        self.mount()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unmount()

    def mount(self) -> None:
        """Mount it; after a loss of power its journal is replayed."""
        # A device of its own for every mount: what the last one had in memory and not on the disk must not be seen.
        device = run("losetup", "--find", "--show", str(self._image)).strip()
        try:
            texts = (device, str(self.root), self.kind, self._mounted_with)
            source, target, kind, options = (text.encode() for text in texts)
            _checked(_libc.mount(source, target, kind, 0, options), f"mount {self.kind}")
        finally:
            run("losetup", "--detach", device)  # as soon as it is unmounted, also where this process is killed

    def unmount(self) -> None:
        """Unmount it; whoever has a file of it open makes this fail."""
        gc.collect()
        _checked(_libc.umount2(str(self.root).encode(), 0), "unmount")

    def cut_power(self) -> None:
        """Let nothing reach the disk any more, from now on; what its journal has not written yet is gone."""
        descriptor = os.open(self.root, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, _NO_LOG_FLUSH.to_bytes(4, "little"))
        finally:
            os.close(descriptor)

    def sync(self) -> None:
        """Flush all of it, as the system does by itself every few seconds."""
        descriptor = os.open(self.root, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _checked(_libc.syncfs(descriptor), "syncfs")
        finally:
            os.close(descriptor)

    def flush_a_neighbour(self) -> None:
        """Flush one file of somebody else's: the journal is written, and the bytes of other files are not."""
        descriptor = os.open(self.root / "neighbour", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, b"x" * 100)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def run(*command: str) -> str:
    """Run a program and return what it printed; its errors are in the exception."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60.0, check=False)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)}: {ended.stderr.strip()}")
    return ended.stdout


def _checked(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
