"""No space, no bigger files, no more descriptors: a write is refused at once, and goes on when there is room (D7)."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from processes.workers import needs_fork, run_all

from faults.mounted import run_mounted
from faults.operations import add, names_in, open_store, state_of
from praison_store import DefaultSessionStore, StoreReadError, StoreWriteError

pytestmark = needs_fork
TEXT = "x" * 4000


def messages(count: int, text: str = "") -> list[str]:
    """Return that many contents, each different."""
    return [f"{number}:{text}" for number in range(count)]


def fill(store: DefaultSessionStore, session_id: str, most: int = 1000) -> tuple[int, int]:
    """Append long messages until one is refused; return how many were stored, and the errno of the refusal."""
    for number in range(most):
        try:
            store.add_user_message(session_id, f"{number}:{TEXT}", message_id=str(number))
        except StoreWriteError as error:
            return number, int(error.errno or 0)
    raise AssertionError("nothing was refused")


# ---- a full disk ----------------------------------------------------------------------------------------------


def fill_a_disk_by_a_window(directory: str) -> dict[str, Any]:
    """Fill a tiny disk by one growing file; in the mounted process."""
    return fill_a_disk(Path(directory), "keep_all")


def fill_a_disk_by_an_archive(directory: str) -> dict[str, Any]:
    """Fill a tiny disk by a growing archive; in the mounted process."""
    return fill_a_disk(Path(directory), "archive")


def fill_a_disk(directory: Path, retention: str) -> dict[str, Any]:
    """Append until the disk is full, try again, make room, and go on."""
    sessions, ballast = directory / "sessions", directory / "ballast"
    ballast.write_bytes(bytes(200_000))
    with open_store(sessions, retention=retention) as store:
        stored, number = fill(store, "one")
        stored_again, number_again = fill(store, "another")
        found = state_of(sessions)
        temporary = [name for name in names_in(sessions) if name.endswith(".tmp")]
        ballast.unlink()
        store.add_user_message("one", f"{stored}:{TEXT}", message_id=str(stored))
        whole = [content.partition(":")[0] for content in state_of(sessions)["one"]["messages"]]
        return {
            "errnos": {errno.errorcode[number], errno.errorcode[number_again]} == {"ENOSPC"},
            "whole": {name: len(session["messages"]) for name, session in found.items()}
            == {"one": stored, **({"another": stored_again} if stored_again else {})},
            "temporary": temporary,
            "goes_on": whole == list(map(str, range(stored + 1))),
            "problems": [str(problem) for problem in store.check().problems],
            "stored": stored,
        }


@pytest.mark.parametrize("grows", ["a_window", "an_archive"])
def test_D7_a_full_disk_refuses_at_once_and_goes_on_when_there_is_room(tmp_path: Path, grows: str) -> None:
    """
    Goal: ENOSPC from a real file system, for a window that grows and for an archive that grows.

    Method: a tmpfs filled through the store; refused in two sessions, read whole; then room is made and it goes on.
    """
    mount = 'mount -t tmpfs -o size=500k none "$1"'
    outcome = run_mounted(mount, __name__, f"fill_a_disk_by_{grows}", tmp_path)
    print(f"{grows}: {outcome.pop('stored')} messages of 4 kB on 300 kB")
    assert {"errnos": True, "whole": True, "temporary": [], "goes_on": True, "problems": []} == outcome


def without_inodes(directory: str) -> dict[str, Any]:
    """Use up a disk's inodes, write, and give one back; in the mounted process."""
    sessions = Path(directory) / "sessions"
    store = open_store(sessions)
    add("one", "old")(store)
    made: list[Path] = []
    while True:
        try:
            path = Path(directory) / f"ballast-{len(made)}"
            path.touch()
            made.append(path)
        except OSError:
            break
    outcome: dict[str, Any] = {"errnos": []}
    for session_id in ("one", "another"):
        with pytest.raises(StoreWriteError) as refused:
            add(session_id, "new")(store)
        outcome["errnos"].append(errno.errorcode[refused.value.errno or 0])
    outcome["refused"] = state_of(sessions)["one"]["messages"]
    for path in made:
        path.unlink()
    add("one", "new")(store)
    add("another", "new")(store)
    outcome["goes_on"] = {session_id: found["messages"] for session_id, found in state_of(sessions).items()}
    return outcome


def test_D7_a_disk_without_inodes_refuses_and_goes_on(tmp_path: Path) -> None:
    """Goal: not even an empty file can be made. Method: a tmpfs whose inodes are used up, then given back."""
    outcome = run_mounted('mount -t tmpfs -o size=1m,nr_inodes=40 none "$1"', __name__, "without_inodes", tmp_path)
    assert {
        "errnos": ["ENOSPC", "ENOSPC"],
        "refused": ["old"],
        "goes_on": {"one": ["old", "new"], "another": ["new"]},
    } == outcome


# ---- limits of the process ------------------------------------------------------------------------------------


@contextmanager
def limited(kind: int, soft: int) -> Iterator[None]:
    """Lower one of this process's own limits for a while."""
    before, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (before, hard))


def write_past_the_limit(directory: str, retention: str) -> tuple[int, int, int, list[str]]:
    """Fill a session until its file may grow no more, then lift the limit and go on; in a process of its own."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open_store(Path(directory), retention=retention) as store:
        with limited(resource.RLIMIT_FSIZE, 50_000):
            stored, number = fill(store, "one")
            found = len(state_of(Path(directory))["one"]["messages"])
        store.add_user_message("one", f"{stored}:{TEXT}", message_id=str(stored))
    whole = [content.partition(":")[0] for content in state_of(Path(directory))["one"]["messages"]]
    assert list(map(str, range(stored + 1))) == whole
    return stored, number, found, sorted(names_in(Path(directory)))


@pytest.mark.parametrize("retention", ["keep_all", "archive"])
def test_D7_a_file_that_may_grow_no_more_refuses_and_goes_on(tmp_path: Path, retention: str) -> None:
    """Goal: EFBIG in the middle of a write. Method: RLIMIT_FSIZE, reached by the window or by the archive."""
    ((stored, number, found, names),) = run_all([(write_past_the_limit, (str(tmp_path), retention))])
    assert errno.EFBIG == number
    assert stored == found > 1
    assert ([".archive/one.jsonl"] if retention == "archive" else []) + ["one.json", "one.json.lock"] == names


def write_without_descriptors(directory: str) -> list[tuple[str, str]]:
    """Write with every descriptor taken, one given back after each refusal; in a process of its own."""
    store = open_store(Path(directory))
    add("one", *messages(9))(store)
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
                outcomes.append((type(error).__name__, errno.errorcode[error.errno or 0]))
            os.close(taken.pop())
        for descriptor in taken:
            os.close(descriptor)
    assert [*messages(9), "new"] == state_of(Path(directory))["one"]["messages"]
    return outcomes


def test_D7_a_process_without_descriptors_refuses_and_goes_on(tmp_path: Path) -> None:
    """Goal: EMFILE at each of a write's files. Method: RLIMIT_NOFILE, all taken; one more is free with each try."""
    (outcomes,) = run_all([(write_without_descriptors, (str(tmp_path),))])
    print(outcomes)
    assert 1 <= len(outcomes)
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
