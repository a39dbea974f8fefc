"""Changing sessions: a window, names, metadata, titles, clearing, deleting; and what each does to an unknown id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from praison_store import DefaultSessionStore, InvalidArgumentError, InvalidMessageError, SessionMessage

Make = Callable[..., DefaultSessionStore]


def shown(store: DefaultSessionStore, session_id: str = "s") -> list[Any]:
    """Return the contents of a session's window."""
    return [message["content"] for message in store.get_chat_history(session_id)]


def left(store: DefaultSessionStore, session_id: str = "s") -> list[Any]:
    """Return the contents of what left a session's window."""
    return [message.content for message in store.get_archived_messages(session_id)]


def users(*texts: str) -> list[dict[str, Any]]:
    """Return user messages."""
    return [{"role": "user", "content": text} for text in texts]


def test_set_chat_history_replaces_the_window_in_one_write(store: DefaultSessionStore) -> None:
    """Goal: an agent's own compaction is one write. Method: replace, replace by nothing, and of an unknown id."""
    store.add_messages("s", users("a", "b"))
    assert store.set_chat_history("s", [SessionMessage("system", "sum"), *users("b")])
    assert (["sum", "b"], 2) == (shown(store), store.get_session("s").revision)
    assert store.set_chat_history("s", [])
    assert ([], []) == (shown(store), left(store))
    assert store.session_exists("s")
    assert store.set_chat_history("new", users("x"))
    assert ["x"] == shown(store, "new")


def test_D9_set_chat_history_loses_nothing_that_a_read_did_not_show(make_store: Make) -> None:
    """Goal: what hides behind the window goes to the archive. Method: replace at every fill of window and slack."""
    for count in range(1, 14):
        store = make_store(max_messages=4)
        session_id = f"s{count}"
        said = [str(n) for n in range(count)]
        for text in said:
            store.add_messages(session_id, users(text))
        assert store.set_chat_history(session_id, store.get_chat_history(session_id))
        assert (said[-4:], said[:-4]) == (shown(store, session_id), left(store, session_id))
        assert store.set_chat_history(session_id, users(*"abcdefg"))
        assert (list("defg"), [*said[:-4], *"abc"]) == (shown(store, session_id), left(store, session_id))


def test_set_chat_history_takes_the_checkpoint_away(store: DefaultSessionStore) -> None:
    """Goal: no summary stands for messages that are gone. Method: a checkpoint, then another history."""
    store.add_messages("s", users("a"))
    store.append_compaction_checkpoint("s", "sum")
    store.set_chat_history("s", users("b"))
    assert store.get_session("s").last_compaction is None
    assert users("b") == store.get_working_history("s")


def test_agent_and_user_are_named_and_kept(store: DefaultSessionStore) -> None:
    """Goal: None leaves a name as it is; an unknown session is made. Method: one name at a time."""
    assert store.set_agent_info("s", agent_name="agent")
    assert store.set_agent_info("s", user_id="user")
    assert ("agent", "user") == (store.get_session("s").agent_name, store.get_session("s").user_id)
    assert store.set_agent_info("s", "other")
    assert ("other", "user") == (store.get_session("s").agent_name, store.get_session("s").user_id)
    assert store.set_agent_info("unknown") is False
    assert store.set_agent_info("s") is False
    assert (3, False) == (store.get_session("s").revision, store.session_exists("unknown"))
    for bad in (1, b"x", ["x"], "\ud800"):
        with pytest.raises(InvalidArgumentError):
            store.set_agent_info("s", bad)  # type: ignore[arg-type] # the mistake
        with pytest.raises(InvalidArgumentError):
            store.set_agent_info("s", user_id=bad)  # type: ignore[arg-type] # the mistake


def test_metadata_grows_field_by_field(store: DefaultSessionStore) -> None:
    """Goal: other fields stay, None sets nothing, agent and user are the session's too. Method: several updates."""
    assert store.update_session_metadata("s", a=1, b={"c": [1]})
    assert store.update_session_metadata("s", b=2, title="t", a=None)
    assert {"a": 1, "b": 2, "title": "t"} == store.get_session("s").metadata
    assert store.update_session_metadata("s", agent_name="agent", user_id="user")
    session = store.get_session("s")
    assert ("agent", "user") == (session.agent_name, session.user_id)
    assert {"a": 1, "b": 2, "title": "t", "agent_name": "agent", "user_id": "user"} == session.metadata
    assert store.update_session_metadata("s") is False
    assert store.update_session_metadata("unknown", a=None) is False
    assert not store.session_exists("unknown")
    assert 3 == store.get_session("s").revision
    for bad in (1, ["x"], b"x"):
        with pytest.raises((InvalidArgumentError, InvalidMessageError)):
            store.update_session_metadata("s", agent_name=bad)


