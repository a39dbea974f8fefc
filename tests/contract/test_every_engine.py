"""One suite for every engine: what the contract promises, asked of each in the same words."""

from __future__ import annotations

from typing import Any

import pytest
from places import ALL, ARCHIVE, KEY, NOW_S, TRUNCATE, retitle, say, texts

from praison_store import DefaultSessionStore, InvalidSessionIdError, RevisionConflictError, SessionMessage
from praison_store.engines import Engine
from praison_store.model.message import new_record
from praison_store.model.session import SessionData
from praison_store.model.session_id import SessionKey


def test_an_engine_has_the_contracts_methods(engine: Engine) -> None:
    """Goal: a store takes it. Method: the protocol itself, and a store on it."""
    assert isinstance(engine, Engine)
    store = DefaultSessionStore(db=engine)
    assert store.add_user_message("s", "x")
    assert [{"role": "user", "content": "x"}] == store.get_chat_history("s")


def test_an_unknown_session_is_none_and_reading_makes_none(engine: Engine) -> None:
    """Goal: reads never write. Method: each read of an unknown key."""
    assert ([], None, None) == (engine.history(KEY, 5), engine.read(KEY, 5), engine.whole(KEY))
    assert not engine.exists(KEY)
    assert ([], 0, []) == (list(engine.find()), engine.count(), list(engine.search(["x"])))
    assert engine.delete(KEY) is False


def test_an_append_returns_the_revision_it_made(engine: Engine) -> None:
    """Goal: the revision counts writes. Method: appends of one and of many, and of ids that are there."""
    assert [1, 2] == [say(engine, "a"), say(engine, "b", "c")]
    record = new_record("user", "d", NOW_S, message_id="m")
    assert [3, 3] == [engine.append(KEY, [record], now_s=NOW_S, policy=ALL) for _ in range(2)]
    assert list("abcd") == texts(engine)
    assert list("cd") == texts(engine, newest=2)
    session = engine.read(KEY, None)
    assert session is not None
    assert ("s", 3, "2026-01-02T04:00:00.000000+00:00") == (session.session_id, session.revision, session.updated_at)
    assert session.created_at == session.updated_at


def test_a_change_is_made_in_one_turn_and_returned(engine: Engine) -> None:
    """Goal: read, change, write. Method: a known and an unknown session; False writes nothing."""
    say(engine, "a")
    changed = engine.update(KEY, retitle, now_s=NOW_S + 1, policy=ALL)
    assert ({"title": "new"}, 2) == (changed.metadata, changed.revision)
    assert changed == engine.read(KEY, None)
    made = engine.update(SessionKey("t"), retitle, now_s=NOW_S, policy=ALL)
    assert (1, {"title": "new"}, []) == (made.revision, made.metadata, made.messages)
    assert engine.update(KEY, lambda session: False, now_s=NOW_S, policy=ALL).revision == 2
    unknown = SessionKey("u")
    assert 0 == engine.update(unknown, lambda session: False, now_s=NOW_S, policy=ALL).revision
    assert not engine.exists(unknown)


def test_a_change_that_raises_changes_nothing(engine: Engine) -> None:
    """Goal: all or nothing. Method: raise after half a change."""
    say(engine, "a")

    def half(session: SessionData) -> None:
        session.messages.clear()
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        engine.update(KEY, half, now_s=NOW_S, policy=ALL)
    assert ["a"] == texts(engine)
    assert 2 == say(engine, "b"), "no lock is left"


def test_a_session_is_deleted_only_at_the_revision_that_was_seen(engine: Engine) -> None:
    """Goal: what was written since is not deleted. Method: an older and a newer revision, the right one, none there."""
    say(engine, "a")
    say(engine, "b")
    for expected in (1, 3):
        with pytest.raises(RevisionConflictError):
            engine.delete(KEY, expected_revision=expected)
    assert ["a", "b"] == texts(engine)
    assert engine.delete(KEY, expected_revision=2)
    assert not engine.delete(KEY, expected_revision=2)


def test_a_write_at_another_revision_is_refused(engine: Engine) -> None:
    """Goal: optimistic checks hold. Method: the right revision, an older and a newer one, and of an unknown session."""
    say(engine, "a")
    assert 2 == engine.update(KEY, retitle, now_s=NOW_S, policy=ALL, expected_revision=1).revision
    for expected in (0, 1, 3):
        with pytest.raises(RevisionConflictError) as caught:
            engine.update(KEY, retitle, now_s=NOW_S, policy=ALL, expected_revision=expected)
        assert ("s", expected, 2) == (
            caught.value.session_id, caught.value.expected_revision, caught.value.revision)
    assert 1 == engine.update(SessionKey("t"), retitle, now_s=NOW_S, policy=ALL, expected_revision=0).revision
    with pytest.raises(RevisionConflictError):
        engine.update(SessionKey("u"), retitle, now_s=NOW_S, policy=ALL, expected_revision=1)


