"""Readers poll a session while others write it: every read is whole, and none goes back in time (D1)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from praison_store import DefaultSessionStore, SessionNotFoundError
from processes.workers import DEADLINE_S, append_numbered, needs_fork, numbers_by_writer, run_all

MakeStore = Callable[..., DefaultSessionStore]
WINDOW = 8


def append_and_rename(directory: str, count: int, options: dict[str, Any]) -> None:
    """Append 0, 1, ... and rename the session now and then, which rewrites it another way."""
    with DefaultSessionStore(directory, **options) as store:
        for number in range(count):
            store.add_user_message("shared", f"n:{number}")
            if number % 7 == 0:
                store.rename_session("shared", f"up to {number}")


def histories(store: DefaultSessionStore) -> Iterator[list[str]]:
    """Yield the history, read through one store that remembers, again and again."""
    while True:
        yield [message["content"] for message in store.get_chat_history("shared")]


def sessions(store: DefaultSessionStore) -> Iterator[list[str]]:
    """Yield the contents of the session with all its fields, from a store that remembers nothing."""
    while True:
        store.invalidate_cache()
        yield [str(message.content) for message in store.get_session("shared").messages]


def raw_bytes(store: DefaultSessionStore) -> Iterator[list[str]]:
    """Yield the contents in the bytes of the file, decoded by nobody of ours."""
    path = Path(str(store.session_dir)) / "shared.json"
    while True:
        raw = path.read_bytes() if path.exists() else b""
        yield [message["content"] for message in json.loads(raw)["messages"]] if raw else []


def exports(store: DefaultSessionStore) -> Iterator[list[str]]:
    """Yield the contents of the archive and the window, read as one; the first message ever is always there."""
    for contents in whole_sessions(store):
        assert not contents or contents[0] == "n:0", "the oldest messages are missing"
        yield contents


def whole_sessions(store: DefaultSessionStore) -> Iterator[list[str]]:
    """Yield the contents of the archive and the window, read as one."""
    while True:
        try:
            (session,) = store.export_session("shared")["sessions"]
        except SessionNotFoundError:
            yield []
        else:
            yield [message["content"] for message in [*session["archived_messages"], *session["messages"]]]


def watch(directory: str, read: Callable[[DefaultSessionStore], Iterator[list[str]]], last: int) -> int:
    """Read until the last number is seen; every read is a run without a gap and never ends earlier than before."""
    newest, rounds, ends_s = -1, 0, time.monotonic() + DEADLINE_S
    with DefaultSessionStore(directory, max_messages=WINDOW) as store:
        for contents in read(store):
            numbers = [int(content.removeprefix("n:")) for content in contents]
            if newest >= 0:
                assert numbers, "a session that had messages was read as an empty one"
            if numbers:
                assert list(range(numbers[0], numbers[-1] + 1)) == numbers
                assert newest <= numbers[-1], "a read went back in time"
                newest = numbers[-1]
            rounds += 1
            if newest == last:
                return rounds
            assert time.monotonic() < ends_s, f"the last message was not seen, only {newest}"
    raise AssertionError("readers do not end by themselves")


def watch_while_writing(make_store: MakeStore, count: int, **options: Any) -> None:
    """One writer, four readers that each look another way, all in processes of their own."""
    given = {"lock_timeout": DEADLINE_S, "max_messages": WINDOW, **options}
    directory = make_store(**given).session_dir
    jobs: list[Any] = [(watch, (directory, read, count - 1)) for read in (histories, sessions, raw_bytes, exports)]
    _, *rounds = run_all([(append_and_rename, (directory, count, given)), *jobs])
    print(f"{count} writes, rounds of reading (history, session, bytes, export): {rounds}")


@needs_fork
@pytest.mark.parametrize("durability", ["full", "process"])
def test_D1_a_reader_beside_a_writer_sees_whole_states_in_order(make_store: MakeStore, durability: str) -> None:
    """Goal: no reader needs a lock. Method: 400 writes with a small window, read four ways until the last is seen."""
    watch_while_writing(make_store, 400, durability=durability)


@pytest.mark.long
@needs_fork
def test_D1_a_reader_beside_a_writer_sees_whole_states_in_order_at_length(make_store: MakeStore) -> None:
    """Goal and method: the short form's, with 10,000 writes."""
    watch_while_writing(make_store, 10_000, durability="process")


@needs_fork
def test_D1_readers_beside_many_writers_see_every_writer_in_order(make_store: MakeStore) -> None:
    """
    Goal: one snapshot of archive and window while many write.

    Method: 4 writers and 2 readers; each export holds, for each writer, the numbers from 0 without a gap.
    """
    options = {"lock_timeout": DEADLINE_S, "max_messages": WINDOW}
    directory = make_store(**options).session_dir
    writers = [f"writer-{number}" for number in range(4)]
    jobs: list[Any] = [(append_numbered, (directory, ["shared"], writer, 60, options)) for writer in writers]
    readers: list[Any] = [(watch_all_writers, (directory, len(writers), 59))] * 2
    print("rounds of reading:", run_all([*jobs, *readers])[len(writers) :])


def watch_all_writers(directory: str, writers: int, last: int) -> int:
    """Export until each writer's last number is there; every writer's numbers run from 0 without a gap."""
    rounds, ends_s = 0, time.monotonic() + DEADLINE_S
    seen: dict[str, int] = {}
    with DefaultSessionStore(directory, max_messages=WINDOW) as store:
        for contents in whole_sessions(store):
            for writer, numbers in numbers_by_writer(contents).items():
                assert list(range(len(numbers))) == numbers
                assert seen.get(writer, 0) <= len(numbers), "a read went back in time"
                seen[writer] = len(numbers)
            rounds += 1
            if len(seen) == writers and min(seen.values()) == last + 1:
                return rounds
            assert time.monotonic() < ends_s
    raise AssertionError("readers do not end by themselves")
