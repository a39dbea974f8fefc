"""Threads append through one store or through several, to one session or to many (D3)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from praison_store import DefaultSessionStore
from processes.workers import DEADLINE_S, append_numbered, assert_all_there, needs_fork, print_waits, run_all

MakeStore = Callable[..., DefaultSessionStore]
WRITERS = [f"writer-{number}" for number in range(16)]


def append_all(stores: list[DefaultSessionStore], sessions: list[str], count: int) -> None:
    """Let each writer, a thread, append its numbered messages to every session through its store."""
    gate = threading.Barrier(len(stores))

    def write(store: DefaultSessionStore, writer: str) -> None:
        gate.wait(DEADLINE_S)
        for number in range(count):
            for session_id in sessions:
                assert store.add_user_message(session_id, f"{writer}:{number}") is True

    with ThreadPoolExecutor(len(stores)) as pool:
        for done in [pool.submit(write, store, writer) for store, writer in zip(stores, WRITERS, strict=False)]:
            done.result(DEADLINE_S)


def test_D3_threads_on_one_store_take_turns(make_store: MakeStore) -> None:
    """Goal: turns of threads that share a cache and a process. Method: 16 threads x 50 messages, small window."""
    store = make_store(lock_timeout=DEADLINE_S, max_messages=20)
    append_all([store] * 16, ["shared"], 50)
    assert_all_there(store, "shared", WRITERS, 50)


def test_D3_threads_with_a_store_each_take_turns(make_store: MakeStore) -> None:
    """Goal: turns of threads whose caches know nothing of each other. Method: 16 stores, 16 threads x 50 messages."""
    stores = [make_store(lock_timeout=DEADLINE_S, max_messages=20) for _ in range(16)]
    append_all(stores, ["shared"], 50)
    for store in stores:
        assert_all_there(store, "shared", WRITERS, 50)


def test_D3_threads_write_more_sessions_than_a_cache_holds(make_store: MakeStore) -> None:
    """Goal: sessions that leave the cache in the middle of it all. Method: 4 threads, 80 sessions, 3 rounds."""
    store = make_store(lock_timeout=DEADLINE_S, durability="process")
    sessions = [f"session-{number}" for number in range(80)]
    append_all([store] * 4, sessions, 3)
    for session_id in sessions:
        assert_all_there(store, session_id, WRITERS[:4], 3)


@needs_fork
def test_D3_processes_write_many_sessions(make_store: MakeStore) -> None:
    """Goal: each session's writers take turns, whatever the others do. Method: 8 processes, 20 sessions, 5 rounds."""
    store = make_store(max_messages=10)
    sessions = [f"session-{number}" for number in range(20)]
    options = {"lock_timeout": DEADLINE_S, "max_messages": 10}
    jobs = [(append_numbered, (store.session_dir, sessions, writer, 5, options)) for writer in WRITERS[:8]]
    print_waits("8 processes x 20 sessions x 5", run_all(jobs))
    for session_id in sessions:
        assert_all_there(store, session_id, WRITERS[:8], 5)


def test_D3_threads_read_what_threads_write(make_store: MakeStore) -> None:
    """
    Goal: a reader that shares the writers' cache sees whole states, the newest or older, never an older one again.

    Method: 3 threads append and rename, 2 threads read every way there is until all is written; the archive and the
    window of one export are one snapshot, so each writer's numbers run from 0 without a gap.
    """
    store = make_store(lock_timeout=DEADLINE_S, durability="process", max_messages=8)
    written = threading.Event()

    def read() -> int:
        seen, revision, rounds = 0, 0, 0
        while not written.is_set() or not rounds:
            contents = [message["content"] for message in store.get_chat_history("shared")]
            assert seen == 0 or contents, "a session that had messages was read as an empty one"
            seen = max(seen, len(contents))
            session = store.get_session("shared")
            assert revision <= session.revision
            revision, rounds = session.revision, rounds + 1
        return rounds

    def write(writer: str) -> None:
        for number in range(150):
            store.add_user_message("shared", f"{writer}:{number}")
            if number % 10 == 0:
                store.rename_session("shared", f"{writer} {number}")

    with ThreadPoolExecutor(5) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for done in [pool.submit(write, writer) for writer in WRITERS[:3]]:
                done.result(DEADLINE_S)
        finally:
            written.set()
        print("rounds of reading:", [reader.result(DEADLINE_S) for reader in readers])
    assert_all_there(store, "shared", WRITERS[:3], 150)
