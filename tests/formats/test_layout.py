"""Our own layout: its bytes, exactly; one valid JSON document, a message a line; unknown fields outlive every write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from praison_store import DefaultSessionStore
from praison_store.engines.json_files import JsonFilesEngine
from praison_store.model.message import new_record
from praison_store.model.session import SessionData
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named

SAMPLES = Path(__file__).parent / "samples"
KEY = SessionKey("my-session-123")
NOW_S = 1_767_326_400.0

THE_BYTES = (
    '{"session_id":"my-session-123","agent_name":"Assistant","user_id":null,'
    '"created_at":"2026-01-02T04:00:00.000000+00:00","updated_at":"2026-01-02T04:00:02.500000+00:00","revision":3,'
    '"message_count":2,"archived_bytes":0,"metadata":{"title":"Größe"},"messages":[\n'
    '{"role":"user","content":"Hello\\n\\"you\\"","timestamp":1767326400.0,"metadata":{}},\n'
    '{"role":"assistant","content":"Hi there!","timestamp":1767326401.5,"metadata":{"k":[1,2.5,null,true]}}\n'
    ']}\n'
).encode()
WITH_ARCHIVE = (
    b'{"session_id":"my-session-123","agent_name":null,"user_id":null,'
    b'"created_at":"2026-01-02T04:00:00.000000+00:00","updated_at":"2026-01-02T04:00:03.000000+00:00","revision":4,'
    b'"message_count":3,"archived_bytes":149,"leading_messages":1,"metadata":{},"messages":[\n'
    b'{"role":"system","content":"be kind","timestamp":1767326400.0,"metadata":{}},\n'
    b'{"role":"user","content":"b","timestamp":1767326402.0,"metadata":{}},\n'
    b'{"role":"user","content":"c","timestamp":1767326403.0,"metadata":{}}\n'
    b']}\n'
)
THE_ARCHIVE = (
    b'{"archive_of":"my-session-123","created_at":"2026-01-02T04:00:00.000000+00:00"}\n'
    b'{"role":"user","content":"a","timestamp":1767326401.0,"metadata":{}}\n'
)


def names(session: SessionData) -> None:
    """Name a session's agent and title."""
    session.agent_name, session.metadata = "Assistant", {"title": "Größe"}


def test_a_session_file_is_these_bytes(tmp_path: Path) -> None:
    """Goal: the format changes only on purpose. Method: three writes at fixed times, compared byte by byte."""
    engine, policy = JsonFilesEngine(str(tmp_path), durability="process"), policy_named("archive", 100)
    engine.append(KEY, [new_record("user", 'Hello\n"you"', NOW_S)], now_s=NOW_S, policy=policy)
    reply = new_record("assistant", "Hi there!", NOW_S + 1.5, {"k": [1, 2.5, None, True]})
    engine.append(KEY, [reply], now_s=NOW_S + 1.5, policy=policy)
    engine.update(KEY, names, now_s=NOW_S + 2.5, policy=policy)
    engine.close()
    assert THE_BYTES == (tmp_path / "my-session-123.json").read_bytes()
    assert {"my-session-123.json", "my-session-123.json.lock"} == {path.name for path in tmp_path.iterdir()}


def test_a_session_with_an_archive_is_these_bytes(tmp_path: Path) -> None:
    """Goal: the archive's format changes only on purpose. Method: four writes at fixed times, a window of three."""
    engine, policy = JsonFilesEngine(str(tmp_path), durability="process"), policy_named("archive", 3)
    for number, (role, text) in enumerate([("system", "be kind"), ("user", "a"), ("user", "b"), ("user", "c")]):
        now_s = NOW_S + number
        engine.append(KEY, [new_record(role, text, now_s)], now_s=now_s, policy=policy)
    engine.close()
    assert THE_ARCHIVE == (tmp_path / ".archive" / "my-session-123.jsonl").read_bytes()
    assert WITH_ARCHIVE == (tmp_path / "my-session-123.json").read_bytes()


