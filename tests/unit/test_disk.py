"""The disk asked directly: short reads and writes, systems that lack a call, and files that are not as they were left."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from praison_store import LockTimeoutError, SessionStoreError, StoreReadError, StoreWriteError
from praison_store.disk import archive_log, atomic, files, lock, log, mounts, quarantine, seam
from praison_store.engines import json_directory, json_leases


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


def test_D8_an_archive_behind_a_link_is_not_looked_at(tmp_path: Path) -> None:
    """Goal: nobody else's lines become a session's. Method: a link in the archive's place, asked in every way."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "s.jsonl").write_bytes(b"line\n")
    (tmp_path / ".archive").symlink_to(tmp_path / "elsewhere")
    path = archive_log.path_of(str(tmp_path / "s.json"))
    assert b"" == archive_log.whole(path)
    assert [] == archive_log.names(str(tmp_path))
    archive_log.remove(path)
    for refused, call in ((StoreReadError, lambda: archive_log.read(path, 5)), (StoreWriteError, lambda: archive_log.append(
            path, b"x\n", 0, title=b"t\n", durability="process"))):
        with pytest.raises(refused):
            call()
    assert b"line\n" == (tmp_path / "elsewhere" / "s.jsonl").read_bytes()


def test_D3_a_log_the_system_cannot_lock_is_an_error_and_no_turn(tmp_path: Path) -> None:
    """Goal: who has no lock does not write. Method: both kinds of lock, and the way back, on a closed descriptor."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    os.close(descriptor)
    for call in (lambda: seam.take(descriptor, True), lambda: seam.take(descriptor, False), lambda: seam.give(descriptor)):
        with pytest.raises(OSError) as refused:
            call()
        assert errno.EBADF == refused.value.errno


def test_D3_a_log_is_read_by_many_and_written_by_one(tmp_path: Path) -> None:
    """Goal: readers wait for a writer only. Method: two descriptors of one file, each kind of lock beside each."""
    (tmp_path / "log").write_bytes(b"")
    for first, second, together in ((True, True, True), (True, False, False), (False, True, False), (False, False, False)):
        one, two = (os.open(tmp_path / "log", os.O_RDWR) for _ in range(2))
        try:
            assert seam.take(one, first)
            assert together is seam.take(two, second)
            seam.give(one)
            assert seam.take(two, second)
        finally:
            os.close(one)
            os.close(two)


def works(directory: Path) -> dict[str, Callable[[], Any]]:
    """Return everything that opens a file of a session in a directory, by name; each may be called again and again."""
    session, log_path = str(directory / "s.json"), str(directory / "s.jsonl")
    archive = archive_log.path_of(session)

    def replaced() -> None:
        held, _signature = atomic.replace_bytes(session, [b"{}"], durability="full")
        held.close()

    def turn() -> lock.exclusive:
        with lock.exclusive(session, timeout_s=0.0) as one:
            one.check()
        return one

    def logged() -> log.writing:
        with log.writing(log_path, timeout_s=0.0, durability="full") as one:
            one.append(0, [b"line\n"])
        return one

    return {
        "replace": replaced,
        "archive": lambda: archive_log.append(archive, b"x\n", 2, title=b"t\n", durability="full"),
        "read": lambda: files.bytes_of(session), "whole archive": lambda: archive_log.whole(archive),
        "read archive": lambda: archive_log.read(archive, 2),
        "turn": turn, "log": logged, "keep": lambda: quarantine.keep(session, b"damaged"),
        "lease": lambda: json_leases.row_of(session), "head": lambda: json_directory.info_of(
            json_directory.SessionFile(0, "s.json", 2, str(directory))),
        "mounts": lambda: mounts.file_system_of(str(directory)),
    }


CALLS_ON_DESCRIPTORS = ("fstat", "read", "writev", "fsync", "ftruncate", "lseek", "replace", "lock", "take", "link", "lstat")


@pytest.mark.parametrize("work", list(works(Path())))
@pytest.mark.parametrize("call", CALLS_ON_DESCRIPTORS)
def test_D7_who_keeps_an_error_keeps_no_file_open(tmp_path: Path, work: str, call: str) -> None:
    """Goal: nothing waits for the collector. Method: each call fails in all that opens files; count while errors live."""
    todo = works(tmp_path)
    for name in ("replace", "archive", "log"):
        todo[name]()
    (tmp_path / ".leases").mkdir()
    (tmp_path / ".leases" / "s.json").write_bytes(b"damaged")
    (tmp_path / ".quarantine").mkdir()
    before, kept = len(os.listdir("/proc/self/fd")), []
    for refused in (call, "none"):
        try:
            with seam.intercept(failing(errno.EIO, refused)):
                todo[work]()
        except SessionStoreError as error:
            kept.append(error)
    assert before == len(os.listdir("/proc/self/fd")), kept


@pytest.mark.parametrize("work", list(works(Path())))
def test_D3_D7_a_process_without_standard_input_gives_every_turn_back(tmp_path: Path, work: str) -> None:
    """Goal: a descriptor of 0 is one like any other. Method: close standard input, do everything twice."""
    saved = os.dup(0)
    os.close(0)
    try:
        todo = works(tmp_path)
        kept = [todo[name]() for name in ("replace", "archive", work, work)]
        with pytest.raises(OSError):
            os.fstat(0)
        assert 4 == len(kept)
        held, told = atomic.replace_bytes(str(tmp_path / "new"), [b"{}"], durability="full")
        assert 0 == held.descriptor
        assert told == files.signature_of(str(tmp_path / "new"))
        held.close()
        with pytest.raises(OSError):
            os.fstat(0)
    finally:
        os.dup2(saved, 0)
        os.close(saved)


def test_D3_who_comes_after_a_waiter_gives_way_once(tmp_path: Path) -> None:
    """Goal: nobody takes turn after turn while another waits. Method: a waiter in vain; then count pauses."""
    path = str(tmp_path / "s.json")
    pauses: list[str] = []

    def seen(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name == "sleep":
            pauses.append(name)
            with open(path + ".lock", "rb") as beside:
                fcntl.flock(beside, fcntl.LOCK_EX | fcntl.LOCK_NB)  # or the way is not given
        return call(*args, **named)

    with lock.exclusive(path, timeout_s=1.0), pytest.raises(LockTimeoutError), lock.exclusive(path, timeout_s=0.01):
        pass
    counts = []
    for timeout_s in (0.0, 5.0, 5.0):
        with seam.intercept(seen), lock.exclusive(path, timeout_s=timeout_s):
            counts.append(len(pauses))
        pauses.clear()
    assert [0, 1, 0] == counts


def test_D3_the_first_lock_of_a_process_imports_nothing(tmp_path: Path) -> None:
    """Goal: a fork beside the first write hangs no child in an import. Method: modules before it and after it."""
    program = (
        "import sys, praison_store as p; s = p.DefaultSessionStore(sys.argv[1]); before = set(sys.modules);"
        "s.add_user_message('s', 'x'); print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    ran = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "filelock" not in ran.stdout.split()


def test_D7_a_turn_that_wrote_nothing_removes_only_the_empty_log_it_made(tmp_path: Path) -> None:
    """Goal: nobody's bytes go with an empty turn. Method: nothing, bytes from elsewhere, another file of that name."""
    path = tmp_path / "s.jsonl"

    def replaced() -> None:
        (tmp_path / "other").write_bytes(b"")
        os.replace(tmp_path / "other", path)

    happenings: list[tuple[Callable[[], Any], bool]] = [
        (lambda: None, False), (lambda: path.write_bytes(b"restored\n"), True), (replaced, True),
    ]
    for happens, is_left in happenings:
        path.unlink(missing_ok=True)
        with log.writing(str(path), timeout_s=0.0, durability="process"):
            assert path.exists()
            happens()
        assert is_left == path.exists()
    path.write_bytes(b"line\n")
    with log.writing(str(path), timeout_s=0.0, durability="process"):
        pass
    assert b"line\n" == path.read_bytes()


