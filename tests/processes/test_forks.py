"""A process forks while its threads write: no lock is inherited, no mutex is left locked, nothing is lost (D3)."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from praison_store import DefaultSessionStore, SessionData, SessionMessage, SessionStoreError
from praison_store.disk import lock, log
from praison_store.engines.json_files import JsonFilesEngine
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named
from processes.workers import DEADLINE_S, everything, forks_beside_threads, needs_fork, numbers_by_writer

MakeStore = Callable[..., DefaultSessionStore]
pytestmark = [needs_fork, forks_beside_threads]


def in_child(do: Callable[[], object]) -> int:
    """Fork; the child does its work and ends with status 0, or 1 where it raised. Returns the child's id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        do()
        status = 0
    finally:
        os._exit(status)


def status_of(pid: int) -> int:
    """Wait for a child to end and return its status; one that hangs is killed at the deadline and fails the test."""
    ends_s = time.monotonic() + DEADLINE_S / 4
    while time.monotonic() < ends_s:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("the forked child hangs")


def update(store: DefaultSessionStore, change: Callable[[SessionData], None]) -> None:
    """Change the session `shared` in one turn, through an engine of its own."""
    engine = JsonFilesEngine(str(store.session_dir), lock_timeout_s=store.lock_timeout, durability="process")
    engine.update(SessionKey("shared"), change, now_s=time.time(), policy=policy_named("archive", 100))


def test_D3_a_child_forked_while_a_thread_writes_inherits_no_turn(make_store: MakeStore) -> None:
    """
    Goal: the child is no holder; it may write once the parent is done, and its life keeps nobody waiting.

    Method: a thread has the turn, the process forks, the thread ends its turn; parent and child write by turns while
    both live.
    """
    store = make_store()
    inside, go_on = threading.Event(), threading.Event()

    def change(session: SessionData) -> None:
        session.messages.append(SessionMessage("user", "thread"))
        inside.set()
        assert go_on.wait(DEADLINE_S)

    thread = threading.Thread(target=update, args=(store, change))
    thread.start()
    assert inside.wait(DEADLINE_S)
    ours, theirs = multiprocessing.Pipe()

    def child() -> None:
        told(theirs)
        store.add_user_message("shared", "child")
        theirs.send(os.getpid())
        told(theirs)

    pid = in_child(child)
    go_on.set()
    thread.join(DEADLINE_S)
    store.add_user_message("shared", "parent beside a child")
    ours.send(0)
    assert pid == told(ours)
    store.add_user_message("shared", "parent after the child")
    ours.send(0)
    assert 0 == status_of(pid)
    ours.close()
    theirs.close()
    expected = ["thread", "parent beside a child", "child", "parent after the child"]
    assert expected == everything(store, "shared")


def turn_on(path: str, timeout_s: float) -> AbstractContextManager[object]:
    """Return the turn on a session's file or, where it is a log, on the log itself."""
    if path.endswith(".jsonl"):
        return log.writing(path, timeout_s=timeout_s, durability="process")
    return lock.exclusive(path, timeout_s=timeout_s)


@pytest.mark.parametrize("engine", ["json_files", "jsonl"])
@pytest.mark.parametrize("has_the_turn", [True, False], ids=["holding", "still waiting"])
def test_D3_a_killed_parents_child_keeps_nobody_waiting(
    make_store: MakeStore, session_dir: str, has_the_turn: bool, engine: str
) -> None:
    """
    Goal: a lock ends with the process that took it, not with the children it forked.

    Method: a process forks while its thread holds the lock, or waits for it and gets it then; it is killed in its
    turn, its child lives on, and another process writes.
    """
    if engine == "jsonl":
        store = DefaultSessionStore(db=f"jsonl://{session_dir}", lock_timeout=DEADLINE_S / 20)
    else:
        store = make_store(lock_timeout=DEADLINE_S / 20)
    store.add_user_message("shared", "first")
    path = str(Path(session_dir) / ("shared.jsonl" if engine == "jsonl" else "shared.json"))
    holding, forked = multiprocessing.Pipe(duplex=False), multiprocessing.Pipe(duplex=False)
    first = None if has_the_turn else turn_on(path, 0.0)
    if first is not None:
        first.__enter__()
    pid = os.fork()
    if pid == 0:
        fork_and_hold(path, holding[1], forked[1], has_the_turn)
    grandchild = told(forked[0])
    if first is not None:
        first.__exit__(None, None, None)
    told(holding[0])
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    try:
        assert store.add_user_message("shared", "second") is True
    finally:
        os.kill(grandchild, signal.SIGKILL)
        for end in (*holding, *forked):
            end.close()
    assert ["first", "second"] == everything(store, "shared")
    store.close()


