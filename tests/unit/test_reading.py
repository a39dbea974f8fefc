"""Reading: history, sessions, archives and working history, of sessions that are there and that are not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest

from praison_store import (
    CompactionCheckpoint,
    DefaultSessionStore,
    InvalidArgumentError,
    SessionData,
    SessionMessage,
)

Make = Callable[..., DefaultSessionStore]


def say(store: DefaultSessionStore, *texts: str, session_id: str = "s") -> None:
    """Add user messages, one write each."""
    for text in texts:
        store.add_user_message(session_id, text)


def test_an_unknown_session_is_empty_and_reading_makes_none(store: DefaultSessionStore) -> None:
    """Goal: reading never writes. Method: every read of an unknown id, then the listing."""
    assert [] == store.get_chat_history("s")
    assert [] == store.get_archived_messages("s")
    assert [] == store.get_working_history("s")
    assert [] == store.window("s")
    assert store.session_exists("s") is False
    session = store.get_session("s")
    assert ("s", [], 0) == (session.session_id, session.messages, session.revision)
    assert [] == store.list_sessions()


def test_history_has_role_and_content_oldest_first(store: DefaultSessionStore) -> None:
    """Goal: the shape the README gives. Method: compare the whole list."""
    store.add_user_message("s", "Hello")
    store.add_assistant_message("s", "Hi there!")
    assert [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi there!"}] == (
        store.get_chat_history("s")
    )


@pytest.mark.parametrize(
    ("newest", "expected"),
    [(None, "abcde"), (0, "abcde"), (1, "e"), (2, "de"), (5, "abcde"), (6, "abcde"), (10**30, "abcde")],
)
def test_history_of_the_newest_few(store: DefaultSessionStore, newest: int | None, expected: str) -> None:
    """Goal: counted from the end; None and 0 are the whole window. Method: a cold cache, then a warm one."""
    say(store, *"abcde")
    store.invalidate_cache()
    for _ in range(2):
        assert list(expected) == [message["content"] for message in store.get_chat_history("s", newest)]
        assert list(expected) == [m["content"] for m in store.get_chat_history("s", max_messages=newest)]
    assert list(expected) == [m["content"] for m in store.get_session("s").get_chat_history(newest)]
    assert list(expected) == [m["content"] for m in store.get_working_history("s", newest)]


@pytest.mark.parametrize("bad", [-1, -100, True, False, "5", 5.0, float("nan"), [5], b"5"], ids=repr)
def test_a_number_of_messages_that_cannot_be_meant_is_refused(store: DefaultSessionStore, bad: object) -> None:
    """Goal: a typed error, for a session that is there and one that is not. Method: every read that takes one."""
    say(store, "x")
    for session_id in ("s", "unknown"):
        for read in (store.get_chat_history, store.get_working_history):
            with pytest.raises(InvalidArgumentError):
                read(session_id, bad)  # type: ignore[arg-type] # the mistake
    with pytest.raises(InvalidArgumentError):
        store.get_agent_chat_history("nobody", bad)  # type: ignore[arg-type] # the mistake


EDITED: dict[str, tuple[bytes, bytes]] = {
    "as_written": (b"", b""),
    "a_long_integer": (b'"content":"b"', b'"content":"b","n":123456789012345678901234567890'),
    "a_long_integer_as_content": (b'"content":"b"', b'"content":[123456789012345678901234567890]'),
    "a_number_as_content": (b'"content":"b"', b'"content":7'),
    "a_tool_result": (b'"role":"user","content":"b"', b'"role":"tool","content":"b","tool_call_id":"t"'),
    "no_number_of_json": (b'"content":"b"', b'"content":NaN'),
    "other_escapes": (b'"content":"b"', b'"content":"\\ud800"'),
    "another_count": (b'"message_count":3', b'"message_count":4'),
    "a_count_that_is_text": (b'"leading_messages":1,', b'"leading_messages":"1",'),
    "no_revision": (b'"revision":4,', b""),
    "indented": (b"},\n{", b"},\n  {"),
}


@pytest.mark.parametrize("edit", EDITED)
@pytest.mark.parametrize("newest", [None, 2])
def test_the_first_look_at_a_file_shows_what_the_next_ones_show(
    make_store: Make, edit: str, newest: int | None
) -> None:
    """Goal: one history, whichever way it was read. Method: edited files, three looks, and one by another call."""
    store = make_store(max_messages=3, retention="truncate", check_at_end=False)
    store.add_message("s", "system", "be kind")
    say(store, "x", "b", "c")
    path = Path(store.session_dir or "", "s.json")
    raw = path.read_bytes()
    assert EDITED[edit][0] in raw
    path.write_bytes(raw.replace(*EDITED[edit]))
    store.invalidate_cache()
    looks = [repr(store.get_chat_history("s", newest)) for _ in range(3)]
    assert looks == [repr(store.get_session("s").get_chat_history(newest))] * 3
    assert len(looks[0]) > 60


def test_leading_system_messages_stay_in_every_bounded_read(store: DefaultSessionStore) -> None:
    """Goal: instructions are part of every read that has room. Method: two of them, and every bound."""
    for text in ("first", "second"):
        store.add_message("s", "system", text)
    say(store, "a", "b", "c")
    shown = [[m["content"] for m in store.get_chat_history("s", newest)] for newest in range(1, 6)]
    assert [["c"], ["first", "c"], ["first", "second", "c"], ["first", "second", "b", "c"],
            ["first", "second", "a", "b", "c"]] == shown


def test_a_session_tells_when_by_whom_and_how_often_it_was_written(store: DefaultSessionStore) -> None:
    """Goal: times are ISO-8601 in UTC, the revision counts writes. Method: three writes, two looks at a clock."""
    before = datetime.now(timezone.utc)
    say(store, "a", "b")
    store.set_agent_info("s", "agent", "user")
    session = store.get_session("s")
    created, updated = map(datetime.fromisoformat, (session.created_at, session.updated_at))
    assert before <= created <= updated <= datetime.now(timezone.utc)
    assert (3, "agent", "user", None) == (session.revision, session.agent_name, session.user_id, session.parent_id)
    assert [] == [m for m in session.messages if not before.timestamp() <= m.timestamp <= updated.timestamp()]


def test_a_store_that_was_closed_can_be_used_again(make_store: Make) -> None:
    """Goal: close gives back descriptors, nothing else. Method: close twice, read and write, and use it with `with`."""
    store = make_store()
    say(store, "a")
    store.close()
    store.close()
    assert [{"role": "user", "content": "a"}] == store.get_chat_history("s")
    with store as same:
        assert store is same
        say(same, "b")
    assert 2 == len(store.get_chat_history("s"))


def test_working_history_is_the_summary_and_what_came_after(store: DefaultSessionStore) -> None:
    """Goal: a compaction stands for what it summarised. Method: before, at and after a checkpoint, with bounds."""
    say(store, "a", "b")
    assert [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}] == store.get_working_history("s")
    assert store.append_compaction_checkpoint("s", "a and b", role="assistant", tokens_before=9, tokens_after=3)
    summary = {"role": "assistant", "content": "a and b"}
    assert [summary] == store.get_working_history("s")
    say(store, "c", "d")
    c, d = {"role": "user", "content": "c"}, {"role": "user", "content": "d"}
    assert [summary, c, d] == store.get_working_history("s")
    assert [[summary], [summary, d], [summary, c, d]] == [store.get_working_history("s", n) for n in (1, 2, 3)]
    assert ["a", "b", "c", "d"] == [message["content"] for message in store.get_chat_history("s")]
    checkpoint = store.get_session("s").last_compaction
    assert checkpoint is not None
    assert (2, 9, 3, {}) == (
        checkpoint.message_index, checkpoint.tokens_before, checkpoint.tokens_after, checkpoint.metadata
    )
    assert store.append_compaction_checkpoint("s", "a to d", metadata={"k": 1})
    assert [{"role": "system", "content": "a to d"}] == store.get_working_history("s")


def test_a_blank_summary_is_no_checkpoint(store: DefaultSessionStore) -> None:
    """Goal: nothing stands for nothing. Method: empty and blank summaries of a known and an unknown session."""
    say(store, "a")
    assert [False] * 4 == [store.append_compaction_checkpoint(i, text) for i in ("s", "t") for text in ("", " \n")]
    assert [{"role": "user", "content": "a"}] == store.get_working_history("s")
    assert not store.session_exists("t")


def test_working_history_never_starts_inside_a_tool_exchange(store: DefaultSessionStore) -> None:
    """Goal: a model API takes it. Method: a checkpoint between a call and its results; the call comes along (D9)."""
    store.add_assistant_message("s", "", tool_calls=[{"id": "1"}, {"id": "2"}])
    store.add_message("s", "tool", "r1", tool_call_id="1")
    store.append_compaction_checkpoint("s", "so far")
    store.add_message("s", "tool", "r2", tool_call_id="2")
    assert ["so far", "", "r1", "r2"] == [message["content"] for message in store.get_working_history("s")]


def test_the_archive_is_empty_until_a_message_leaves_the_window(make_store: Make) -> None:
    """Goal: archived messages come back as they were. Method: lengths around window and slack, whole messages."""
    store = make_store(max_messages=4)
    for number in range(7):
        store.add_message("s", "user", str(number), {"n": number}, message_id=f"m{number}")
        archived = store.get_archived_messages("s")
        assert [str(n) for n in range(number + 1)][:-4] == [message.content for message in archived]
        assert all(isinstance(message, SessionMessage) for message in archived)
    assert [{"n": 0}, {"n": 1}, {"n": 2}] == [message.metadata for message in archived]
    assert ["m0", "m1", "m2"] == [message.message_id for message in archived]


def test_a_session_by_hand_has_the_same_readings() -> None:
    """Goal: the dataclasses are useful without a store. Method: build, read, and go through plain dicts."""
    session = SessionData("s", [SessionMessage("user", str(n), timestamp=float(n)) for n in range(4)])
    assert session.get_working_history() == session.get_chat_history()
    assert ["2", "3"] == [message["content"] for message in session.get_chat_history(2)]
    session.last_compaction = CompactionCheckpoint("sum", 3)
    assert ["sum", "3"] == [message["content"] for message in session.get_working_history()]
    assert session == SessionData.from_dict(session.to_dict())
    assert {"role": "user", "content": "0"} == session.messages[0].to_llm_message()
    assert ("", 0, {}) == (SessionData.from_dict({}).created_at, SessionMessage.from_dict({}).timestamp,
                           SessionMessage.from_dict({"metadata": None}).metadata)
