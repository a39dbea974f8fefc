"""The disk asked directly: short reads and writes, systems that lack a call, and files that are not as they were left."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from praison_store import LockTimeoutError, StoreReadError, StoreWriteError
from praison_store.disk import archive_log, atomic, files, lock, quarantine, seam


@pytest.fixture
def _strict_umask() -> Iterator[None]:
    """Take every right from new files until the test ends."""
    before = os.umask(0o777)
    yield
    os.umask(before)


def piecewise(size_bytes: int) -> Callable[..., Any]:
    """Return a system that reads and writes only so many bytes at once."""
    def around(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name == "writev":
            return os.write(args[0], b"".join(args[1])[:size_bytes])
        if name == "read":
            return call(args[0], min(args[1], size_bytes))
        return call(*args, **named)
    return around


def failing(number: int, *refused: str) -> Callable[..., Any]:
    """Return a system that refuses some kinds of call."""
    def around(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name in refused:
            raise OSError(number, os.strerror(number))
        return call(*args, **named)
    return around


@pytest.mark.parametrize("size_bytes", [1, 2, 3, 5, 6, 7, 100])
def test_D1_a_system_that_takes_and_gives_less_than_asked_is_asked_again(tmp_path: Path, size_bytes: int) -> None:
    """Goal: nothing is lost between two pieces. Method: every size around the borders of three chunks, one empty."""
    path = str(tmp_path / "file")
    with seam.intercept(piecewise(size_bytes)):
        held, told = atomic.replace_bytes(path, [b"abc", b"", memoryview(b"def")], durability="full")
        assert b"abcdef" == files.read_all(open_of(path), path)
        assert b"abcd" == files.read_all(open_of(path), path, 4)
    held.close()
    assert files.signature_of(path) == told
    assert b"abcdef" == files.bytes_of(path)


def open_of(path: str) -> files.HeldFile:
    """Return a file that is there, open."""
    opened = files.open_to_read(path)
    assert opened is not None
    return opened[0]


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1025, 2049])
def test_more_pieces_than_the_system_takes_at_once_are_all_written(tmp_path: Path, count: int) -> None:
    """Goal: no limit of the system loses a piece. Method: counts around the limit."""
    path, chunks = str(tmp_path / "file"), [b"%d," % number for number in range(count)]
    atomic.replace_bytes(path, chunks, durability="process")[0].close()
    assert b"".join(chunks) == files.bytes_of(path)


@pytest.mark.parametrize("count", [1, 1500])
def test_a_system_without_writev_is_written_to_piece_by_piece(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: the slow way stores the same. Method: a seam that lacks the call."""
    monkeypatch.setattr(seam, "writev", None)
    path, chunks = str(tmp_path / "file"), [b"%d," % number for number in range(count)]
    atomic.replace_bytes(path, chunks, durability="process")[0].close()
    assert b"".join(chunks) == files.bytes_of(path)


def test_D7_a_system_that_writes_nothing_is_an_error_and_no_endless_loop(tmp_path: Path) -> None:
    """Goal: a write ends. Method: a system that takes no byte; the old file stays, no temporary one is left."""
    (tmp_path / "file").write_bytes(b"old")
    with seam.intercept(piecewise(0)), pytest.raises(StoreWriteError) as refused:
        atomic.replace_bytes(str(tmp_path / "file"), [b"new"], durability="full")
    assert isinstance(refused.value.__cause__, OSError)
    assert errno.EIO == refused.value.__cause__.errno
    assert ["file"] == os.listdir(tmp_path)
    assert b"old" == (tmp_path / "file").read_bytes()


@pytest.mark.usefixtures("_strict_umask")
def test_D8_files_and_directories_have_their_owner_s_rights_under_any_umask(tmp_path: Path) -> None:
    """Goal: what is stored can be read again, by the owner alone. Method: a umask that takes every right."""
    directory = str(tmp_path / "a" / "b")
    files.make_directory(directory)
    path = f"{directory}/s.json"
    atomic.replace_bytes(path, [b"{}"], durability="process")[0].close()
    with lock.exclusive(path, timeout_s=1.0):
        archive_log.append(archive_log.path_of(path), b"x\n", 0, title=b"t\n", durability="process")
    rights = {name: stat.S_IMODE(os.lstat(name).st_mode) for name in (
        str(tmp_path / "a"), directory, path, path + ".lock", archive_log.path_of(path))}
    assert [0o700, 0o700, 0o600, 0o600, 0o600] == list(rights.values())


def test_a_file_that_is_not_there_is_removed_once(tmp_path: Path) -> None:
    """Goal: the answer tells whether something went. Method: remove twice, then what cannot be removed."""
    (tmp_path / "file").write_bytes(b"")
    assert [True, False] == [atomic.remove(str(tmp_path / "file")) for _ in range(2)]
    with pytest.raises(StoreWriteError):
        atomic.remove(str(tmp_path))


def test_a_directory_s_name_that_is_a_file_s_is_refused(tmp_path: Path) -> None:
    """Goal: the error is typed and names the path. Method: a file in the way, at the end and in the middle."""
    (tmp_path / "file").write_bytes(b"")
    for name in ("file", "file/below"):
        with pytest.raises(StoreWriteError):
            files.make_directory(str(tmp_path / name))
    files.make_directory(str(tmp_path))