def fork_and_hold(path: str, holding: Connection, forked: Connection, has_the_turn: bool) -> None:
    """Take the lock in a thread, fork when it has it or while it waits for it, tell of both, and stand still."""
    has_it = threading.Event()

    def hold() -> None:
        with turn_on(path, DEADLINE_S):
            has_it.set()
            holding.send(os.getpid())
            time.sleep(DEADLINE_S)

    threading.Thread(target=hold, daemon=True).start()
    while not (has_it.is_set() if has_the_turn else is_open(path if path.endswith(".jsonl") else path + ".lock")):
        time.sleep(0.001)
    child = os.fork()
    if child:
        forked.send(child)
    time.sleep(DEADLINE_S)
    os._exit(1)


def told(line: Connection) -> int:
    """Return the process id that comes over a line."""
    assert line.poll(DEADLINE_S / 4), "the process hangs"
    process_id: int = line.recv()
    return process_id


def is_open(path: str) -> bool:
    """Tell whether this process has a file open."""
    links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
    return any(os.path.realpath(link) == path for link in links if os.path.lexists(link))


def test_D3_a_child_forked_inside_a_change_leaves_the_parents_turn_alone(make_store: MakeStore) -> None:
    """
    Goal: a child that ends inside the turn does not end the turn.

    Method: fork in the change, the child ends at once; a writer without patience is refused until the parent is done.
    """
    store, other = make_store(), make_store(lock_timeout=0.0)

    def change(session: SessionData) -> None:
        session.messages.append(SessionMessage("user", "parent"))
        assert 0 == status_of(in_child(lambda: None))
        with pytest.raises(TimeoutError):
            other.add_user_message("shared", "too early")

    update(store, change)
    assert other.add_user_message("shared", "second") is True
    assert ["parent", "second"] == everything(store, "shared")


def test_D3_a_child_that_returns_from_a_change_overwrites_nobody(make_store: MakeStore) -> None:
    """
    Goal: a child has no turn of its own to write in, so what it read before must not become the session.

    Method: fork in the change; the parent stores its message and one more, then the child returns from the change.
    """
    store = make_store()
    store.add_user_message("shared", "first")
    ours, theirs = multiprocessing.Pipe()
    child: list[int] = []

    def change(session: SessionData) -> None:
        child.append(os.fork())
        session.messages.append(SessionMessage("user", "parent" if child[0] else "child"))
        if not child[0]:
            told(theirs)

    try:
        update(store, change)
        outcome = "stored"
    except SessionStoreError:
        outcome = "refused"
    except BaseException as error:  # noqa: BLE001 - the child must not run the test suite on
        outcome = repr(error)
    if not child[0]:
        theirs.send(outcome)
        os._exit(0)
    store.add_user_message("shared", "after")
    ours.send(0)
    assert 0 == status_of(child[0])
    expected = {
        "refused": ["first", "parent", "after"],
        "stored": ["first", "parent", "after", "child"],
    }
    assert expected.get(ours.recv()) == everything(store, "shared")
    ours.close()
    theirs.close()


@pytest.mark.parametrize("forks", [30, pytest.param(1000, marks=pytest.mark.long)])
def test_D3_children_use_the_store_their_parents_threads_are_using(make_store: MakeStore, forks: int) -> None:
    """
    Goal: no mutex that another thread held at the fork hangs a child, and no cached session of the parent misleads it.

    Method: 3 threads read and write without a pause while the process forks again and again; each child reads and
    writes through the same store object.
    """
    store = make_store(durability="process", lock_timeout=DEADLINE_S, max_messages=20)
    done = threading.Event()
    counts = [0, 0, 0]

    def hammer(writer: int) -> None:
        while not done.is_set():
            store.add_user_message("shared", f"thread-{writer}:{counts[writer]}")
            counts[writer] += 1
            store.get_chat_history("shared")

    threads = [threading.Thread(target=hammer, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()

    def child(number: int) -> None:
        before = store.get_session("shared").revision
        store.add_user_message("shared", f"child:{number}")
        assert before < store.get_session("shared").revision
        store.close()

    try:
        for number in range(forks):
            assert 0 == status_of(in_child(lambda number=number: child(number)))  # type: ignore[misc]
    finally:
        done.set()
        for thread in threads:
            thread.join(DEADLINE_S)
    expected = {f"thread-{writer}": list(range(count)) for writer, count in enumerate(counts)}
    assert {**expected, "child": list(range(forks))} == numbers_by_writer(everything(store, "shared"))
