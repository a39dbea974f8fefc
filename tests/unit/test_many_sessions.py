"""Many sessions: listing, by agent, searching, browsing, forking, moving whole sessions in and out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from praison_store import (
    DefaultSessionStore,
    InvalidArgumentError,
    InvalidMessageError,
    SessionExistsError,
    SessionHit,
    SessionNotFoundError,
    SessionSummary,
)

Make = Callable[..., DefaultSessionStore]


def users(*texts: str) -> list[dict[str, Any]]:
    """Return user messages."""
    return [{"role": "user", "content": text} for text in texts]


def in_order_of_time(store: DefaultSessionStore, *names: str) -> None:
    """Give the files of sessions times a second apart, the first one the oldest."""
    for number, name in enumerate(names):
        os.utime(Path(str(store.session_dir), f"{name}.json"), (1_700_000_000 + number,) * 2)


def ids(rows: list[dict[str, Any]]) -> list[str]:
    """Return the ids of listed sessions."""
    return [row["session_id"] for row in rows]


def test_sessions_are_listed_the_newest_first(store: DefaultSessionStore) -> None:
    """Goal: what was written last comes first, up to the limit. Method: five files with times set apart."""
    for name in "abcde":
        store.add_user_message(name, "x")
    in_order_of_time(store, *"cadbe")
    assert list("ebdac") == ids(store.list_sessions())
    assert list("eb") == ids(store.list_sessions(2))
    assert list("ebdac") == ids(store.list_sessions(limit=100))
    assert list("ebd") == [summary.session_id for summary in store.recent(3)]


def test_a_listed_session_tells_what_its_header_knows(make_store: Make) -> None:
    """Goal: a row is enough to choose a session. Method: compare each field; the count is at most the window."""
    store = make_store(max_messages=4)
    store.add_messages("s", users(*"abcdef"))
    store.set_agent_info("s", "agent", "user")
    store.update_session_metadata("s", title="A title", model="m", k=1)
    session, [row] = store.get_session("s"), store.list_sessions()
    assert {
        "session_id": "s", "id": "s", "agent_name": "agent", "user_id": "user", "title": "A title", "model": "m",
        "message_count": 4, "created_at": session.created_at, "updated_at": session.updated_at, "revision": 3,
        "metadata": {"title": "A title", "model": "m", "k": 1}, "parent_id": None,
        "size_bytes": os.path.getsize(Path(str(store.session_dir), "s.json")),
    }.items() <= row.items()
    assert json.loads(json.dumps(row)) == row
    assert [SessionSummary("s", "A title", session.updated_at, 4)] == store.recent()


@pytest.mark.parametrize("bad", [0, -1, None, True, "5", 1.5], ids=repr)
def test_a_limit_that_cannot_be_meant_is_refused(store: DefaultSessionStore, bad: Any) -> None:
    """Goal: a typed error even where there is nothing to list. Method: every call with a limit."""
    for call in (
        lambda: store.list_sessions(bad),
        lambda: store.recent(bad),
        lambda: store.search("x", limit=bad),
        lambda: store.list_sessions_by_agent("x", bad),
        lambda: store.get_sessions_by_agent("x", bad),
        lambda: store.get_agent_chat_history("x", max_sessions=bad),
    ):
        with pytest.raises(InvalidArgumentError):
            call()


def test_an_agents_sessions_are_found(store: DefaultSessionStore) -> None:
    """Goal: everything one agent said, the newest session first. Method: three sessions of it, one of another."""
    for name in "abc":
        store.add_messages(name, users(f"{name}1", f"{name}2"))
        store.set_agent_info(name, "agent")
    store.set_agent_info("d", "other")
    in_order_of_time(store, *"bcad")
    assert list("acb") == store.list_sessions_by_agent("agent")
    assert list("ac") == store.list_sessions_by_agent("agent", 2)
    assert list("acb") == [session.session_id for session in store.get_sessions_by_agent("agent")]
    assert ["a1", "a2", "c1", "c2", "b1", "b2"] == [m["content"] for m in store.get_agent_chat_history("agent")]
    assert [("a", "agent", "a2"), ("c", "agent", "c2")] == [
        (m["session_id"], m["agent_name"], m["content"]) for m in store.get_agent_chat_history("agent", 1, 2)
    ]
    assert ([], [], []) == (
        store.list_sessions_by_agent("nobody"), store.get_sessions_by_agent("Agent"), store.get_agent_chat_history("")
    )
    for bad in (None, 1, b"agent"):
        with pytest.raises(InvalidArgumentError):
            store.list_sessions_by_agent(bad)  # type: ignore[arg-type] # the mistake


def test_a_search_finds_words_wherever_they_are(make_store: Make) -> None:
    """Goal: any case, any script, in parts and archives. Method: one word in each place, and one that is nowhere."""
    store = make_store(max_messages=2)
    store.add_messages("text", users("The quick brown FOX", "jumps"))
    store.add_messages("parts", [{"role": "user", "content": [{"type": "text", "text": "a fox"}, "quick"]}])
    store.add_messages("archived", users("fox", *"abcdefgh"))
    store.add_messages("umlaut", users("Öl und CAFÉ", '"quoted" \\ text'))
    store.add_messages("calls", [{"role": "assistant", "content": None, "tool_calls": [{"id": "fox"}]}])
    found = {query: {hit.session_id for hit in store.search(query)} for query in ("fox", "FOX", "quick fox", "öl")}
    assert {"fox": {"text", "parts", "archived"}, "FOX": {"text", "parts", "archived"},
            "quick fox": {"text", "parts", "archived"}, "öl": {"umlaut"}} == found
    assert ["umlaut"] == [hit.session_id for hit in store.search("café")]
    assert ["umlaut"] == [hit.session_id for hit in store.search('"quoted"')]
    assert ["umlaut"] == [hit.session_id for hit in store.search("\\")]
    assert [] == store.search("nowhere")
    assert [] == store.search("")
    assert [] == store.search(" \n ")
    assert 1 == len(store.search("fox", limit=1))
    assert "text" == store.search("brown fox")[0].session_id, "the whole query counts more than a word"


def test_a_hit_shows_the_match_in_its_context(make_store: Make) -> None:
    """Goal: a hit is enough to go on reading. Method: every field of one; `window` gives the same rows."""
    store = make_store(max_messages=3)
    store.add_messages("s", users("open", *"abc", "the needle " + "x" * 200, *"def"))
    [hit] = store.search("Needle", window=1)
    assert isinstance(hit, SessionHit)
    assert ("s", 4, 3.0) == (hit.session_id, hit.anchor_index, hit.score)
    assert [3, 4, 5] == [row["index"] for row in hit.messages]
    assert [True, True, False] == [row["archived"] for row in hit.messages]
    assert hit.messages == store.window("s", hit.anchor_index, 1) == store.window("s", str(hit.anchor_index), 1)
    assert "the needle" in hit.snippet
    assert len(hit.snippet) <= 122
    assert ["open", "a"] == [row["content"] for row in hit.bookends["opening"]]
    assert ["e", "f"] == [row["content"] for row in hit.bookends["closing"]]
    assert hit.when == store.get_session("s").updated_at


def test_rows_around_any_place(store: DefaultSessionStore) -> None:
    """Goal: any index gives rows, from the nearest end where it is past one. Method: places and widths."""
    store.add_messages("s", users(*"abcde"))
    rows = {(at, wide): "".join(row["content"] for row in store.window("s", at, wide))
            for at in (None, "", -9, 0, 2, 4, 99) for wide in (0, 1, 9)}
    assert {(None, 0): "e", (None, 1): "de", (None, 9): "abcde", ("", 0): "e", ("", 1): "de", ("", 9): "abcde",
            (-9, 0): "a", (-9, 1): "ab", (-9, 9): "abcde", (0, 0): "a", (0, 1): "ab", (0, 9): "abcde",
            (2, 0): "c", (2, 1): "bcd", (2, 9): "abcde", (4, 0): "e", (4, 1): "de", (4, 9): "abcde",
            (99, 0): "e", (99, 1): "de", (99, 9): "abcde"} == rows
    for bad in ("x", [1], {}, float("nan"), float("inf"), object()):
        with pytest.raises(InvalidArgumentError):
            store.window("s", bad)  # type: ignore[arg-type] # the mistake
    for bad in (-1, None, True, "5"):
        with pytest.raises(InvalidArgumentError):
            store.window("s", 0, bad)  # type: ignore[arg-type] # the mistake
        with pytest.raises(InvalidArgumentError):
            store.search("a", window=bad)  # type: ignore[arg-type] # the mistake


@pytest.mark.parametrize(
    ("at", "left", "shown"),
    [(None, "abc", "def"), (0, "", ""), (1, "", "a"), (3, "", "abc"), (4, "abc", "d"), (5, "abc", "de"),
     (6, "abc", "def"), (99, "abc", "def")],
)
def test_a_fork_begins_with_the_first_messages(make_store: Make, at: int | None, left: str, shown: str) -> None:
    """Goal: archived messages count, and stay archived behind others. Method: a session with an archive."""
    store = make_store(max_messages=3)
    store.add_messages("s", users(*"abcdef"))
    store.set_agent_info("s", "agent", "user")
    store.update_session_metadata("s", k=1)
    before = store.export_session("s")
    fork = store.fork_session("s", "f", at)
    assert list(left) == [message.content for message in store.get_archived_messages("f")]
    assert list(shown) == [message["content"] for message in store.get_chat_history("f")]
    assert ("s", "agent", "user", {"k": 1}, 1) == (
        fork.parent_id, fork.agent_name, fork.user_id, store.get_session("f").metadata, fork.revision)
    store.add_messages("f", users("g"))
    assert before == store.export_session("s"), "the parent is as it was"


def test_a_fork_needs_a_session_and_a_free_id(store: DefaultSessionStore) -> None:
    """Goal: nothing is overwritten, nothing made of nothing. Method: unknown parent, taken id, itself, bad places."""
    store.add_messages("s", users("a"))
    store.rename_session("empty", "a title only")
    with pytest.raises(SessionNotFoundError) as not_found:
        store.fork_session("unknown", "new")
    assert "unknown" == not_found.value.session_id
    for taken in ("s", "empty"):
        with pytest.raises(SessionExistsError) as exists:
            store.fork_session("s", taken)
        assert taken == exists.value.session_id
    for bad in (-1, True, "1", 1.5):
        with pytest.raises(InvalidArgumentError):
            store.fork_session("s", "new", bad)  # type: ignore[arg-type] # the mistake
    assert not store.session_exists("new")
    assert ["a"] == [message["content"] for message in store.get_chat_history("s")]


def test_an_import_says_what_it_cannot_take(store: DefaultSessionStore) -> None:
    """Goal: a typed error before anything is written. Method: payloads of every wrong kind."""
    good: dict[str, Any] = {"session_id": "q", "messages": []}
    bad: Any
    for bad in (
        None, 5, "x", [], {}, [good], {"sessions": []}, {"sessions": [good, good]}, {"sessions": "a"}, {"sessions": 5},
        {"sessions": [3]}, {"version": 2, "sessions": [good]}, {"version": "1", "sessions": [good]},
        {"session_id": "q"}, {"messages": []}, {**good, "session_id": ""}, {**good, "session_id": 5},
        {**good, "session_id": "x" * 5000}, {**good, "messages": {}}, {**good, "messages": [1]},
        {**good, "messages": [{"content": "x"}]}, {**good, "archived_messages": 5},
        {**good, "archived_messages": ["x"]},
        {**good, "messages": [1], "archived_messages": [{"role": "user"}]}, {**good, "revision": "x"},
        {**good, "revision": 1.5}, {**good, "metadata": "t"}, {**good, "metadata": [1]}, {**good, "context": 5},
        {**good, "agent_name": 5}, {**good, "user_id": ["x"]}, {**good, "parent_id": 3}, {**good, "created_at": []},
        {**good, "updated_at": {}}, {**good, "last_compaction": 3}, {**good, "last_compaction": {"message_index": "x"}},
        {**good, "last_compaction": {"summary": "s", "role": 7}}, {**good, "last_compaction": {"metadata": 5}},
    ):
        with pytest.raises((InvalidArgumentError, InvalidMessageError, ValueError)) as caught:
            store.import_session(bad)
        assert type(caught.value).__module__ == "praison_store.errors", bad
        assert [] == store.list_sessions(), bad


def test_an_import_is_refused_where_the_session_is(make_store: Make) -> None:
    """Goal: no conversation is overwritten unasked. Method: with and without `overwrite`, of an archived session."""
    store = make_store(max_messages=2)
    store.add_messages("s", users(*"abcde"))
    exported = store.export_session("s")
    store.add_messages("s", users(*"fgh"))
    with pytest.raises(SessionExistsError):
        store.import_session(exported)
    assert "h" == store.get_chat_history("s")[-1]["content"]
    revision = store.get_session("s").revision
    assert store.import_session(exported, overwrite=True).revision > revision
    assert list("de") == [message["content"] for message in store.get_chat_history("s")]
    assert list("abc") == [message.content for message in store.get_archived_messages("s")]
    with pytest.raises(SessionNotFoundError):
        store.export_session("unknown")
