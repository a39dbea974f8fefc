"""Adding messages: every way in, what a repeat of an id does, and that equal texts are not repeats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from praison_store import DefaultSessionStore, InvalidMessageError, SessionMessage

Make = Callable[..., DefaultSessionStore]


def contents(store: DefaultSessionStore, session_id: str = "s") -> list[object]:
    """Return the contents of a session's window."""
    return [message["content"] for message in store.get_chat_history(session_id)]


def everything(store: DefaultSessionStore) -> list[object]:
    """Return the contents of all messages, archived ones first."""
    return [m.content for m in [*store.get_archived_messages("s"), *store.get_session("s").messages]]


def test_each_way_of_adding_gives_its_role_and_is_acknowledged(store: DefaultSessionStore) -> None:
    """Goal: the three methods differ in the role only. Method: one message by each, read back whole."""
    assert store.add_message("s", "system", "be kind") is True
    assert store.add_user_message("s", "hello", {"k": 1}) is True
    assert store.add_assistant_message("s", None, {"k": 2}, [{"id": "1"}]) is True
    assert store.add_message("s", "tool", "result", tool_call_id="1") is True
    assert [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "result", "tool_call_id": "1"},
    ] == store.get_chat_history("s")
    assert [{}, {"k": 1}, {"k": 2}, {}] == [message.metadata for message in store.get_session("s").messages]


def test_a_turn_is_one_write(store: DefaultSessionStore) -> None:
    """Goal: `add_messages` is all or nothing. Method: the revision grows by one for three messages."""
    store.add_messages("s", [{"role": "user", "content": str(n)} for n in range(3)])
    assert (1, 3) == (store.get_session("s").revision, len(store.get_chat_history("s")))
    with pytest.raises(InvalidMessageError):
        store.add_messages("s", [{"role": "user", "content": "good"}, {"role": "user", "content": b"bad"}])
    assert (1, 3) == (store.get_session("s").revision, len(store.get_chat_history("s")))


def test_an_empty_turn_writes_nothing(store: DefaultSessionStore) -> None:
    """Goal: False where there was nothing to do. Method: an empty list and an empty tuple make no session."""
    assert store.add_messages("s", []) is False
    assert store.add_messages("s", ()) is False
    assert not store.session_exists("s")


@pytest.mark.parametrize(
    "bad", ["text", b"bytes", {"role": "user", "content": "x"}, 1, None, {1}, iter([]), ["x"], [1], [None], [{}],
            [{"content": "x"}], [{"role": "user"}], [{"role": None}], [{"role": "user", 1: 2}], [[("role", "user")]], [SessionMessage]],
    ids=lambda bad: f"{bad!r:.25}",
)
def test_what_is_no_list_of_messages_is_refused(store: DefaultSessionStore, bad: object) -> None:
    """Goal: a mistake is told, not stored. Method: other things, by both methods that take messages."""
    for call in (store.add_messages, store.set_chat_history):
        with pytest.raises(InvalidMessageError):
            call("s", bad)  # type: ignore[arg-type] # the mistake
    assert not store.session_exists("s")


def test_what_history_returns_can_be_added_again(store: DefaultSessionStore) -> None:
    """Goal: a caller may feed one session's history into another. Method: tool fields included."""
    store.add_message("s", "assistant", None, tool_calls=[{"id": "1"}])
    store.add_message("s", "tool", "r", tool_call_id="1")
    assert store.add_messages("t", store.get_chat_history("s"))
    assert store.get_chat_history("s") == store.get_chat_history("t")
    assert store.add_messages("u", store.get_session("s").messages)
    assert store.get_session("s").messages == store.get_session("u").messages


def test_a_message_keeps_the_time_it_was_given(store: DefaultSessionStore) -> None:
    """Goal: imported turns keep their times, others get now. Method: with a time, with None, without."""
    store.add_messages("s", [{"role": "user", "content": "x", **when} for when in ({"timestamp": 12.5}, {"timestamp": None}, {})])
    first, second, third = (message.timestamp for message in store.get_session("s").messages)
    assert 12.5 == first
    assert 1.7e9 < second == third
    for bad in ("12", True, [1], float("nan")):
        with pytest.raises(InvalidMessageError):
            store.add_messages("s", [{"role": "user", "content": "x", "timestamp": bad}])


def test_equal_messages_without_an_id_are_all_kept(store: DefaultSessionStore) -> None:
    """Goal: saying "yes" three times is three messages. Method: equal texts by every way in."""
    for _ in range(3):
        store.add_user_message("s", "yes", {"k": 1})
    store.add_messages("s", [{"role": "user", "content": "yes", "timestamp": 1.0}] * 3)
    store.add_messages("s", [{"role": "user", "content": "yes", "timestamp": 1.0, "message_id": None}] * 3)
    assert ["yes"] * 9 == contents(store)