@pytest.mark.parametrize("call", ["lstat", "open", "fstat", "read", "scandir"])
def test_D7_a_look_that_fails_is_told_and_leaves_nothing_open(tmp_path: Path, call: str) -> None:
    """Goal: a failure is no empty answer. Method: each call of a reader fails with EIO."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    looks: dict[str, Callable[[], Any]] = {
        "lstat": lambda: files.signature_of(str(path)), "scandir": lambda: files.names_in(str(tmp_path)),
    }
    with seam.intercept(failing(errno.EIO, call)), pytest.raises(StoreReadError) as refused:
        looks.get(call, lambda: files.bytes_of(str(path)))()
    assert isinstance(refused.value.__cause__, OSError)
    assert errno.EIO == refused.value.__cause__.errno


def test_an_archive_is_cut_to_its_committed_part_and_joined_by_a_newline(tmp_path: Path) -> None:
    """Goal: no message stands behind half of another. Method: a new archive, an unfinished tail, a torn end."""
    path = str(tmp_path / ".archive" / "s.jsonl")
    assert b"" == archive_log.whole(path) == archive_log.read(path, 5)
    first = archive_log.append(path, b"one\n", 0, title=b"title\n", durability="full")
    assert (10, b"title\none\n") == (first, files.bytes_of(path))
    Path(path).write_bytes(b"title\none\nunfinished")
    assert b"title\none\n" == archive_log.whole(path) == archive_log.read(path, first)
    second = archive_log.append(path, b"two\n", first, title=b"title\n", durability="full")
    assert (14, b"title\none\ntwo\n") == (second, files.bytes_of(path))
    Path(path).write_bytes(b"title\non")
    third = archive_log.append(path, b"three\n", second, title=b"title\n", durability="full")
    assert (15, b"title\non\nthree\n") == (third, files.bytes_of(path))
    assert ["s.jsonl"] == archive_log.names(str(tmp_path))


@pytest.mark.parametrize("call", ["link", "none"])
def test_D5_a_damaged_file_is_kept_whole_where_the_system_links_and_where_not(tmp_path: Path, call: str) -> None:
    """Goal: what was damaged is there to look at. Method: keep it with a link, and with a system that has none."""
    path = tmp_path / "s.json"
    path.write_bytes(b"damaged")
    with seam.intercept(failing(errno.EPERM, call)):
        kept = tmp_path / quarantine.keep(str(path), b"damaged")
    assert b"damaged" == kept.read_bytes() == path.read_bytes()
    assert (call == "link") == kept.name.endswith(".copy")
    assert (".quarantine", call == "none") == (kept.parent.name, kept.samefile(path))
    assert call == "none" or 0o600 == stat.S_IMODE(kept.stat().st_mode)


@pytest.mark.parametrize("call", ["fsync", "writev", "open"])
def test_D5_a_copy_that_fails_leaves_nothing_and_is_told(tmp_path: Path, call: str) -> None:
    """Goal: half a copy does not pass for the damaged file. Method: a system that cannot link, nor one thing more."""
    path, directory = tmp_path / "s.json", tmp_path / ".quarantine"
    directory.mkdir()
    path.write_bytes(b"damaged")
    with seam.intercept(failing(errno.EIO, "link", call)), pytest.raises(StoreWriteError):
        quarantine.keep(str(path), b"damaged")
    assert [] == os.listdir(directory)
    assert b"damaged" == path.read_bytes()


def test_D3_a_turn_ends_with_its_block_though_a_copy_of_its_descriptor_is_open(tmp_path: Path) -> None:
    """Goal: a child forked meanwhile keeps nobody out. Method: a copy of the descriptor, as a fork makes one."""
    path = str(tmp_path / "s.json")
    with lock.exclusive(path, timeout_s=1.0) as turn:
        copy = os.dup(turn._descriptor)
        with pytest.raises(LockTimeoutError) as refused, lock.exclusive(path, timeout_s=0):
            pass
        assert os.getpid() in refused.value.holder
    with lock.exclusive(path, timeout_s=0):
        os.close(copy)


def test_D3_a_lock_the_system_refuses_is_told_and_closed(tmp_path: Path) -> None:
    """Goal: a file system without locks loses nothing in silence. Method: ENOLCK at the lock."""
    path = str(tmp_path / "s.json")
    with (
        seam.intercept(failing(errno.ENOLCK, "lock")), pytest.raises(StoreWriteError, match="Cannot lock") as refused,
        lock.exclusive(path, timeout_s=1.0),
    ):
        pass
    assert isinstance(refused.value.__cause__, OSError)
    assert errno.ENOLCK == refused.value.__cause__.errno


def test_D8_a_link_in_the_place_of_the_quarantine_is_refused(tmp_path: Path) -> None:
    """Goal: nothing damaged leaves the store's directory. Method: a link in the quarantine's place."""
    (tmp_path / "s.json").write_bytes(b"damaged")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".quarantine").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreWriteError, match="is a link"):
        quarantine.keep(str(tmp_path / "s.json"), b"damaged")
    assert [] == os.listdir(tmp_path / "elsewhere")
