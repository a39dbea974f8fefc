"""A read-only disk and unreadable files: reads go on where they can, and whatever cannot be done is raised (D1, D7)."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from processes.workers import needs_fork, run_all

from faults.mounted import run_mounted
from faults.operations import BRIM, add, numbered, open_store, state_of
from praison_store import CorruptSessionError, DefaultSessionStore, SessionStoreError, StoreReadError, StoreWriteError

NOBODY = 65534
READ_ONLY = 'mount --bind "$1" "$1"\nmount -o remount,bind,ro "$1"'


def use_read_only(directory: str) -> dict[str, Any]:
    """Read and try to write in a directory on a read-only disk; in the mounted process."""
    sessions = Path(directory)
    with pytest.raises(CorruptSessionError):
        state_of(sessions)
    outcome: dict[str, Any] = {}
    with open_store(sessions, lock_timeout=0.5) as store:
        for session_id in ("one", "torn"):
            (session,) = store.export_session(session_id)["sessions"]
            messages = [*session["archived_messages"], *session["messages"]]
            outcome[session_id] = [message["content"] for message in messages]
        outcome["listed"] = sorted(row["session_id"] for row in store.list_sessions())
        outcome["found"] = sorted(hit.session_id for hit in store.search("old-1"))
        outcome["recovered_from"] = store.get_session("torn").metadata["recovered_from"]
        outcome["problems"] = sorted(problem.path for problem in store.check().problems)
        outcome["empty"] = error_of(lambda: store.get_chat_history("empty"))
        outcome["refused"] = {
            name: error_of(write, store)
            for name, write in {
                "add": add("one", "new"),
                "add to a new session": add("new", "new"),
                "add to a damaged file": add("torn", "new"),
                "rename": lambda store: store.rename_session("one", "a title"),
                "clear": lambda store: store.clear_session("one"),
                "delete": lambda store: store.delete_session("one"),
                "fork": lambda store: store.fork_session("one", "forked"),
                "vacuum": lambda store: store.vacuum(),
            }.items()
        }
    outcome["new"] = error_of(lambda: open_store(sessions / "deeper"))
    return outcome


def error_of(do: Callable[..., Any], *arguments: Any) -> str:
    """Return the name of the error of ours that was raised, and its errno."""
    try:
        do(*arguments)
    except SessionStoreError as error:
        number = getattr(error, "errno", None)
        return f"{type(error).__name__} {errno.errorcode[number] if number else ''}".strip()
    return "nothing was raised"


def test_D1_D5_D7_a_read_only_disk_serves_readers_and_refuses_writers(tmp_path: Path) -> None:
    """
    Goal: readers need no right to write, not even for a damaged file that can be saved in part.

    Method: a session with an archive, a torn one and an empty file, on a directory mounted read-only.
    """
    with open_store(tmp_path) as store:
        numbered(2 * BRIM)(store)
        add("torn", "whole", "torn")(store)
    torn, empty = tmp_path / "torn.json", tmp_path / "empty.json"
    torn.write_bytes(torn.read_bytes()[:-10])
    empty.touch(mode=0o600)
    (tmp_path / "one.json.0123456789abcdef.tmp").touch()
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.json")}
    outcome = run_mounted(READ_ONLY, __name__, "use_read_only", tmp_path)
    assert before == {path.name: path.read_bytes() for path in tmp_path.glob("*.json")}
    assert [f"old-{number}" for number in range(2 * BRIM)] == outcome["one"]
    assert ["whole"] == outcome["torn"]
    assert str(torn) == outcome["recovered_from"]
    assert ["one", "other", "torn"] == outcome["listed"]
    assert ["one"] == outcome["found"]
    assert ["empty.json", "torn.json"] == outcome["problems"]
    assert "CorruptSessionError" == outcome["empty"]
    assert {"StoreWriteError EROFS"} == set(outcome["refused"].values()), outcome["refused"]
    assert "StoreWriteError EROFS" == outcome["new"]


# ---- another user ---------------------------------------------------------------------------------------------


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """Make a directory another user can reach, which pytest's own are not."""
    directory = Path(tempfile.mkdtemp(prefix="praison-store-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def as_nobody(directory: str) -> dict[str, str]:
    """Read, list and write as a user without rights; in a process of its own."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    store = DefaultSessionStore(directory)
    return {
        "history": error_of(lambda: store.get_chat_history("one")),
        "session": error_of(lambda: store.get_session("one")),
        "exists": error_of(lambda: store.session_exists("one")),
        "archived": error_of(lambda: store.get_archived_messages("one")),
        "listed": str([row["session_id"] for row in store.list_sessions()]),
        "found": str(store.search("public")),
        "public": str([message["content"] for message in store.get_chat_history("public")]),
        "check": str(sorted(problem.path for problem in store.check().problems if problem.code == "unreadable")),
        "add": error_of(lambda: store.add_user_message("one", "new")),
        "clear": error_of(lambda: store.clear_session("one")),
    }


@needs_fork
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become somebody else")
def test_D5_D7_an_unreadable_file_is_an_error_and_no_empty_session(public_directory: Path) -> None:
    """Goal: no right to read is not "no messages". Method: files of root, one of them public, read as another user."""
    with open_store(public_directory) as store:
        numbered(2 * BRIM)(store)
        add("public", "public")(store)
    (public_directory / "public.json").chmod(0o644)
    (outcome,) = run_all([(as_nobody, (str(public_directory),))])
    for what in ("history", "session", "exists", "archived"):
        assert "StoreReadError EACCES" == outcome[what], what
    assert "['public']" == outcome["listed"]
    assert "['public']" == outcome["public"]
    assert "['.archive', 'one.json', 'other.json']" == outcome["check"]
    assert {"StoreWriteError EACCES"} == {outcome["add"], outcome["clear"]}


def list_as_nobody(directory: str) -> list[str]:
    """List, count and look for temporary files in a directory one may not enter; in a process of its own."""
    store = DefaultSessionStore(directory)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    calls = (store.list_sessions, store.check, store.vacuum, lambda: store.search("x"), store.recent)
    return [error_of(call) for call in calls] + [error_of(lambda: store.get_chat_history("one"))]


@needs_fork
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become somebody else")
def test_D5_D7_a_directory_one_may_not_enter_is_an_error(public_directory: Path) -> None:
    """Goal: no right to look is not "no sessions". Method: list, check, vacuum, search and read as another user."""
    add("one", "old")(open_store(public_directory))
    public_directory.chmod(0o700)
    (outcomes,) = run_all([(list_as_nobody, (str(public_directory),))])
    assert ["StoreReadError EACCES"] * 6 == outcomes
    assert issubclass(StoreReadError, OSError)
    assert issubclass(StoreWriteError, OSError)
