"""D5: whatever a file holds, it breaks no listing, raises only typed errors, and is never overwritten or deleted."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from praison_store import DefaultSessionStore, SessionStoreError

modest = settings(
    max_examples=250, deadline=None, print_blob=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

odd = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.floats(), st.text(max_size=8), st.just("s"),
    st.sampled_from([[], {}, [1], {"k": "hello"}, "2026-01-02T04:00:00+00:00", 1704153600.5]),
    st.sampled_from(["\ud800", -1, 10**18, 2**63]),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
MESSAGE_FIELDS = (
    "role", "content", "timestamp", "metadata", "tool_calls", "tool_call_id", "message_id", "archived", "x",
)
some_fields = st.dictionaries(st.sampled_from(MESSAGE_FIELDS), odd, max_size=5)
SESSION_FIELDS = ("session_id", "agent_name", "user_id", "created_at", "updated_at", "revision", "message_count",
                  "archived_bytes", "leading_messages", "parent_id", "context", "last_compaction", "metadata",
                  "archived_messages", "extended_json", "title", "x")
some_message = st.one_of(
    some_fields.map(lambda message: {"role": "user", "content": "hello", **message}),
    odd,
)
sessions = st.builds(
    lambda fields, messages: {**fields, "messages": messages},
    st.dictionaries(st.sampled_from(SESSION_FIELDS), odd, max_size=5),
    st.one_of(st.lists(some_message, max_size=4), odd),
)
checkpoints = st.dictionaries(
    st.sampled_from(["summary", "message_index", "role", "tokens_before", "metadata", "timestamp", "x"]), odd,
    max_size=4,
)

READS: dict[str, Callable[[DefaultSessionStore], Any]] = {
    "history": lambda store: store.get_chat_history("s"),
    "some": lambda store: store.get_chat_history("s", 1),
    "session": lambda store: store.get_session("s").to_dict(),
    "working": lambda store: store.get_working_history("s"),
    "archived": lambda store: store.get_archived_messages("s"),
    "exists": lambda store: store.session_exists("s"),
    "window": lambda store: store.window("s", 0, 5),
    "export": lambda store: store.export_session("s"),
}
WRITES: dict[str, Callable[[DefaultSessionStore], Any]] = {
    "add": lambda store: store.add_user_message("s", "new", message_id="m"),
    "many": lambda store: store.add_messages("s", [{"role": "user", "content": "new"}] * 7),
    "set": lambda store: store.set_chat_history("s", [{"role": "user", "content": "new"}]),
    "metadata": lambda store: store.update_session_metadata("s", k=1),
    "rename": lambda store: store.rename_session("s", "t"),
    "agent": lambda store: store.set_agent_info("s", "a", "b"),
    "checkpoint": lambda store: store.append_compaction_checkpoint("s", "sum"),
    "fork": lambda store: store.fork_session("s", "f"),
    "clear": lambda store: store.clear_session("s"),
    "delete": lambda store: store.delete_session("s"),
    "import": lambda store: store.import_session(store.export_session("s"), overwrite=True),
    "repair": lambda store: store.check(repair=True),
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Leave out the log records of damaged files, thousands of them."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def try_everything(raw: bytes, write: str) -> None:
    """Put bytes in the place of a session; every call answers or raises a typed error, and the others go on."""
    with tempfile.TemporaryDirectory() as directory, DefaultSessionStore(directory, 3, durability="process") as store:
        path = Path(directory, "s.json")
        store.add_user_message("whole", "hello")
        path.write_bytes(raw)
        path.chmod(0o600)
        for _name, read in READS.items():
            answer_or_typed(lambda: read(store))  # noqa: B023 - called before the next turn
        readable = path.read_bytes() == raw
        others(store)
        outcome = answer_or_typed(lambda: WRITES[write](store))
        if outcome is None and write != "repair" and readable:
            assert raw == path.read_bytes(), "a write that was refused changed the file"
        others(store)
        if write not in ("clear", "delete", "set") and b"precious" in raw:
            left = b"".join(p.read_bytes() for p in Path(directory).rglob("*") if p.is_file())
            assert b"precious" in left


def answer_or_typed(call: Callable[[], Any]) -> Any:
    """Return what a call returns; None for a typed error; any other error is a failure."""
    try:
        return call()
    except SessionStoreError:
        return None


def others(store: DefaultSessionStore) -> None:
    """See that the session beside the odd one is listed, found and read."""
    assert "whole" in [row["session_id"] for row in store.list_sessions()]
    assert json.dumps([row["session_id"] for row in store.list_sessions()])
    assert "whole" in [summary.session_id for summary in store.recent()]
    assert "whole" in [hit.session_id for hit in store.search("hello", limit=9)]
    assert isinstance(store.list_sessions_by_agent("a"), list)
    assert isinstance(store.get_agent_chat_history("a"), list)
    assert [{"role": "user", "content": "hello"}] == store.get_chat_history("whole")
    store.check()


@modest
@given(sessions, st.sampled_from(sorted(WRITES)), st.sampled_from([None, 2]), st.booleans())
def test_D5_any_json_in_the_place_of_a_session_is_answered_or_refused_typed(
    session: dict[str, Any], write: str, indent: int | None, with_id: bool
) -> None:
    """Goal: no file of another program crashes us. Method: known fields with values of every kind, each method."""
    whole = {"session_id": "s", **session} if with_id else session
    try_everything(json.dumps(whole, indent=indent).encode(), write)


@modest
@given(st.dictionaries(st.sampled_from(SESSION_FIELDS), odd, max_size=4), checkpoints, st.sampled_from(sorted(WRITES)))
def test_D5_any_checkpoint_and_header_in_our_layout_is_answered_or_refused_typed(
    fields: dict[str, Any], checkpoint: dict[str, Any], write: str
) -> None:
    """Goal: nor does a file like ours with a strange header. Method: our field order, odd values in it."""
    header = {"session_id": "s", "agent_name": None, "user_id": None, "created_at": "c", "updated_at": "u",
              "revision": 1, "message_count": 2, "archived_bytes": 0, "last_compaction": checkpoint, "metadata": {}}
    text = json.dumps({**header, **fields}, separators=(",", ":"))[:-1]
    lines = '{"role":"user","content":"precious"},\n{"role":"tool","content":"hello","tool_call_id":"1"}'
    try_everything(f'{text},"messages":[\n{lines}\n]}}\n'.encode(), write)


@modest
@given(st.binary(max_size=60), st.sampled_from(sorted(WRITES)))
def test_D5_any_bytes_in_the_place_of_a_session_are_answered_or_refused_typed(raw: bytes, write: str) -> None:
    """Goal: nor do bytes that are no JSON at all. Method: any bytes, each method."""
    try_everything(raw, write)


@modest
@given(st.data(), st.sampled_from(sorted(WRITES)))
def test_D5_a_flipped_or_missing_piece_of_a_file_is_answered_or_refused_typed(data: st.DataObject, write: str) -> None:
    """Goal: nor does damage of any kind. Method: cut out, overwrite or double any piece of a good file."""
    raw = (
        b'{"session_id":"s","agent_name":"a","user_id":null,"created_at":"c","updated_at":"u","revision":2,'
        b'"message_count":3,"archived_bytes":0,"metadata":{"k":"\xc3\xa9"},"messages":[\n'
        b'{"role":"user","content":"precious","timestamp":1.5,"metadata":{}},\n'
        b'{"role":"assistant","content":null,"tool_calls":[{"id":"1"}],"message_id":"m"},\n'
        b'{"role":"tool","content":"hello","tool_call_id":"1"}\n]}\n'
    )
    start = data.draw(st.integers(0, len(raw)))
    stop = data.draw(st.integers(start, min(start + 40, len(raw))))
    middle = data.draw(st.one_of(st.binary(max_size=6), st.just(raw[start:stop] * 2), st.just(b"\0" * (stop - start))))
    damaged = raw[:start] + middle + raw[stop:]
    try_everything(damaged if b"precious" in damaged else damaged.replace(b"precious", b""), write)


@pytest.mark.parametrize("write", sorted(set(WRITES) - {"clear", "delete", "set"}))
def test_D5_two_messages_run_into_one_are_damage(write: str) -> None:
    """Goal: no words are lost to a name that stands twice. Method: the end of one message and the beginning of the next cut out."""
    header = b'{"session_id":"s","agent_name":"a","user_id":null,"created_at":"c","updated_at":"u","revision":2,"message_count":3,"archived_bytes":0,"metadata":{},"messages":[\n'
    lines = b'{"role":"user","content":"precious","role":"assistant","content":null,"tool_calls":[{"id":"1"}]},\n{"role":"user","content":"hello"}\n]}\n'
    try_everything(header + lines, write)


@modest
@given(st.binary(max_size=80), st.integers(0, 200), st.sampled_from(sorted(WRITES)))
def test_D5_any_archive_is_answered_or_refused_typed(raw: bytes, counted: int, write: str) -> None:
    """Goal: a damaged archive breaks neither its session's window nor others. Method: any bytes, any counted length."""
    with tempfile.TemporaryDirectory() as directory, DefaultSessionStore(directory, 3, durability="process") as store:
        store.add_user_message("whole", "hello")
        for number in range(6):
            store.add_user_message("s", str(number))
        archive = Path(directory, ".archive", "s.jsonl")
        archive.write_bytes(archive.read_bytes()[:counted] + raw)
        for read in READS.values():
            answer_or_typed(lambda: read(store))  # noqa: B023 - called before the next turn
        assert ["3", "4", "5"] == [message["content"] for message in store.get_chat_history("s")]
        answer_or_typed(lambda: WRITES[write](store))
        others(store)
