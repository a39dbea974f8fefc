"""What a check tells of the file system the sessions are on."""

from __future__ import annotations

from pathlib import Path

import pytest

from praison_store import DefaultSessionStore
from praison_store.disk import mounts

TABLE = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /dev/shm rw,nosuid - tmpfs tmpfs rw
40 22 0:40 / /mnt/share\\040of\\040all rw - nfs4 server:/x rw,nolock
41 22 0:41 / /mnt/over rw - overlay overlay rw,lowerdir=/a
42 22 0:42 / /mnt/program rw - fuse.sshfs me@host: rw
43 22 254:1 / /mnt/fast rw,noatime - ext4 /dev/vdb rw,nobarrier,data=writeback
44 22 254:2 / /mnt/twice rw - ext4 /dev/vdc rw
45 22 0:45 / /mnt/twice rw - cifs //server/x rw
"""


@pytest.mark.parametrize(("path", "kind", "told"), [
    ("/home/me", "ext4", []), ("/dev/shm/x", "tmpfs", ["it is memory"]), ("/mnt/share of all/x", "nfs4", ["another machine", "nolock"]),
    ("/mnt/over", "overlay", ["two mounts"]), ("/mnt/overall", "ext4", []), ("/mnt/program/a/b", "fuse.sshfs", ["a program"]),
    ("/mnt/fast", "ext4", ["nobarrier", "data=writeback"]), ("/mnt/twice", "cifs", ["another machine"]),
])
def test_a_file_system_is_told_by_the_table_of_mounts(
    path: str, kind: str, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: the longest mount point that holds the path, and its last line. Method: a table as Linux writes it."""
    table = tmp_path / "mountinfo"
    table.write_text(TABLE)
    monkeypatch.setattr(mounts, "_TABLE", str(table))
    found, caveats = mounts.file_system_of(path)
    assert kind == found
    assert len(told) == len(caveats)
    assert all(part in caveat for part, caveat in zip(told, caveats, strict=True))


@pytest.mark.parametrize(("kind", "option", "told"), [
    *((kind, "rw", "it is memory") for kind in ("tmpfs", "ramfs")),
    *((kind, "rw", "no permissions") for kind in ("vfat", "exfat")),
    *((kind, "rw", "another machine") for kind in (
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "virtiofs")),
    ("ext4", "rw", ""), ("xfs", "rw", ""), ("ext4", "rw,barrier=0", "barrier=0"), ("ext4", "barriers", ""),
])
def test_every_file_system_that_keeps_less_is_told(
    kind: str, option: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: nobody trusts a file system with what it does not do. Method: a table of one mount for each kind."""
    table = tmp_path / "mountinfo"
    table.write_text(f"22 1 254:0 / / rw,relatime shared:1 - {kind} /dev/vda {option}\n")
    monkeypatch.setattr(mounts, "_TABLE", str(table))
    found, caveats = mounts.file_system_of("/home/me")
    assert (kind, bool(told)) == (found, bool(caveats))
    assert told in "".join(caveats)


def test_where_there_is_no_table_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a check needs no Linux. Method: a table that is missing, and one that is a directory."""
    for name in ("missing", ""):
        monkeypatch.setattr(mounts, "_TABLE", str(tmp_path / name))
        assert ("", []) == mounts.file_system_of("/")


def test_a_check_names_the_file_system(tmp_path: Path) -> None:
    """Goal: the report says where it looked. Method: a directory here, whatever it is on."""
    with DefaultSessionStore(tmp_path) as store:
        report = store.check()
    assert mounts.file_system_of(str(tmp_path)) == (report.file_system, report.not_promised)
    assert report.ok
