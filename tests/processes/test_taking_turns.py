"""Two stores take turns on one session; each finds the other's write and never uses what it remembers (D10)."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from praison_store import DefaultSessionStore
from processes.workers import DEADLINE_S, everything, needs_fork, run_all

MakeStore = Callable[..., DefaultSessionStore]


@pytest.mark.parametrize("retention", ["archive", "truncate", "keep_all"])
def test_D10_two_stores_taking_turns_always_know_the_other(make_store: MakeStore, retention: str) -> None:
    """
    Goal: a cached session is not used once its file is another one.

    Method: two stores append 60 messages in turn; before and after each write both read, and are always right.
    """
    options = {"max_messages": 10, "durability": "process", "retention": retention}
    stores = [make_store(**options) for _ in range(2)]
    expected: list[str] = []
    for number in range(60):
        stores[number % 2].add_user_message("shared", f"message {number:03}")
        expected.append(f"message {number:03}")
        shown = expected if retention == "keep_all" else expected[-10:]
        for store in stores:
            assert shown == [message["content"] for message in store.get_chat_history("shared")]
            assert shown == [message.content for message in store.get_session("shared").messages]
            assert number + 1 == store.get_session("shared").revision
    kept = expected[-10:] if retention == "truncate" else expected
    assert kept == everything(stores[0], "shared")


def test_D10_a_file_with_the_old_ones_inode_size_and_time_is_read_anew(make_store: MakeStore) -> None:
    """
    Goal: inode number, size and time are no proof that a file is unchanged; a descriptor held open is.

    Method: while one store remembers a session, another writes it twice, which frees the remembered file and may give
    its inode number to the newest; sizes repeat by themselves (a full window of equal messages), the time is put back.
    """
    options = {"max_messages": 4, "durability": "process", "retention": "truncate"}
    remembering, other = make_store(**options), make_store(**options)
    path = Path(str(remembering.session_dir)) / "shared.json"
    for number in range(1000, 1004):
        other.add_user_message("shared", str(number))
    for number in range(1004, 1104, 2):
        os.utime(path, ns=(10**18, 10**18))
        remembering.invalidate_cache()
        assert str(number - 1) == remembering.get_chat_history("shared")[-1]["content"]
        other.invalidate_cache()
        other.add_user_message("shared", str(number))
        other.invalidate_cache()
        other.add_user_message("shared", str(number + 1))
        os.utime(path, ns=(10**18, 10**18))
        expected = [str(number + step) for step in (-2, -1, 0, 1)]
        assert expected == [message["content"] for message in remembering.get_chat_history("shared")]


def test_D10_leading_system_messages_do_not_hide_the_newest_message(make_store: MakeStore) -> None:
    """
    Goal: what a store remembers follows its own writes, whatever the cut looked like.

    Method: a window that begins with a system message overflows again and again, read before and after each write.
    """
    store, other = make_store(max_messages=4, durability="process"), make_store(max_messages=4, durability="process")
    store.add_message("shared", "system", "Be brief.")
    expected: list[str] = []
    for number in range(30):
        store.add_user_message("shared", str(number))
        expected.append(str(number))
        for reader in (store, other):
            contents = [message["content"] for message in reader.get_chat_history("shared")]
            assert ["Be brief.", *expected[-3:]] == contents


def test_D10_a_deleted_and_a_recreated_session_is_no_memory(make_store: MakeStore) -> None:
    """Goal: neither the dead nor its successor is taken for the other. Method: two stores, 20 lives of a session."""
    stores = [make_store(durability="process", max_messages=2) for _ in range(2)]
    for life in range(20):
        writer, reader = stores[life % 2], stores[(life + 1) % 2]
        for number in range(6):
            writer.add_user_message("shared", f"{life}:{number}")
            assert f"{life}:{number}" == reader.get_chat_history("shared")[-1]["content"]
        assert [f"{life}:{number}" for number in range(6)] == everything(reader, "shared")
        assert reader.delete_session("shared") is True
        assert [] == writer.get_chat_history("shared")
        assert writer.session_exists("shared") is False


def take_turns(directory: str, mine: Connection, turns: int) -> list[str]:
    """Append when it is this process's turn, and check before and after that the whole history is right."""
    with DefaultSessionStore(directory, retention="keep_all", durability="process") as store:
        for _ in range(turns):
            assert mine.poll(DEADLINE_S)
            expected: list[str] = mine.recv()
            assert expected == [message["content"] for message in store.get_chat_history("shared")]
            expected.append(f"process {os.getpid()}")
            store.add_user_message("shared", expected[-1])
            assert expected == [message["content"] for message in store.get_chat_history("shared")]
            mine.send(expected)
        return expected


@needs_fork
def test_D10_two_processes_taking_turns_always_know_the_other(make_store: MakeStore) -> None:
    """Goal: as with two stores, across processes. Method: two processes hand the whole history to and fro 100 times."""
    store = make_store()
    left, right = multiprocessing.Pipe()
    left.send([])
    jobs = [(take_turns, (store.session_dir, right, 100)), (take_turns, (store.session_dir, left, 100))]
    try:
        histories = run_all(jobs)
    finally:
        left.close()
        right.close()
    assert [199, 200] == sorted(map(len, histories))
    assert max(histories, key=len) == everything(store, "shared")