def test_a_repeated_message_id_is_acknowledged_and_stored_once(store: DefaultSessionStore) -> None:
    """Goal: a retry is safe. Method: the same id again, with another text, by each method that takes one."""
    assert store.add_user_message("s", "first", message_id="m1")
    revision = store.get_session("s").revision
    assert store.add_user_message("s", "again", message_id="m1")
    assert store.add_assistant_message("s", "again", message_id="m1")
    assert store.add_message("s", "tool", "again", message_id="m1")
    assert store.add_messages("s", [{"role": "user", "content": "again", "message_id": "m1"}])
    assert ["first"] == contents(store)
    assert revision == store.get_session("s").revision, "nothing was written"
    assert store.add_user_message("t", "another session", message_id="m1")
    assert ["another session"] == contents(store, "t")


def test_a_message_id_repeated_within_one_turn_is_stored_once(store: DefaultSessionStore) -> None:
    """Goal: the first of a turn wins. Method: one id three times, between others."""
    turn: list[Any] = [
        {"role": "user", "content": "a", "message_id": "1"},
        {"role": "user", "content": "b"},
        {"role": "user", "content": "c", "message_id": "1"},
        {"role": "user", "content": "b"},
        {"role": "user", "content": "d", "message_id": "2"},
        SessionMessage("user", "e", message_id="1"),
    ]
    assert store.add_messages("s", turn)
    assert ["a", "b", "b", "d"] == contents(store)
    assert store.add_messages("s", [{"role": "user", "content": "new"}, *turn[:1], *turn[4:]])
    assert ["a", "b", "b", "d", "new"] == contents(store)


@pytest.mark.parametrize("retention", ["archive", "keep_all"])
def test_a_message_id_is_known_in_the_archive_and_after_reopening(make_store: Make, retention: str) -> None:
    """Goal: a late retry is stored once too. Method: ids that left the window, in a store with an empty cache."""
    store = make_store(max_messages=3, retention=retention)
    for number in range(20):
        store.add_user_message("s", str(number), message_id=f"m{number}")
    again = make_store(max_messages=3, retention=retention)
    for number in range(20):
        again.add_user_message("s", "again", message_id=f"m{number}")
    assert [str(number) for number in range(20)] == everything(again)


def test_an_id_inside_another_text_is_no_repeat(make_store: Make) -> None:
    """Goal: only the id itself counts. Method: ids that are parts of, or quoted in, what is stored and archived."""
    store = make_store(max_messages=2)
    store.add_user_message("s", '"message_id":"m1"', {"message_id": "m1"}, message_id="m10")
    store.add_messages("s", [{"role": "user", "content": "x", "extra": {"message_id": "m1"}, "message_id": "xm1"}])
    for _ in range(4):
        store.add_user_message("s", "filler")
    assert store.add_user_message("s", "new", message_id="m1")
    assert store.add_user_message("s", "new", message_id="1")
    assert ["new", "new"] == contents(store)
    assert 8 == len(everything(store))


@pytest.mark.parametrize(
    "message_id", ["m", "é", "\n", '"', "\\", "\0", "a" * 5000, " ", "日本", "\U0001f600", "\x7f"],
    ids=lambda message_id: f"{message_id!r:.9}",
)
def test_any_text_is_a_message_id(make_store: Make, message_id: str) -> None:
    """Goal: ids from anywhere are found again. Method: odd texts, in the window and in the archive."""
    store = make_store(max_messages=1)
    for _ in range(3):
        store.add_user_message("s", "first", message_id=message_id)
        store.add_user_message("s", "second", message_id=message_id + "2")
    assert ["first", "second"] == everything(store)
    assert [message_id, message_id + "2"] == [
        m.message_id for m in [*store.get_archived_messages("s"), *store.get_session("s").messages]
    ]


def test_a_cleared_session_has_forgotten_its_message_ids(store: DefaultSessionStore) -> None:
    """Goal: forgetting is whole. Method: the same id after clear and after delete."""
    for forget in (store.clear_session, store.delete_session):
        store.add_user_message("s", "first", message_id="m1")
        forget("s")
        store.add_user_message("s", "anew", message_id="m1")
        assert ["anew"] == contents(store)
        store.delete_session("s")


@pytest.mark.parametrize("durability", ["full", "ordered", "process"])
def test_every_durability_stores_the_same(make_store: Make, durability: str) -> None:
    """Goal: the level changes what is survived, not what is stored. Method: the same calls, read by another store."""
    store = make_store(max_messages=2, durability=durability)
    for number in range(5):
        assert store.add_user_message("s", str(number))
    store.rename_session("s", "title")
    store.delete_session("gone")
    assert ["0", "1", "2", "3", "4"] == everything(make_store(max_messages=2))
