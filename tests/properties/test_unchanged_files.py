"""D10: a cached session is used only when its file is proven unchanged; whoever else wrote is always noticed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import stores_side_by_side as others

from praison_store import DefaultSessionStore
from praison_store.disk import seam

ROUNDS = 150


def contents(store: DefaultSessionStore) -> list[str]:
    """Return the texts of the session's window."""
    return [message["content"] for message in store.get_chat_history("s")]


@pytest.mark.parametrize("retention", ["truncate", "archive"])
@pytest.mark.parametrize("warm", [True, False], ids=["reading", "writing_only"])
def test_D10_writers_that_take_turns_at_a_full_window_of_equal_messages_never_erase_each_other(
    retention: str, warm: bool, tmp_path: Path
) -> None:
    """
    Goal: a freed inode number, an equal size and an equal time are no proof. Method: three writers, equal messages.

    The second and third writer's files can give the first one its old file's inode number, size and time back; its
    next append would erase theirs, which the revision counts.
    """
    stores = [DefaultSessionStore(tmp_path, 3, retention=retention, durability="process") for _ in range(3)]
    for turn in range(ROUNDS):
        for store in stores:
            store.add_user_message("s", "equal")
            if warm:
                assert min(3, 3 * turn + 1) <= len(contents(store))
    revisions = {store.get_session("s").revision for store in stores}
    assert {3 * ROUNDS} == revisions
    if retention == "archive":
        assert 3 * ROUNDS == 3 + len(stores[0].get_archived_messages("s"))
    for store in stores:
        store.close()