@pytest.mark.parametrize("raw", [THE_BYTES, (SAMPLES / "ours_0.1.json").read_bytes()], ids=["here", "kept"])
def test_a_file_of_this_layout_is_one_document_and_reads_back(raw: bytes, tmp_path: Path) -> None:
    """Goal: any JSON tool reads it; so do we, from a file that was kept. Method: json.loads, then a store."""
    (tmp_path / "my-session-123.json").write_bytes(raw)
    whole = json.loads(raw)
    assert whole["message_count"] == len(whole["messages"]) == raw.count(b"\n") - 2
    with DefaultSessionStore(tmp_path, durability="process") as store:
        session = store.get_session("my-session-123")
        assert whole["messages"] == [message.to_dict() for message in session.messages]
        for name in ("agent_name", "user_id", "created_at", "updated_at", "revision", "metadata"):
            assert whole[name] == getattr(session, name)
        store.add_user_message("my-session-123", "next")
    before, after = raw.split(b"\n"), (tmp_path / "my-session-123.json").read_bytes().split(b"\n")
    assert [line.rstrip(b",") for line in before[1:-2]] == [line.rstrip(b",") for line in after[1:-3]]
    assert whole["revision"] + 1 == json.loads(b"\n".join(after))["revision"]


UNKNOWN = {"n": [1, {"x": None}], "text": "é", "deep": {"a": {"b": -0.0}}}
MESSAGE = {"role": "user", "content": "x", "timestamp": 1.5, "metadata": {}, "name": "Bob", "archived": True,
           "extra": 1, "refusal": None, "tool_calls": None, "unknown": UNKNOWN}
SESSION = {"session_id": "s", "agent_name": None, "user_id": None, "created_at": "c", "updated_at": "u", "revision": 7,
           "message_count": 2, "archived_bytes": 0, "gateway_session_id": None, "agent_id": "g", "runtime_state": {},
           "unknown": UNKNOWN, "title": "top", "extra": {"k": 1}, "from_the_future": True,
           "metadata": {"k": 1}}


def our_layout(session: dict[str, Any], messages: list[dict[str, Any]]) -> str:
    """Return a session's text in our layout."""
    head = json.dumps({**session, "metadata": session["metadata"]}, separators=(",", ":"), ensure_ascii=False)[:-1]
    lines = ",\n".join(json.dumps(m, separators=(",", ":"), ensure_ascii=False) for m in messages)
    return f'{head},"messages":[\n{lines}\n]}}\n'


LAYOUTS: dict[str, Callable[[], str]] = {
    "ours": lambda: our_layout(SESSION, [MESSAGE, MESSAGE]),
    "indented": lambda: json.dumps({**SESSION, "messages": [MESSAGE, MESSAGE]}, indent=2),
    "shuffled": lambda: json.dumps({"messages": [MESSAGE, MESSAGE], **dict(reversed(SESSION.items()))}),
}


def move(store: DefaultSessionStore) -> None:
    """Take a session out, delete it, and bring it in again."""
    exported = store.export_session("s")
    store.delete_session("s")
    store.import_session(exported)


