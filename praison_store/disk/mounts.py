"""Tell what file system a directory is on, and what cannot be promised there."""

from __future__ import annotations

import os
import re

from ..errors import StoreReadError
from . import files

_NETWORK = "its locks and flushes are another machine's, so that neither turns nor durability are promised"
_CAVEATS = {
    "tmpfs": "it is memory: a restart of the machine forgets every session",
    "ramfs": "it is memory: a restart of the machine forgets every session",
    "overlay": "two mounts of one lower directory do not share locks: share the mount, or use a volume",
    "vfat": "it keeps no permissions, so that others may read the sessions, and folds the case of names",
    "exfat": "it keeps no permissions, so that others may read the sessions, and folds the case of names",
    **dict.fromkeys(("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "virtiofs"),
                    _NETWORK),
}
_FUSE = "a program stands behind it: locks and durability are what that program makes of them"
_OPTIONS = {
    "nobarrier": "mounted with nobarrier: a loss of power may take what was acknowledged",
    "barrier=0": "mounted with barrier=0: a loss of power may take what was acknowledged",
    "data=writeback": "mounted with data=writeback: rely on durability full only",
    "nolock": "mounted with nolock: writers of other machines take no turns",
}
_TABLE = "/proc/self/mountinfo"
_MOST_BYTES = 1 << 24  # of the table, which tells no size of its own
_ESCAPE = re.compile(r"\\([0-7]{3})")


def file_system_of(path: str) -> tuple[str, list[str]]:
    """
    Return the kind of a directory's file system and what cannot be promised there; ("", []) where nothing tells.

    Source: /proc/self/mountinfo of Linux, whose last line about a mount point is the one in force.
    """
    real = os.path.realpath(path)
    found, kind, options = "", "", ""
    for line in _mounts().decode("utf-8", "surrogateescape").split("\n")[:-1]:
        before, _, behind = line.partition(" - ")
        point = _ESCAPE.sub(lambda escape: chr(int(escape[1], 8)), before.split(" ")[4])
        if len(point) >= len(found) and (real == point or real.startswith(point.rstrip("/") + "/")):
            found, kind = point, behind.split(" ")[0]
            options = behind.split(" ")[-1]  # those of the file system; what a mount adds promises nothing less
    told = [_CAVEATS[kind]] if kind in _CAVEATS else [_FUSE] if kind.startswith("fuse") else []
    return kind, told + [text for option, text in _OPTIONS.items() if option in options.split(",")]


def _mounts() -> bytes:
    try:
        opened = files.open_to_read(_TABLE)
    except StoreReadError:
        return b""  # what cannot be told is left out, and no reason not to look at the sessions
    if opened is None:
        return b""
    try:
        return files.read_all(opened[0], _TABLE, _MOST_BYTES)
    finally:
        opened[0].close()
