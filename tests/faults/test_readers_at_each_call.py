"""A reader at every call of a write sees the old session or the new one, and waits for nobody (D1)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faults.call_faults import rehearse
from faults.operations import BRIM, OPERATIONS, Operation, State, add, numbered, open_store, state_of
from praison_store import DefaultSessionStore, SessionNotFoundError
from praison_store.disk import seam

WRITES = [operation for operation in OPERATIONS if "damaged" not in operation.name and "read" not in operation.name]


def _refill(store: DefaultSessionStore) -> None:
    add("one", *(f"a longer text, number {number}" for number in range(3 * BRIM)))(store)


def _clear_and_refill(store: DefaultSessionStore) -> None:
    store.clear_session("one")
    _refill(store)


def _delete_and_refill(store: DefaultSessionStore) -> None:
    store.delete_session("one")
    _refill(store)


# The archive of another life is longer than the one a reader was told of, and its lines end elsewhere.
LIVES = [
    Operation("clear and refill", numbered(2 * BRIM), _clear_and_refill),
    Operation("delete and refill", numbered(2 * BRIM), _delete_and_refill),
]


class Watching:
    """Before and behind every call, read the directory through a fresh store and byte by byte."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.seen: list[tuple[str, State]] = []
        self._is_reading = False

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if self._is_reading:
            return call(*args, **named)
        self._read(f"before {name} {args[0] if name in ('replace', 'unlink') else ''}")
        try:
            return call(*args, **named)
        finally:
            self._read(f"behind {name} {args[0] if name in ('replace', 'unlink') else ''}")

    def _read(self, when: str) -> None:
        self._is_reading = True
        for path in self.directory.glob("*.json"):
            json.loads(path.read_bytes())
        self.seen.append((when, state_of(self.directory)))
        self._is_reading = False


@pytest.mark.parametrize("operation", WRITES, ids=lambda operation: operation.name)
def test_D1_a_reader_at_any_call_of_a_write_sees_the_old_session_or_the_new(
    tmp_path: Path, operation: Operation
) -> None:
    """
    Goal: one moment at which the old state ends and the new one begins, for readers that take no lock.

    Method: read everything, archive included, before and behind each call of each write, while it has the lock.
    """
    rehearsed = rehearse(operation, tmp_path)
    watching = Watching(rehearsed.before_directory)
    with open_store(rehearsed.before_directory) as store, seam.intercept(watching):
        operation.run(store)
    for when, state in watching.seen:
        assert state in rehearsed.states(), when
    is_new = [state == rehearsed.after for _, state in watching.seen]
    assert sorted(is_new) == is_new or rehearsed.before == rehearsed.after, "the new state was there and went again"


@pytest.mark.parametrize("operation", WRITES, ids=lambda operation: operation.name)
def test_D1_D10_a_reader_of_the_same_store_misleads_no_writer(tmp_path: Path, operation: Operation) -> None:
    """
    Goal: what a reader puts into the shared cache in the middle of a write is not what the next call finds.

    Method: a signal handler or another thread, at every call: read everything through the store that is writing.
    """
    rehearsed = rehearse(operation, tmp_path)
    with open_store(rehearsed.before_directory) as store:
        whole_session(store)
        reading = Reading(store)
        with seam.intercept(reading):
            operation.run(store)
        expected = [state.get("one", {}).get("messages") for state in rehearsed.states()]
        assert [] == [found for found in reading.seen if found not in expected]
        assert expected[1] == whole_session(store)
        store.add_user_message("one", "next")
        assert [*(expected[1] or []), "next"] == whole_session(store)
        assert "next" == store.get_chat_history("one")[-1]["content"]


class Reading:
    """Before and behind every call, read the session `one` every way there is, through one store."""

    def __init__(self, store: DefaultSessionStore) -> None:
        self.store = store
        self.seen: list[list[Any] | None] = []
        self._is_reading = False

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if self._is_reading:
            return call(*args, **named)
        self._read()
        try:
            return call(*args, **named)
        finally:
            self._read()

    def _read(self) -> None:
        self._is_reading = True
        self.store.get_chat_history("one")
        self.seen.append(whole_session(self.store))
        self._is_reading = False


class Between:
    """Let another do something in front of one of a reader's calls."""

    def __init__(self, index: int, do: Callable[[], object]) -> None:
        self.index, self.do = index, do
        self.call = ""
        self._next = 0

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        index, self._next = self._next, self._next + 1
        if index == self.index and not self.call:
            self.call = name
            self.do()
        return call(*args, **named)


@pytest.mark.parametrize("remembers", [False, True], ids=["a new reader", "a reader that remembers"])
@pytest.mark.parametrize("operation", [*WRITES, *LIVES], ids=lambda operation: operation.name)
def test_D1_a_write_at_any_call_of_a_reader_gives_it_the_old_session_or_the_new(
    tmp_path: Path, operation: Operation, remembers: bool
) -> None:
    """
    Goal: a snapshot of archive and window, whatever another writer does between two calls of the reader.

    Method: for each call of a whole read in turn, another store does the operation just before it.
    """
    rehearsed = rehearse(operation, tmp_path)
    for index in range(100):
        directory = tmp_path / f"run-{index}"
        shutil.copytree(rehearsed.before_directory, directory)
        with open_store(directory, durability="process") as other, open_store(directory) as reader:
            if remembers:
                whole_session(reader)
            between = Between(index, lambda other=other: operation.run(other))  # type: ignore[misc] # one type of other
            with seam.intercept(between):
                found = whole_session(reader)
            expected = [state.get("one", {}).get("messages") for state in rehearsed.states()]
            assert found in expected, f"{operation.name} before {between.call} at {index}"
            if not between.call:
                return
            assert expected[1] == whole_session(reader), f"{operation.name} before {between.call} at {index}"
    raise AssertionError("a whole read has more calls than were tried")


def whole_session(store: DefaultSessionStore) -> list[Any] | None:
    """Return the contents of the session `one`, archived ones first; None where there is no such session."""
    try:
        (session,) = store.export_session("one")["sessions"]
    except SessionNotFoundError:
        return None
    return [message["content"] for message in [*session["archived_messages"], *session["messages"]]]
