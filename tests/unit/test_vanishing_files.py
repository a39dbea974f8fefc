"""Files that go, come or change between two steps of a call: the answer is the one before or the one after."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from praison_store import DefaultSessionStore, SessionNotFoundError, SessionStoreError, StoreReadError
from praison_store.disk import seam

READS: dict[str, Callable[[DefaultSessionStore], Any]] = {
    "history": lambda store: store.get_chat_history("s"),
    "session": lambda store: [message.content for message in store.get_session("s").messages],
    "archived": lambda store: [message.content for message in store.get_archived_messages("s")],
    "window": lambda store: [row["content"] for row in store.window("s", 0, 99)],
    "exists": lambda store: store.session_exists("s"),
    "list": lambda store: sorted(row["id"] for row in store.list_sessions()),
    # Several sessions are several reads: what is sure is that the other one is among them.
    "agents": lambda store: "hello" in [message["content"] for message in store.get_agent_chat_history("agent")],
    "search": lambda store: sorted(hit.session_id for hit in store.search("hello")),
    "check": lambda store: sorted({problem.code for problem in store.check().problems} - {"leftover"}),
}
WRITES: dict[str, Callable[[DefaultSessionStore], Any]] = {
    "add": lambda store: store.add_user_message("s", "new", message_id="m"),
    "metadata": lambda store: store.update_session_metadata("s", k=1),
    "clear": lambda store: store.clear_session("s"),
    "delete": lambda store: store.delete_session("s"),
    "fork": lambda store: bool(store.fork_session("s", "fork")),
    "vacuum": lambda store: bool(store.vacuum()),
    "repair": lambda store: bool(store.check(repair=True)),
}


def new_directory(path: Path) -> None:
    """Put two sessions into an empty directory, one of them with an archive."""
    shutil.rmtree(path, ignore_errors=True)
    with DefaultSessionStore(path, 2, durability="process") as store:
        for number in range(5):
            store.add_user_message("s", f"hello {number}")
        store.add_user_message("other", "hello")
        store.set_agent_info("s", "agent")
        store.set_agent_info("other", "agent")


def unlinked(path: Path) -> None:
    """Remove the session's file, as another program might."""
    (path / "s.json").unlink(missing_ok=True)


def other_layout(path: Path) -> None:
    """Put another program's file in the session's place."""
    (path / "new").write_text('{"session_id": "s", "created_at": "c", "messages": [{"role": "user", "content": "x"}]}')
    (path / "new").chmod(0o600)
    os.replace(path / "new", path / "s.json")


ACTS: dict[str, Callable[[Path], None]] = {"unlinked": unlinked, "other_layout": other_layout}


def acting_at(step: int, act: Callable[[], None]) -> tuple[Callable[..., Any], list[int]]:
    """Return what to put around the seam so that something happens before one of its calls, and a count of them."""
    seen = [0]

    def around(_name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if seen[0] == step:
            act()
        seen[0] += 1
        return call(*args, **named)

    return around, seen


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Leave out the log records of what is looked for in vain."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("read", READS)
def test_D1_a_read_beside_a_change_answers_as_before_or_as_after_it(read: str, act: str, tmp_path: Path) -> None:
    """Goal: no read sees half a change or fails for it. Method: change the file before each call of the seam in turn."""
    path = tmp_path / "s"
    for step in range(200):
        new_directory(path)
        with DefaultSessionStore(path, 2, durability="process") as store:
            before = READS[read](store)
            store.invalidate_cache()
            around, seen = acting_at(step, lambda: ACTS[act](path))
            with seam.intercept(around):
                answer = READS[read](store)
            if seen[0] <= step:
                break
            store.invalidate_cache()
            assert answer in (before, READS[read](store)), step
            assert [{"role": "user", "content": "hello"}] == store.get_chat_history("other")
    assert 1 <= step < 199


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("write", WRITES)
def test_a_write_beside_one_who_takes_no_turn_is_done_or_refused_typed(write: str, act: str, tmp_path: Path) -> None:
    """Goal: a program that ignores our locks crashes nobody. Method: change the file before each call of the seam."""
    path = tmp_path / "s"
    for step in range(200):
        new_directory(path)
        with DefaultSessionStore(path, 2, durability="process") as store:
            around, seen = acting_at(step, lambda: ACTS[act](path))
            with seam.intercept(around), suppress(SessionNotFoundError):
                WRITES[write](store)
            if seen[0] <= step:
                break
            assert [] == [name for name in os.listdir(path) if name.endswith(".tmp")]
            assert [{"role": "user", "content": "hello"}] == store.get_chat_history("other")
            assert store.add_user_message("s", "after"), "no lock is left"
    assert 1 <= step < 199


def test_a_directory_that_was_removed_is_empty_and_made_anew_by_a_write(tmp_path: Path) -> None:
    """Goal: a cleaned-up home breaks no running program. Method: remove it before each read and before a write."""
    path = tmp_path / "s"
    for name, read in READS.items():
        new_directory(path)
        with DefaultSessionStore(path, durability="process") as store:
            READS["history"](store)
            shutil.rmtree(path)
            assert not read(store), name
            assert False is store.delete_session("s")
            assert store.vacuum().removed == []
            assert not path.exists()
            assert store.add_user_message("s", "anew")
            assert [{"role": "user", "content": "anew"}] == store.get_chat_history("s")


def test_a_directory_that_became_a_file_is_told(tmp_path: Path) -> None:
    """Goal: no empty answer for what cannot be read. Method: a file in the directory's place, each read and write."""
    path = tmp_path / "s"
    for call in (*READS.values(), *WRITES.values()):
        new_directory(path)
        with DefaultSessionStore(path, durability="process") as store:
            shutil.rmtree(path)
            path.write_text("a file")
            with pytest.raises(SessionStoreError) as caught:
                call(store)
            assert isinstance(caught.value, OSError)
            path.unlink()


def test_a_session_that_changes_all_the_time_is_read_whole_in_a_turn_of_ones_own(tmp_path: Path) -> None:
    """Goal: window and archive are of one moment. Method: write before every look, so that no two looks are alike."""
    with (
        DefaultSessionStore(tmp_path, 2, durability="process") as store,
        DefaultSessionStore(tmp_path, 2, durability="process") as writer,
    ):
        said = [f"{number}" for number in range(5)]
        for text in said:
            writer.add_user_message("s", text)
        held = [False]

        def around(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
            held[0] = held[0] or name == "lock"
            if name == "lstat" and not held[0] and str(args[0]).endswith("s.json"):
                held[0] = True
                said.append(str(len(said)))
                writer.add_user_message("s", said[-1])
                held[0] = False
            return call(*args, **named)

        with seam.intercept(around):
            rows = store.window("s", 0, 99)
        shown = [row["content"] for row in rows]
        assert said[: len(shown)] == shown
        assert 5 <= len(shown)


def test_a_file_that_cannot_be_read_is_no_empty_session(tmp_path: Path) -> None:
    """Goal: an I/O error is told, never an empty history. Method: fail each call that opens or reads the file."""
    new_directory(tmp_path / "s")
    for failing in ("open", "read", "fstat", "lstat"):
        with DefaultSessionStore(tmp_path / "s", durability="process") as store:

            def around(name: str, call: Callable[..., Any], *args: Any, bad: str = failing, **named: Any) -> Any:
                if name == bad:
                    raise OSError(5, "Input/output error")
                return call(*args, **named)

            with seam.intercept(around), pytest.raises(StoreReadError) as caught:
                store.get_chat_history("s")
            assert 5 == caught.value.errno
            assert 2 <= len(store.get_chat_history("s"))
