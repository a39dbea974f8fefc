"""The order of flushes and renames is what each durability promises, and a flush that fails is told (D2, D7)."""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import EIO
from pathlib import Path
from typing import Any

import pytest

from faults.operations import BRIM, add, names_in, open_store, state_of
from praison_store import DefaultSessionStore, OutcomeUnknownError, StoreWriteError
from praison_store.disk import seam


class Flushes:
    """
    Record what is written, flushed, renamed and removed, by name relative to a directory; a temporary file is `tmp`.

    Shape: `events` are pairs such as `("fsync", "tmp")`, `("replace", "one.json")`, `("fsync", "")` for the directory.
    """

    def __init__(self, directory: Path, fail: tuple[str, str] | None = None) -> None:
        self.directory, self.fail = directory, fail
        self.events: list[tuple[str, str]] = []
        self._names: dict[int, str] = {}

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        target = self._target(name, args)
        if self.fail == (name, target):
            raise OSError(EIO, os.strerror(EIO))
        result = call(*args, **named)
        if name == "open":
            self._names[result] = self._relative(args[0])
        elif target is not None and not target.endswith(".lock"):
            self.events.append((name, target))
        return result

    def _target(self, name: str, args: tuple[Any, ...]) -> str | None:
        if name in ("write", "writev", "fsync", "ftruncate"):
            return self._names.get(args[0], "?")
        if name in ("unlink", "mkdir"):
            return self._relative(args[0])
        return self._relative(args[1]) if name == "replace" else None

    def _relative(self, path: str) -> str:
        relative = os.path.relpath(path, self.directory)
        return "tmp" if relative.endswith(".tmp") else "" if relative == "." else relative


def events_of(directory: Path, durability: str, do: Callable[[DefaultSessionStore], Any]) -> list[tuple[str, str]]:
    """Return what a store of that durability does with its files."""
    flushes = Flushes(directory)
    with open_store(directory, durability=durability) as store, seam.intercept(flushes):
        do(store)
    return flushes.events


WRITTEN = [("writev", "tmp"), ("replace", "one.json")]
SYNCED_BEFORE = [("writev", "tmp"), ("fsync", "tmp"), ("replace", "one.json")]
ORDERS = {"full": [*SYNCED_BEFORE, ("fsync", "")], "ordered": SYNCED_BEFORE, "process": WRITTEN}
each_durability = pytest.mark.parametrize("durability", list(ORDERS))


@each_durability
def test_D2_a_write_is_flushed_before_its_rename_and_the_directory_after(tmp_path: Path, durability: str) -> None:
    """Goal: each level does what it promises and no more. Method: record an append, a rename and a clear."""
    add("one", "old")(open_store(tmp_path))
    assert ORDERS[durability] == events_of(tmp_path, durability, add("one", "new"))
    assert ORDERS[durability] == events_of(tmp_path, durability, lambda store: store.rename_session("one", "a title"))
    assert ORDERS[durability] == events_of(tmp_path, durability, lambda store: store.set_chat_history("one", []))


@each_durability
def test_D2_the_archive_is_flushed_before_the_session_lets_go(tmp_path: Path, durability: str) -> None:
    """Goal: a message is never in neither place. Method: record an append that overflows, the first and the second."""
    add("one", *map(str, range(BRIM)))(open_store(tmp_path))
    first = events_of(tmp_path, durability, add("one", "overflows"))
    assert ("mkdir", ".archive") == first[0]
    made = first.index(("replace", "one.json"))
    if durability == "process":
        assert [] == [event for event in first if event[0] == "fsync" and event[1].endswith("jsonl")]
    else:
        assert first.index(("fsync", ".archive/one.jsonl")) < made
        assert first.index(("fsync", ".archive")) < made, "the archive's name was not flushed"
        assert ("fsync", "") in first[:made], "the name of the archive's directory was not flushed"
    add("one", "fills up")(open_store(tmp_path))
    second = events_of(tmp_path, durability, add("one", "overflows again"))
    made = second.index(("writev", "tmp"))
    assert ("writev", ".archive/one.jsonl") == second[0]
    assert (durability != "process") is (("fsync", ".archive/one.jsonl") in second[:made])
    assert ORDERS[durability] == second[made:]