def flushed(do: Callable[[], Any]) -> list[int]:
    """Return the inode of each file and directory that is flushed, in order."""
    inodes: list[int] = []

    def around(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name == "fsync":
            inodes.append(os.fstat(args[0]).st_ino)
        return call(*args, **named)

    with seam.intercept(around):
        do()
    return inodes


@pytest.mark.parametrize("call", ["link", "none"])
def test_D2_what_is_kept_of_a_damaged_file_is_flushed_before_its_name(tmp_path: Path, call: str) -> None:
    """Goal: a loss of power does not cost the copy. Method: the flushes of a link, and of a copy where none can be made."""
    path, directory = tmp_path / "s.json", tmp_path / ".quarantine"
    directory.mkdir()
    path.write_bytes(b"damaged")
    kept: list[str] = []
    with seam.intercept(failing(errno.EPERM, call)):
        told = flushed(lambda: kept.append(quarantine.keep(str(path), b"damaged")))
    assert [os.stat(tmp_path / kept[0]).st_ino, os.stat(directory).st_ino] == told


@pytest.mark.parametrize("durability", ["full", "ordered", "process"])
def test_D2_a_log_is_flushed_with_each_append_and_by_name_where_it_is_new(tmp_path: Path, durability: str) -> None:
    """Goal: what is acknowledged survives what its durability names. Method: the flushes of each way to change a log."""
    path = tmp_path / "s.jsonl"
    with log.writing(str(path), timeout_s=0.0, durability=durability) as turn:
        new = flushed(lambda: turn.replace([b"first\n"]))
    with log.writing(str(path), timeout_s=0.0, durability=durability) as turn:
        appended = flushed(lambda: turn.append(6, [b"second\n"]))
        with pytest.raises(StoreWriteError), seam.intercept(failing(errno.EIO, "writev")):
            turn.append(13, [b"third\n"])
        again = flushed(lambda: turn.append(13, [b"third\n"]))
        assert b"first\nsecond\nthird\n" == path.read_bytes()
    inode, directory = path.stat().st_ino, tmp_path.stat().st_ino
    with log.writing(str(path), timeout_s=0.0, durability=durability) as turn:
        removed = flushed(turn.remove)
    wanted = ([inode, directory], [inode], [inode], [directory])
    assert (wanted if durability != "process" else ([], [], [], [])) == (new, appended, again, removed)
    assert [] == [name for name in os.listdir(tmp_path) if name != "s.jsonl.lock"]


def test_D7_a_log_whose_write_fails_in_the_middle_is_as_it_was(tmp_path: Path) -> None:
    """Goal: all lines or none. Method: a system that takes a half and fails, behind a whole line and behind a torn one."""
    path = tmp_path / "s.jsonl"

    def half(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name == "writev":
            os.write(args[0], b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return call(*args, **named)

    for torn in (b"", b"torn", b"much longer than what is written"):
        path.write_bytes(b"line\n" + torn)
        with log.writing(str(path), timeout_s=0.0, durability="full") as turn:
            with seam.intercept(half), pytest.raises(StoreWriteError):
                turn.append(5, [b"whole\n"])
            assert b"line\n" == path.read_bytes()
            turn.append(5, [b"whole\n"])
        assert b"line\nwhole\n" == path.read_bytes()


@pytest.mark.parametrize("is_log", [False, True])
def test_D3_a_forked_child_s_copy_of_a_turn_is_closed_and_is_no_turn(tmp_path: Path, is_log: bool) -> None:
    """Goal: a child neither keeps nor ends its parent's turn. Method: what a child does with its copies, done here."""
    path = str(tmp_path / "s.json")

    def asked() -> lock.exclusive | log.writing:
        return log.writing(path, timeout_s=0.0, durability="full") if is_log else lock.exclusive(path, timeout_s=0.0)

    count = len(os.listdir("/proc/self/fd"))
    with asked() as turn:
        parents = os.dup(turn.held.descriptor if isinstance(turn, log.writing) else turn._descriptor)
        turn.drop_copy()
        assert count + 1 == len(os.listdir("/proc/self/fd"))
        with pytest.raises(StoreWriteError):
            turn.check()
        with pytest.raises(LockTimeoutError), asked():
            pass
    with pytest.raises(LockTimeoutError), asked():
        pass
    os.close(parents)
    with asked():
        assert count + 1 == len(os.listdir("/proc/self/fd"))
    assert count == len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("rights", [0o644, 0o640, 0o604, 0o700, 0o600])
def test_D8_what_others_may_read_is_the_owner_s_again_with_the_next_write(tmp_path: Path, rights: int) -> None:
    """Goal: a copy with the wrong rights is not open for good. Method: an archive and a log, each written once."""
    archive, log_path = tmp_path / ".archive" / "s.jsonl", tmp_path / "s.jsonl"
    archive.parent.mkdir()
    for path in (archive, log_path):
        path.write_bytes(b"t\n")
        path.chmod(rights)
    archive_log.append(str(archive), b"x\n", 2, title=b"t\n", durability="process")
    with log.writing(str(log_path), timeout_s=0.0, durability="process") as turn:
        turn.append(2, [b"x\n"])
    assert [0o600, 0o600] == [stat.S_IMODE(path.stat().st_mode) for path in (archive, log_path)]
    assert b"t\nx\n" == archive.read_bytes() == log_path.read_bytes()


def test_D5_an_archive_that_lacks_committed_bytes_is_told_when_it_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Goal: a person can restore it in time. Method: write behind all of an archive, behind more, behind a part."""
    path = str(tmp_path / ".archive" / "s.jsonl")
    committed = archive_log.append(path, b"x\n", 0, title=b"t\n", durability="process")
    for more, told in ((0, 0), (1, 1), (100, 1), (-2, 0)):
        caplog.clear()
        committed = archive_log.append(path, b"x\n", committed + more, title=b"t\n", durability="process")
        assert told == sum("lacks" in record.getMessage() for record in caplog.records), more


@pytest.mark.parametrize("is_log", [False, True])
def test_D3_a_process_without_standard_input_waits_with_one_descriptor(tmp_path: Path, is_log: bool) -> None:
    """Goal: a descriptor of 0 is kept while one waits. Method: a turn that is taken, asked for where 0 is free."""
    path = str(tmp_path / "s.json")

    def asked(timeout_s: float) -> lock.exclusive | log.writing:
        return log.writing(path, timeout_s=timeout_s, durability="full") if is_log else lock.exclusive(path, timeout_s=timeout_s)

    counts: list[int] = []

    def counted(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        counts.extend([len(os.listdir("/proc/self/fd"))] if name == "sleep" else [])
        return call(*args, **named)

    with asked(1.0):
        saved = os.dup(0)
        os.close(0)
        try:
            with seam.intercept(counted), pytest.raises(LockTimeoutError), asked(0.02):
                pass
            with pytest.raises(OSError):
                os.fstat(0)
        finally:
            os.dup2(saved, 0)
            os.close(saved)
    assert 1 < len(counts)
    assert 1 == len(set(counts))


def test_D1_a_reader_of_a_log_waits_for_a_writer_and_no_longer_than_asked(tmp_path: Path) -> None:
    """Goal: the answer tells whether a writer is in the middle. Method: no writer, one that stays, one that ends."""
    path = str(tmp_path / "s.jsonl")
    with log.writing(path, timeout_s=0.0, durability="process") as turn:
        turn.append(0, [b"line\n"])
    reader = open_of(path)
    assert log.wait_to_read(reader, path, 0.0) is True
    with log.writing(path, timeout_s=0.0, durability="process") as turn:
        assert log.wait_to_read(reader, path, 0.0) is False
        assert log.wait_to_read(reader, path, 0.01) is False

        def ending(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
            if name == "sleep":
                turn.drop_copy()
            return call(*args, **named)

        with seam.intercept(ending):
            assert log.wait_to_read(reader, path, 5.0) is True
    with log.writing(path, timeout_s=0.0, durability="process"):
        reader.close()
    reader = open_of(path)
    assert [b"line\n", b"ine", b"\n", b""] == [log.read_at(reader, path, start, size) for start, size in ((0, 9), (1, 3), (4, 9), (9, 9))]
    reader.close()


@pytest.mark.parametrize("is_log", [False, True])
def test_D3_who_waited_has_the_turn_and_closes_it_behind(tmp_path: Path, is_log: bool) -> None:
    """Goal: a turn that came late is one like any other. Method: the holder ends while one waits; count descriptors."""
    path = str(tmp_path / "s.json")

    def asked(timeout_s: float) -> lock.exclusive | log.writing:
        return log.writing(path, timeout_s=timeout_s, durability="full") if is_log else lock.exclusive(path, timeout_s=timeout_s)

    count, holder = len(os.listdir("/proc/self/fd")), asked(0.0)

    def ending(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name == "sleep":
            holder.drop_copy()
        return call(*args, **named)

    with holder, seam.intercept(ending), asked(5.0) as turn:
        turn.check()
    assert count == len(os.listdir("/proc/self/fd"))
    with pytest.raises(StoreWriteError):
        turn.check()


def test_a_directory_that_another_makes_first_is_as_good(tmp_path: Path) -> None:
    """Goal: two processes may begin at once. Method: a directory, then a file, comes between the look and the making."""
    def first(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name == "mkdir":
            os.mkdir(args[0]) if args[0].endswith("/directory") else Path(args[0]).touch()
        return call(*args, **named)

    with seam.intercept(first):
        files.make_directory(str(tmp_path / "directory"))
        with pytest.raises(StoreWriteError):
            files.make_directory(str(tmp_path / "file"))
    assert (tmp_path / "directory").is_dir()
    assert (tmp_path / "file").is_file()


def test_a_directory_removed_since_the_store_was_opened_is_made_anew(tmp_path: Path) -> None:
    """Goal: a writer needs no restart. Method: each kind of turn where its directory and the one above are missing."""
    kinds: list[Callable[..., lock.exclusive | log.writing]] = [partial(log.writing, durability="full"), lock.exclusive]
    for number, asked in enumerate(kinds):
        path = tmp_path / f"gone {number}" / "below" / "s.json"
        with asked(str(path), timeout_s=0.0) as turn:
            turn.check()
            assert 0o700 == stat.S_IMODE(path.parent.stat().st_mode)


@pytest.mark.parametrize("work", ["replace", "archive", "keep"])
def test_D7_who_keeps_the_error_of_a_directory_s_flush_keeps_no_file_open(tmp_path: Path, work: str) -> None:
    """Goal: as above, behind the rename. Method: only flushes of directories fail."""
    def refused(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return call(*args, **named)

    todo = works(tmp_path)
    for name in ("replace", "archive", "keep"):
        todo[name]()
    before = len(os.listdir("/proc/self/fd"))
    with seam.intercept(refused), pytest.raises(SessionStoreError) as kept:
        todo[work]()
    assert before == len(os.listdir("/proc/self/fd")), kept


def test_D7_a_lock_that_cannot_be_opened_in_a_new_directory_is_told(tmp_path: Path) -> None:
    """Goal: the error is typed whenever it comes. Method: a missing directory, in which nothing may be made."""
    path = tmp_path / "gone" / "s.json"

    def refused(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name == "open" and args[0] == f"{path}.lock" and path.parent.exists():
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return call(*args, **named)

    with seam.intercept(refused), pytest.raises(StoreWriteError), lock.exclusive(str(path), timeout_s=0.0):
        pass


def test_D7_D8_who_keeps_the_error_of_what_is_no_plain_file_keeps_it_not_open(tmp_path: Path) -> None:
    """Goal: what is refused is let go. Method: a FIFO and a directory in a file's place; count while the error lives."""
    os.mkfifo(tmp_path / "fifo")
    before = len(os.listdir("/proc/self/fd"))
    for path in (tmp_path / "fifo", tmp_path):
        with pytest.raises(StoreReadError) as kept:
            files.bytes_of(str(path))
        assert before == len(os.listdir("/proc/self/fd")), kept


def test_D8_an_archive_with_a_second_name_is_refused_and_left_alone(tmp_path: Path) -> None:
    """Goal: no message lands in somebody's other file. Method: a hard link in an archive's place."""
    (tmp_path / "theirs").write_bytes(b"theirs\n")
    archive = tmp_path / ".archive" / "s.jsonl"
    archive.parent.mkdir()
    os.link(tmp_path / "theirs", archive)
    with pytest.raises(StoreWriteError):
        archive_log.append(str(archive), b"x\n", 7, title=b"t\n", durability="process")
    assert b"theirs\n" == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize("call", ["open", "writev", "fsync", "replace"])
def test_D7_a_write_that_fails_tells_the_reason_the_system_gave(tmp_path: Path, call: str) -> None:
    """Goal: a person knows what to mend. Method: each step of a replacement fails; the old file stays, and nothing else."""
    (tmp_path / "file").write_bytes(b"old")
    with seam.intercept(failing(errno.EDQUOT, call)), pytest.raises(StoreWriteError) as refused:
        atomic.replace_bytes(str(tmp_path / "file"), [b"new"], durability="process" if call != "fsync" else "full")
    assert isinstance(refused.value.__cause__, OSError)
    assert errno.EDQUOT == refused.value.__cause__.errno
    assert (["file"], b"old") == (os.listdir(tmp_path), (tmp_path / "file").read_bytes())
