"""No space, no inodes, no bigger files, no descriptors: refused at once, readable, and goes on when there is room (D7)."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from processes.workers import everything, needs_fork, run_all

from faults.full_disks import live_all, store_on
from faults.mounted import run_mounted, skip_without
from faults.operations import add, names_in, open_store
from praison_store import StoreReadError, StoreWriteError

pytestmark = needs_fork
ENGINES = ("json_files", "jsonl", "sqlite")
# A file that is replaced, a file that is replaced beside an archive that grows, a log, a database.
LIVES = [["json_files", "keep_all"], ["json_files", "archive"], ["jsonl", "keep_all"], ["sqlite", "keep_all"]]
ON_MEMORY = 'mount -t tmpfs -o size=600m none "$1"'


# ---- full disks -----------------------------------------------------------------------------------------------


def judge(outcomes: dict[str, Any], place: str, number: str, *, database_goes_on: bool = False) -> None:
    """
    Whatever was acknowledged can be read all the time, no temporary file is left, and with room it goes on.

    Args:
        number: the errno's name of every refusal. database_goes_on: a database needs no new file, and is not refused.
    """
    for life, outcome in outcomes.items():
        print(f"{place}, {life}: {outcome}")
        assert ([], [], []) == (outcome["unreadable"], outcome["lost"], outcome["temporary"]), life
        assert outcome["goes_on"], life
        assert 5 <= outcome["stored"], life
        assert 5000 > outcome["worst_ms"], f"{life}: refused, but not at once"
        told = number
        if "sqlite" in life and number != "ENOSPC":
            told = "without errno"  # SQLite tells a full disk by a number of its own, and of other causes none
        assert ([] if database_goes_on and "sqlite" in life else [f"StoreWriteError {told}"]) == outcome["refused"], life


def live_mounted(tmp_path: Path, place: str, lives: list[list[str]] = LIVES) -> dict[str, Any]:
    """Live lives on a place of a kind."""
    outcomes: dict[str, Any] = run_mounted(ON_MEMORY, "faults.full_disks", "live_all", tmp_path, place=place, lives=lives)
    return outcomes


def test_D7_a_full_disk_refuses_at_once_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """
    Goal: ENOSPC from a real file system, for a window, an archive, a log and a database that grow.

    Method: a tmpfs filled through the store; refused in several sessions, read whole; then room is made and it goes on.
    """
    judge(live_mounted(tmp_path, "tmpfs"), "tmpfs", "ENOSPC")


@pytest.mark.long
def test_D7_a_full_ext4_refuses_at_once_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """Goal and method: the tmpfs's, on a disk that promises room before it has found it."""
    skip_without(programs=("mkfs.ext4", "losetup"), file_system="ext4")
    judge(live_mounted(tmp_path, "ext4"), "ext4", "ENOSPC")


@pytest.mark.long
def test_D7_a_full_quota_refuses_at_once_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """Goal and method: the tmpfs's, with EDQUOT from a subvolume of btrfs that may hold no more."""
    skip_without(programs=("mkfs.btrfs", "btrfs", "losetup"), file_system="btrfs")
    judge(live_mounted(tmp_path, "btrfs quota"), "btrfs quota", "EDQUOT")


def test_D7_an_ext4_without_inodes_refuses_and_goes_on(tmp_path: Path) -> None:
    """Goal: not even an empty file can be made. Method: an ext4 with few inodes, used up, then given back."""
    skip_without(programs=("mkfs.ext4", "losetup"), file_system="ext4")
    judge(live_mounted(tmp_path, "ext4 without inodes", LIVES[1:3]), "ext4 without inodes", "ENOSPC")


@pytest.mark.long
def test_D7_any_disk_without_inodes_refuses_what_needs_one(tmp_path: Path) -> None:
    """Goal and method: the short form's, for each engine, on ext4 and on a tmpfs; a database needs no new file."""
    skip_without(programs=("mkfs.ext4", "losetup"), file_system="ext4")
    for place in ("ext4 without inodes", "tmpfs without inodes"):
        (tmp_path / place).mkdir()
        judge(live_mounted(tmp_path / place, place), place, "ENOSPC", database_goes_on=True)


def test_D7_a_file_that_may_grow_no_more_refuses_and_goes_on(tmp_path: Path) -> None:
    """Goal: EFBIG in the middle of a write. Method: RLIMIT_FSIZE, reached by window, archive, log and database."""
    place = "a limit of file sizes"
    (outcomes,) = run_all([(partial(live_all, place=place, lives=LIVES), (str(tmp_path),))])
    judge(outcomes, place, "EFBIG")


# ---- no descriptors -------------------------------------------------------------------------------------------


@contextmanager
def limited(kind: int, soft: int) -> Iterator[None]:
    """Lower one of this process's own limits for a while."""
    before, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (before, hard))


def write_without_descriptors(engine: str, directory: str) -> list[tuple[str, str]]:
    """Write with every descriptor taken, one given back after each refusal; in a process of its own."""
    with store_on(engine, Path(directory)) as earlier:
        add("one", "old", "older")(earlier)
    store = store_on(engine, Path(directory))
    outcomes = []
    with limited(resource.RLIMIT_NOFILE, 60):
        taken: list[int] = []
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        while True:
            try:
                store.add_user_message("one", "new", message_id="new")
                break
            except (StoreWriteError, StoreReadError) as error:
                outcomes.append((type(error).__name__, errno.errorcode.get(error.errno or 0, "without errno")))
            os.close(taken.pop())
        for descriptor in taken:
            os.close(descriptor)
    store.close()
    with store_on(engine, Path(directory)) as fresh:
        assert ["old", "older", "new"] == everything(fresh, "one")
    assert not any(name.endswith(".tmp") for name in names_in(Path(directory)))
    return outcomes


@pytest.mark.parametrize("engine", ENGINES)
def test_D7_a_process_without_descriptors_refuses_and_goes_on(tmp_path: Path, engine: str) -> None:
    """Goal: EMFILE at each of a write's files. Method: RLIMIT_NOFILE, all taken; one more is free with each try."""
    (outcomes,) = run_all([(write_without_descriptors, (engine, str(tmp_path)))])
    print(outcomes)
    assert 1 <= len(outcomes)
    if engine != "sqlite":
        assert {"EMFILE"} == {name for _, name in outcomes}


def use_more_sessions_than_descriptors(directory: str) -> int:
    """Use more sessions than the process may have files open; in a process of its own."""
    with limited(resource.RLIMIT_NOFILE, 48):
        store = open_store(Path(directory), durability="process")
        for number in range(80):
            add(f"session-{number}", "old")(store)
        for number in range(80):
            assert ["old"] == [message["content"] for message in store.get_chat_history(f"session-{number}")]
        return len(store.list_sessions(100))


def test_D7_what_is_remembered_takes_no_descriptor_a_write_needs(tmp_path: Path) -> None:
    """Goal: a cache may not make a store fail. Method: 80 sessions in a process that may open 48 files."""
    assert [80] == run_all([(use_more_sessions_than_descriptors, (str(tmp_path),))])