WRITES: dict[str, Callable[[DefaultSessionStore], Any]] = {
    "add": lambda store: store.add_user_message("s", "new"),
    "metadata": lambda store: store.update_session_metadata("s", j=2),
    "rename": lambda store: store.rename_session("s", "t"),
    "agent": lambda store: store.set_agent_info("s", "a"),
    "checkpoint": lambda store: store.append_compaction_checkpoint("s", "sum"),
    "fork": lambda store: (store.fork_session("s", "f"), store.delete_session("s"), store.fork_session("f", "s")),
    "import": lambda store: store.import_session(store.export_session("s"), overwrite=True),
    "move": move,
    "archive": lambda store: store.add_messages("s", [{"role": "user", "content": str(n)} for n in range(5)]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("write", WRITES)
def test_fields_of_newer_versions_outlive_every_write(layout: str, write: str, tmp_path: Path) -> None:
    """Goal: an older version loses nothing a newer one wrote. Method: unknown fields in both places, each write."""
    (tmp_path / "s.json").write_text(LAYOUTS[layout](), encoding="utf-8")
    with DefaultSessionStore(tmp_path, 3, durability="process") as store:
        WRITES[write](store)
        messages = [m.to_dict() for m in [*store.get_archived_messages("s"), *store.get_session("s").messages]][:2]
    for message in messages:
        assert {name: value for name, value in MESSAGE.items() if value is not None}.items() <= message.items()
        assert "-0.0" in repr(message["unknown"])
        assert "refusal" in message
    stored = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    kept = ("gateway_session_id", "agent_id", "runtime_state", "unknown", "title", "extra", "from_the_future")
    assert {name: SESSION[name] for name in kept} == {name: stored.get(name, "lost") for name in kept}
    assert 1 == stored["metadata"]["k"]


@pytest.mark.parametrize("write", ["add", "metadata", "checkpoint"])
def test_a_line_that_stays_keeps_its_bytes(write: str, tmp_path: Path) -> None:
    """Goal: what was stored is never encoded anew. Method: lines with odd spacing and escapes, then a write."""
    odd = ['{ "role":"user", "content":"\\u00e9\\/","timestamp":1.50,"metadata":{ } }',
           '{"content":"no role","zeros":1.000,"tool_calls":null,"big":123456789012345678901234567890}']
    head = our_layout({**SESSION, "extended_json": True}, []).split("\n")[0]
    (tmp_path / "s.json").write_text(head + "\n" + ",\n".join(odd) + "\n]}\n", encoding="utf-8")
    with DefaultSessionStore(tmp_path, durability="process") as store:
        assert 123456789012345678901234567890 == store.get_session("s").messages[1].extra["big"]
        WRITES[write](store)
    lines = (tmp_path / "s.json").read_text(encoding="utf-8").split("\n")
    assert odd == [line.rstrip(",") for line in lines[1:3]]


@pytest.mark.parametrize("write", ["add", "archive", "metadata"])
def test_D5_messages_laid_out_otherwise_by_hand_are_read_and_kept(write: str, tmp_path: Path) -> None:
    """Goal: a hand may break a message over lines, or put two on one. Method: both, the header left as it was."""
    text = our_layout({**SESSION, "message_count": 3}, [{"role": "user", "content": name} for name in "abc"])
    for odd in (text.replace('"user","content":"a"', '"user",\n"content":"a"'), text.replace(",\n{", ",{", 1),
                text.replace('"user","content":"b"', '"user",\n"content":"b"').replace(",\n{", ", {", 1)):
        (tmp_path / "s.json").write_text(odd, encoding="utf-8")
        with DefaultSessionStore(tmp_path, 3, durability="process") as store:
            assert list("abc") == [message["content"] for message in store.get_chat_history("s")]
            WRITES[write](store)
            everything = [*store.get_archived_messages("s"), *store.get_session("s").messages]
            assert list("abc") == [message.content for message in everything][:3]
            assert [] == store.check().problems
            store.delete_session("s")


@pytest.mark.parametrize("number", [2**64, 10**40, -(2**63) - 1], ids=["2**64", "10**40", "below"])
def test_a_long_integer_written_by_hand_into_our_layout_is_read_exactly(number: int, tmp_path: Path) -> None:
    """Goal: a hand edit is no way to lose digits. Method: an integer past 64 bits in a message and in metadata."""
    text = our_layout({**SESSION, "message_count": 1, "metadata": {"k": number}}, [{**MESSAGE, "extra": number}])
    (tmp_path / "s.json").write_text(text, encoding="utf-8")
    with DefaultSessionStore(tmp_path, durability="process") as store:
        for _ in range(2):
            session = store.get_session("s")
            assert (number, number) == (session.messages[0].extra["extra"], session.metadata["k"])
            store.add_user_message("s", "x")
            store.rename_session("s", "t")
        assert number == store.list_sessions()[0]["metadata"]["k"]
        assert str(number) in (tmp_path / "s.json").read_text()