@pytest.mark.parametrize("value", [True, 1, 1.0, 0, False, 0.0, -0.0, ""], ids=repr)
def test_metadata_that_python_finds_equal_is_still_changed(store: DefaultSessionStore, value: Any) -> None:
    """Goal: 1, 1.0 and True are three values. Method: set each after each, and compare type and sign."""
    for before in (True, 1, 1.0, 0, False, 0.0, -0.0, ""):
        store.update_session_metadata("s", k=before)
        store.update_session_metadata("s", k=value)
        stored = store.get_session("s").metadata["k"]
        assert (type(value), repr(value)) == (type(stored), repr(stored))


def test_a_title_is_given_and_taken_away(store: DefaultSessionStore) -> None:
    """Goal: people's name for a session, blanks cut off. Method: give, change, empty, and an unknown session."""
    assert store.rename_session("s", "  My title ")
    assert "My title" == store.get_session("s").metadata["title"] == store.list_sessions()[0]["title"]
    assert store.rename_session("s", " ")
    assert "title" not in store.get_session("s").metadata
    assert store.rename_session("s", "") is False
    assert store.rename_session("unknown", "") is False
    assert not store.session_exists("unknown")
    for bad in (None, 1, b"t"):
        with pytest.raises(InvalidArgumentError):
            store.rename_session("s", bad)  # type: ignore[arg-type] # the mistake


def test_a_cleared_session_stays_without_its_messages(make_store: Make) -> None:
    """Goal: the session is known, its words are gone, the archived ones too. Method: clear a long session."""
    store = make_store(max_messages=2)
    store.set_agent_info("s", "agent")
    store.update_session_metadata("s", k=1)
    store.add_messages("s", users(*"abcdef"))
    store.append_compaction_checkpoint("s", "sum")
    assert store.clear_session("s")
    assert ([], [], []) == (shown(store), left(store), store.get_working_history("s"))
    session = store.get_session("s")
    assert ("agent", {"k": 1}, None) == (session.agent_name, session.metadata, session.last_compaction)
    assert store.session_exists("s")
    assert store.clear_session("s"), "it is there, so it is cleared"
    revision = session.revision
    store.add_messages("s", users("g", "h", "i"))
    assert (["h", "i"], ["g"]) == (shown(store), left(store))
    assert revision < store.get_session("s").revision
    assert b"abc" not in b"".join(path.read_bytes() for path in files_of(store))


def files_of(store: DefaultSessionStore) -> list[Any]:
    """Return the files of a store's directory."""
    from pathlib import Path

    return [path for path in Path(str(store.session_dir)).rglob("*") if path.is_file()]


def test_a_deleted_session_is_gone_with_its_archive(make_store: Make) -> None:
    """Goal: forgotten means not on the disk. Method: delete a long session and look at every byte left."""
    store = make_store(max_messages=2)
    store.add_messages("s", users(*(f"secret{n}" for n in range(9))))
    store.set_agent_info("s", "agent")
    assert store.delete_session("s")
    assert ([], [], False) == (shown(store), left(store), store.session_exists("s"))
    assert b"" == b"".join(path.read_bytes() for path in files_of(store))
    store.add_messages("s", users("new"))
    session = store.get_session("s")
    assert (["new"], None, {}) == ([m.content for m in session.messages], session.agent_name, session.metadata)


def test_forgetting_an_unknown_session_is_false(store: DefaultSessionStore) -> None:
    """Goal: False where there was nothing to do. Method: clear and delete, twice."""
    assert [False] * 4 == [forget("s") for forget in (store.clear_session, store.delete_session) * 2]
    store.add_messages("s", users("a"))
    assert [True, False] == [store.delete_session("s") for _ in range(2)]
    assert store.clear_session("s") is False
    assert not store.session_exists("s")


@pytest.mark.parametrize(
    "bad", [{"role": 5}, {"role": ""}, {"role": None}, {"tokens_before": "x"}, {"tokens_after": None},
            {"tokens_before": True}, {"metadata": "x"}, {"metadata": [1]}, {"summary": None}, {"summary": b"x"}],
    ids=str,
)
def test_a_checkpoint_that_cannot_be_meant_is_refused(store: DefaultSessionStore, bad: dict[str, Any]) -> None:
    """Goal: what is stored can be replayed to a model. Method: wrong kinds as each argument; nothing is written."""
    store.add_messages("s", users("a"))
    with pytest.raises((InvalidArgumentError, InvalidMessageError)):
        store.append_compaction_checkpoint("s", **{"summary": "sum", **bad})
    assert 1 == store.get_session("s").revision


def test_a_checkpoint_of_the_caller_is_copied(store: DefaultSessionStore) -> None:
    """Goal: changing an argument later changes nothing stored. Method: spoil lists and dicts after each call."""
    metadata, content, calls = {"k": [1]}, [{"type": "text", "text": "x"}], [{"id": "1"}]
    store.add_message("s", "assistant", content, metadata, calls)
    store.append_compaction_checkpoint("s", "sum", metadata=metadata)
    store.update_session_metadata("s", data=metadata)
    before = store.export_session("s")
    metadata["k"].append(2)
    content.clear()
    calls[0]["id"] = "2"
    assert before == store.export_session("s")
