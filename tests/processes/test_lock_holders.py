"""A process that has the session's turn is killed or stopped: others go on, or are told who holds it (D3)."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from praison_store import DefaultSessionStore, LockTimeoutError, SessionData, SessionMessage
from praison_store.disk import lock
from praison_store.engines.json_files import JsonFilesEngine
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named
from processes.workers import DEADLINE_S, everything, needs_fork

MakeStore = Callable[..., DefaultSessionStore]
pytestmark = needs_fork


def hold(directory: str, told: Connection) -> None:
    """Add a message in a turn that lasts until told to go on."""

    def change(session: SessionData) -> None:
        session.messages.append(SessionMessage("user", "the holder's"))
        told.send("holding")
        told.recv()

    engine = JsonFilesEngine(directory, lock_timeout_s=DEADLINE_S)
    engine.update(SessionKey("shared"), change, now_s=time.time(), policy=policy_named("archive", 100))
    told.send("stored")


@contextmanager
def holder_of(store: DefaultSessionStore) -> Iterator[tuple[int, Connection]]:
    """Yield the id of a process that has the turn, and the line to it; it is killed at the end."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=hold, args=(store.session_dir, theirs), daemon=True)
    process.start()
    theirs.close()
    assert process.pid is not None
    try:
        assert ours.poll(DEADLINE_S)
        assert "holding" == ours.recv()
        yield process.pid, ours
    finally:
        process.kill()
        process.join()
        process.close()
        ours.close()


def test_D3_a_killed_holder_keeps_nobody_waiting(make_store: MakeStore) -> None:
    """Goal: the turn of the dead is free. Method: kill -9 in the middle of an update, then write with no patience."""
    store = make_store(lock_timeout=0.0)
    store.add_user_message("shared", "first")
    with holder_of(store) as (pid, _line):
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert store.add_user_message("shared", "second") is True
    assert ["first", "second"] == everything(store, "shared")


def test_D3_a_holder_killed_over_and_over_keeps_nobody_waiting(make_store: MakeStore) -> None:
    """Goal: what the dead leave in the lock file harms nobody. Method: 20 holders killed, a write after each."""
    store = make_store()
    for number in range(20):
        with holder_of(store) as (pid, _line):
            os.kill(pid, signal.SIGKILL)
            assert store.add_user_message("shared", str(number)) is True
    assert [str(number) for number in range(20)] == everything(store, "shared")


def test_D1_D3_a_stopped_holder_stops_writers_only_and_is_named(make_store: MakeStore) -> None:
    """
    Goal: readers go on; writers are refused after the time they asked for, and told who is in the way.

    Method: SIGSTOP in the middle of an update, reads and a write, then SIGCONT: everything goes on.
    """
    store, fresh = make_store(lock_timeout=0.3), make_store(lock_timeout=0.3)
    store.add_user_message("shared", "first")
    with holder_of(store) as (pid, line):
        os.kill(pid, signal.SIGSTOP)
        for reader in (store, fresh):
            assert [{"role": "user", "content": "first"}] == reader.get_chat_history("shared")
            assert ["first"] == everything(reader, "shared")
            assert ["shared"] == [row["session_id"] for row in reader.list_sessions()]
            assert 1 == len(reader.search("first"))
            assert [] == reader.check().problems
        writes: tuple[Callable[[], object], ...] = (
            lambda: store.add_user_message("shared", "refused"),
            lambda: store.clear_session("shared"),
            lambda: store.delete_session("shared"),
            lambda: store.rename_session("shared", "refused"),
            lambda: fresh.set_chat_history("shared", []),
        )
        for write in writes:
            started_s = time.monotonic()
            with pytest.raises(LockTimeoutError) as refused:
                write()
            assert 0.3 <= time.monotonic() - started_s < DEADLINE_S
            assert (pid,) == refused.value.holder
            assert refused.value.waited_s >= 0.3
            assert f"{Path(str(store.session_dir)) / 'shared.json'}.lock" == refused.value.path
            assert str(pid) in str(refused.value)
        assert store.add_user_message("another", "not the stopped one's") is True
        os.kill(pid, signal.SIGCONT)
        line.send("go on")
        assert line.poll(DEADLINE_S)
        assert "stored" == line.recv()
    assert store.add_user_message("shared", "second") is True
    assert ["first", "the holder's", "second"] == everything(store, "shared")


def test_D3_a_writer_without_patience_is_refused_at_once_and_leaves_no_trace(make_store: MakeStore) -> None:
    """Goal: lock_timeout=0 tries once. Method: refused 50 times beside a holder, served as soon as that is gone."""
    store = make_store(lock_timeout=0.0)
    with holder_of(store) as (_pid, line):
        for _ in range(50):
            with pytest.raises(LockTimeoutError):
                store.add_user_message("shared", "refused")
        line.send("go on")
        assert line.poll(DEADLINE_S)
        assert "stored" == line.recv()
    assert store.add_user_message("shared", "second") is True
    assert ["the holder's", "second"] == everything(store, "shared")


@pytest.mark.parametrize("lock_timeout", [0.0, 1e-9, 1e-4, 5.0])
def test_D3_a_mark_left_by_a_waiter_keeps_no_one_out(make_store: MakeStore, lock_timeout: float) -> None:
    """
    Goal: a lock nobody holds is given, whatever stands in its file.

    Method: bytes in the lock file, as waiters (and other programs) leave them, before each of three writes.
    """
    store = make_store(lock_timeout=lock_timeout)
    for number, bytes_left in enumerate((b"\0", b"\0", b"some text")):
        (Path(str(store.session_dir)) / "shared.json.lock").write_bytes(bytes_left)
        assert store.add_user_message("shared", str(number)) is True
    assert ["0", "1", "2"] == everything(store, "shared")


def test_D3_a_lock_whose_file_was_removed_is_no_lock(make_store: MakeStore) -> None:
    """
    Goal: vacuum may remove a lock file others wait for; whoever gets the old one must not write beside a new holder.

    Method: a thread waits for the lock; its file is removed and made anew by a second holder; the first one lets go,
    so that the thread gets a lock that guards nothing: it is refused, for the second holder keeps the true one.
    """
    store = make_store(lock_timeout=1.0)
    store.add_user_message("shared", "first")
    path = str(Path(str(store.session_dir)) / "shared.json")
    with ThreadPoolExecutor(1) as pool, lock.exclusive(path, timeout_s=0.0) as first:
        refused = pool.submit(store.add_user_message, "shared", "refused")
        os.unlink(path + ".lock")
        with lock.exclusive(path, timeout_s=0.0):
            first.__exit__(None, None, None)
            assert isinstance(refused.exception(DEADLINE_S), LockTimeoutError)
    assert store.add_user_message("shared", "second") is True
    assert ["first", "second"] == everything(store, "shared")


def test_D3_a_damaged_file_beside_a_stopped_holder_is_still_served(make_store: MakeStore) -> None:
    """Goal: D1 holds for a file that needs repair. Method: tear the file, stop a holder, read; then all goes on."""
    store = make_store(lock_timeout=0.1)
    for number in range(3):
        store.add_user_message("shared", str(number))
    with holder_of(store) as (pid, line):
        os.kill(pid, signal.SIGSTOP)
        path = Path(str(store.session_dir)) / "shared.json"
        path.write_bytes(path.read_bytes()[:-20])
        assert ["0", "1"] == [message["content"] for message in store.get_chat_history("shared")]
        os.kill(pid, signal.SIGCONT)
        line.send("go on")
        assert line.poll(DEADLINE_S)
        assert "stored" == line.recv()
    assert ["0", "1", "2", "the holder's"] == everything(store, "shared")