@pytest.mark.parametrize("durability", ["full", "ordered"])
def test_D2_an_archive_made_without_a_flush_is_flushed_whole_by_the_first_that_flushes(
    tmp_path: Path, durability: str
) -> None:
    """
    Goal: a store that promises more may follow one that promised less.

    Method: a store with durability `process` makes the archive; the next overflow flushes the archive's name too.
    """
    add("one", *map(str, range(BRIM + 2)))(open_store(tmp_path, durability="process"))
    events = events_of(tmp_path, durability, add("one", "overflows"))
    before = events[: events.index(("replace", "one.json"))]
    assert ("fsync", ".archive/one.jsonl") in before
    assert ("fsync", ".archive") in before, "the name another store left unflushed was not flushed"


@pytest.mark.parametrize("durability", ["full", "ordered"])
def test_D2_a_deleted_session_does_not_come_back(tmp_path: Path, durability: str) -> None:
    """Goal: a delete outlives a loss of power. Method: record it: the directory is flushed behind the removal."""
    add("one", *map(str, range(2 * BRIM)))(open_store(tmp_path))
    events = events_of(tmp_path, durability, lambda store: store.delete_session("one"))
    removed = events.index(("unlink", "one.json"))
    assert ("fsync", "") in events[removed:]


@pytest.mark.parametrize("durability", ["full", "ordered"])
def test_D2_D7_a_flush_that_fails_refuses_the_write(tmp_path: Path, durability: str) -> None:
    """
    Goal: a flush that failed is an error, and is never tried again on the same file.

    Method: EIO from the flush of the temporary file; the old session stands, nothing is left, a retry succeeds.
    """
    add("one", "old")(open_store(tmp_path))
    before = (tmp_path / "one.json").read_bytes()
    flushes = Flushes(tmp_path, fail=("fsync", "tmp"))
    with open_store(tmp_path, durability=durability) as store:
        with seam.intercept(flushes), pytest.raises(StoreWriteError) as refused:
            add("one", "new")(store)
        assert StoreWriteError is type(refused.value)
        assert EIO == refused.value.errno
        assert [("writev", "tmp"), ("unlink", "tmp")] == flushes.events
        assert before == (tmp_path / "one.json").read_bytes()
        assert {"one.json", "one.json.lock"} == names_in(tmp_path)
        add("one", "new")(store)
    assert ["old", "new"] == state_of(tmp_path)["one"]["messages"]


@pytest.mark.parametrize("durability", ["full", "ordered"])
def test_D2_D7_an_archive_that_cannot_be_flushed_refuses_the_write(tmp_path: Path, durability: str) -> None:
    """Goal: nothing leaves the window for a file that is not safe. Method: EIO from the flush of the archive."""
    add("one", *map(str, range(2 * BRIM + 1)))(open_store(tmp_path))
    before = (tmp_path / "one.json").read_bytes()
    with open_store(tmp_path, durability=durability) as store:
        flushes = Flushes(tmp_path, fail=("fsync", ".archive/one.jsonl"))
        with seam.intercept(flushes), pytest.raises(StoreWriteError) as refused:
            add("one", "new")(store)
        assert StoreWriteError is type(refused.value)
        assert before == (tmp_path / "one.json").read_bytes()
        add("one", "new")(store)
    assert [*map(str, range(2 * BRIM + 1)), "new"] == state_of(tmp_path)["one"]["messages"]


def test_D2_D7_a_directory_that_cannot_be_flushed_leaves_the_outcome_unknown(tmp_path: Path) -> None:
    """
    Goal: behind the rename the message is there, but not proven durable; a retry with its id stores it once.

    Method: EIO from the flush of the directory, in each kind of write.
    """
    add("one", *map(str, range(2 * BRIM)))(open_store(tmp_path))
    with open_store(tmp_path) as store:
        for write in (
            add("one", "new"),
            lambda store: store.rename_session("one", "a title"),
            lambda store: store.fork_session("one", "forked"),
        ):
            with seam.intercept(Flushes(tmp_path, fail=("fsync", ""))), pytest.raises(OutcomeUnknownError) as unknown:
                write(store)
            assert EIO == unknown.value.errno
        add("one", "new")(store)
        state = state_of(tmp_path)
        assert [*map(str, range(2 * BRIM)), "new"] == state["one"]["messages"] == state["forked"]["messages"]
        assert "a title" == state["one"]["title"]
        with seam.intercept(Flushes(tmp_path, fail=("fsync", ""))), pytest.raises(OutcomeUnknownError):
            store.delete_session("one")
        assert {"forked"} == set(state_of(tmp_path))