@pytest.mark.parametrize("old", [True, 1, 1.0, -0.0, 0, [1], {"k": 1}], ids=repr)
@pytest.mark.parametrize("new", [True, 1, 1.0, -0.0, 0, [True], {"k": 1.0}], ids=repr)
def test_D6_a_message_changed_in_place_is_stored_even_where_python_finds_it_equal(
    engine: Engine, old: Any, new: Any
) -> None:
    """Goal: 1, 1.0 and True are three values. Method: change a message's metadata in place from each to each."""
    engine.append(KEY, [new_record("user", "x", NOW_S, {"k": old})], now_s=NOW_S, policy=ALL)

    def change(session: SessionData) -> None:
        session.messages[0].metadata["k"] = new

    engine.update(KEY, change, now_s=NOW_S, policy=ALL)
    session = engine.read(KEY, None)
    assert session is not None
    assert repr(new) == repr(session.messages[0].metadata["k"])


def test_messages_may_be_moved_removed_and_inserted_by_a_change(engine: Engine) -> None:
    """Goal: a change may do anything to the list. Method: reverse, drop, insert, and replace."""
    say(engine, *"abcd")

    def change(session: SessionData) -> None:
        session.messages.reverse()
        del session.messages[1]
        session.messages.insert(0, SessionMessage("user", "new", NOW_S))
        session.messages[1].content = "changed"
        session.messages.append(session.messages[0])

    engine.update(KEY, change, now_s=NOW_S, policy=ALL)
    assert ["new", "changed", "b", "a", "new"] == texts(engine)


@pytest.mark.parametrize(("policy", "archived"), [(ALL, []), (ARCHIVE, list("abc")), (TRUNCATE, [])])
def test_D9_what_leaves_goes_where_the_policy_says(engine: Engine, policy: Any, archived: list[str]) -> None:
    """Goal: the engine applies the policy within the write. Method: five messages, one write each."""
    for text in "abcde":
        say(engine, text, policy=policy)
    whole = engine.whole(KEY)
    assert whole is not None
    assert list("abcde" if policy is ALL else "de") == [message.content for message in whole[0].messages]
    assert archived == [record["content"] for record in whole[1]]


def test_D9_an_archive_is_forgotten_only_when_asked(engine: Engine) -> None:
    """Goal: `keep_archive=False` forgets both. Method: two updates, with and without it."""
    for text in "abcde":
        say(engine, text, policy=ARCHIVE)
    engine.update(KEY, retitle, now_s=NOW_S, policy=ARCHIVE)
    assert 3 == len((engine.whole(KEY) or (None, []))[1])
    engine.update(KEY, retitle, now_s=NOW_S, policy=ARCHIVE, keep_archive=False)
    assert 0 == len((engine.whole(KEY) or (None, []))[1])
    say(engine, "f", policy=ARCHIVE)
    assert ["d"] == [record["content"] for record in (engine.whole(KEY) or (None, []))[1]]


def test_a_deleted_session_is_gone_with_its_archive(engine: Engine) -> None:
    """Goal: nothing comes back with the same id. Method: delete a session that has an archive, begin anew."""
    for text in "abcde":
        say(engine, text, policy=ARCHIVE)
    assert engine.delete(KEY)
    assert (False, None, 0) == (engine.exists(KEY), engine.whole(KEY), engine.count())
    assert 1 == say(engine, "f", policy=ARCHIVE)
    whole = engine.whole(KEY)
    assert whole is not None
    assert [] == whole[1]


@pytest.mark.parametrize("bad", ["", "x" * 4097, "\ud800", 5, None])
def test_D4_a_bad_id_is_refused_by_every_engine(engine: Engine, bad: Any) -> None:
    """Goal: what one engine refuses, all refuse. Method: reads and writes with bad ids."""
    key = SessionKey(bad)
    for call in (
        lambda: engine.history(key, None), lambda: engine.read(key, None), lambda: engine.exists(key),
        lambda: engine.whole(key), lambda: say(engine, "x", key=key),
    ):
        with pytest.raises(InvalidSessionIdError):
            call()


def test_a_closed_engine_may_be_used_again(engine: Engine) -> None:
    """Goal: close gives back what is open and no more. Method: close twice, then write and read."""
    say(engine, "a")
    engine.close()
    engine.close()
    say(engine, "b")
    assert ["a", "b"] == texts(engine)


def test_what_is_returned_is_a_copy(engine: Engine) -> None:
    """Goal: a caller cannot change what is stored by accident. Method: spoil everything returned."""
    engine.append(KEY, [new_record("user", ["x"], NOW_S, {"k": [1]})], now_s=NOW_S, policy=ALL)
    for _ in range(2):
        session, whole = engine.read(KEY, None), engine.whole(KEY)
        assert session is not None
        assert whole is not None
        for each in (session, whole[0]):
            assert ({"k": [1]}, ["x"]) == (each.messages[0].metadata, each.messages[0].content)
            each.messages[0].metadata["k"].append(2)
            each.messages.clear()
        engine.history(KEY, None)[0]["content"].append("y")
    assert [["x"]] == texts(engine)