def timeless(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Do a call of the seam on a file system whose clock stands still."""
    state = call(*args, **named)
    if name not in ("lstat", "fstat"):
        return state
    kept = {field: getattr(state, field) for field in ("st_ino", "st_dev", "st_size", "st_mode", "st_nlink")}
    return SimpleNamespace(**kept, st_mtime_ns=0, st_ctime_ns=0, st_mtime=0.0)


@pytest.mark.parametrize("looks", [0, 1, 2, 3])
def test_D10_the_held_file_alone_proves_it_where_times_do_not_tell(looks: int, tmp_path: Path) -> None:
    """
    Goal: no freed inode number comes back as the cached file's. Method: equal sizes, no times, others' writes between.

    A file system with whole seconds looks like this for a second; the number of looks decides whether the file was
    held by a write, by a read, or not yet.
    """
    with (
        seam.intercept(timeless),
        DefaultSessionStore(tmp_path, 1, retention="truncate", durability="process") as store,
        DefaultSessionStore(tmp_path, 1, retention="truncate", durability="process") as other,
    ):
        for number in range(100, 100 + ROUNDS):
            if looks == 0:
                store.add_user_message("s", f"{number} mine")
            for _ in range(looks):
                contents(store)
            for step in range(4):
                other.add_user_message("s", f"{number} by{step}")
                other.invalidate_cache()
            assert [f"{number} by3"] == contents(store)
            assert [f"{number} by3"] == contents(store)


def test_D10_each_writer_sees_the_messages_of_the_others_at_once(tmp_path: Path) -> None:
    """Goal: no read shows an older window. Method: two stores and PraisonAI's layout, texts of one length."""
    stores = [DefaultSessionStore(tmp_path, 3, retention="truncate", durability="process") for _ in range(2)]
    said: list[str] = []
    for turn in range(ROUNDS):
        said.append(f"{len(said):06d}")
        if turn % 5 == 4:
            others.foreign_append(tmp_path / "s.json", {"role": "user", "content": said[-1], "metadata": {}})
        else:
            stores[turn % 2].add_user_message("s", said[-1])
        for store in stores:
            assert said[-3:] == contents(store)
            assert said[-3:] == [message.content for message in store.get_session("s").messages]
    for store in stores:
        store.close()


@pytest.mark.parametrize("edit", [others.edit_in_place, others.edit_in_a_copy], ids=["in_place", "in_a_copy"])
def test_D10_an_edit_that_keeps_the_size_is_noticed(edit: Callable[[Path, str, str], bool], tmp_path: Path) -> None:
    """Goal: a text changed by hand is read at once, and kept by the next write. Method: same-size edits in a row."""
    with DefaultSessionStore(tmp_path, durability="process") as store:
        store.add_user_message("s", "text 0000")
        for number in range(1, ROUNDS):
            assert edit(tmp_path / "s.json", f"text {number - 1:04d}", f"text {number:04d}")
            assert [f"text {number:04d}"] == contents(store)[:1]
            if number % 10 == 0:
                store.add_user_message("s", "more")
                assert [f"text {number:04d}", *["more"] * (number // 10)] == contents(store)


def test_D10_a_file_put_back_is_read_anew(tmp_path: Path) -> None:
    """Goal: an older file restored from a backup, with its old times, is noticed. Method: put two versions in turns."""
    with DefaultSessionStore(tmp_path, durability="process") as store:
        path = tmp_path / "s.json"
        versions = []
        for text in ("old", "new"):
            store.delete_session("s")
            store.add_user_message("s", text)
            versions.append((path.read_bytes(), os.stat(path).st_mtime_ns))
        for turn in range(ROUNDS):
            raw, mtime_ns = versions[turn % 2]
            backup = tmp_path / "backup"
            backup.write_bytes(raw)
            os.utime(backup, ns=(mtime_ns, mtime_ns))
            os.replace(backup, path)
            assert [("old", "new")[turn % 2]] == contents(store)


def test_D10_a_session_deleted_and_begun_anew_by_another_is_not_the_cached_one(tmp_path: Path) -> None:
    """Goal: what was deleted never comes back from a cache. Method: one store deletes and begins, one has it cached."""
    with (
        DefaultSessionStore(tmp_path, durability="process") as one,
        DefaultSessionStore(tmp_path, durability="process") as other,
    ):
        for turn in range(ROUNDS):
            one.add_user_message("s", "a")
            assert ["a"] == contents(other)
            assert one.delete_session("s")
            if turn % 2:
                assert [] == contents(other)
            one.add_user_message("s", "b")
            assert ["b"] == contents(other)
            assert other.add_user_message("s", "c")
            assert ["b", "c"] == contents(one)
            assert other.delete_session("s")


def test_D10_a_copy_given_to_a_caller_is_never_the_cached_one(tmp_path: Path) -> None:
    """Goal: changing what was returned changes no later answer. Method: spoil every object a read returns."""
    with DefaultSessionStore(tmp_path, durability="process") as store:
        store.add_message("s", "assistant", [{"type": "text", "text": "x"}], {"k": [1]}, [{"id": "1"}])
        store.add_user_message("p", "plain")
        store.update_session_metadata("s", k=[1])
        before = json.dumps([store.export_session("s"), store.get_chat_history("p")])
        for history in (store.get_chat_history("s"), store.get_chat_history("p")):
            history[0]["content"] = "spoiled"
            history.clear()
        store.get_chat_history("s")[0]["tool_calls"].append("spoiled")
        session = store.get_session("s")
        session.messages[0].metadata["k"].append("spoiled")
        session.metadata["k"].append("spoiled")
        session.messages.clear()
        for row in store.list_sessions():
            row["metadata"]["spoiled"] = True
        assert before == json.dumps([store.export_session("s"), store.get_chat_history("p")])


def test_D10_the_cache_is_bounded_and_a_session_that_left_it_is_read_again(tmp_path: Path) -> None:
    """Goal: many sessions do not use up descriptors. Method: 200 sessions; at most 64 files stay open."""
    with DefaultSessionStore(tmp_path, durability="process") as store:
        before = len(os.listdir("/proc/self/fd"))
        for number in range(200):
            store.add_user_message(f"s{number}", str(number))
        assert len(os.listdir("/proc/self/fd")) - before <= 64
        for number in range(200):
            assert [str(number)] == [m["content"] for m in store.get_chat_history(f"s{number}")]
        store.invalidate_cache("s199")
        store.invalidate_cache()
        assert before >= len(os.listdir("/proc/self/fd"))
