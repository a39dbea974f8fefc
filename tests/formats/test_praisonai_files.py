"""Files of PraisonAI's own store: read right, kept whole by every write of ours, and readable by it afterwards."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from praisonaiagents.session.store import DefaultSessionStore as PraisonStore  # type: ignore[import-untyped] # it has no types

from praison_store import DefaultSessionStore

SAMPLES = Path(__file__).parent / "samples"
NAMES = ("archived", "compacted", "empty", "numbers", "plain", "tools", "unicode")
# What a write counts anew; everything else stays as it is.
COUNTED = {"messages", "archived_messages", "updated_at", "revision", "message_count", "archived_bytes",
           "extended_json", "leading_messages"}

WRITES: dict[str, Callable[[DefaultSessionStore, str], Any]] = {
    "add": lambda store, name: store.add_user_message(name, "new"),
    "add_many": lambda store, name: store.add_messages(name, [{"role": "user", "content": str(n)} for n in range(9)]),
    "metadata": lambda store, name: store.update_session_metadata(name, new=1),
    "agent": lambda store, name: store.set_agent_info(name, user_id="new"),
    "rename": lambda store, name: store.rename_session(name, "new"),
    "checkpoint": lambda store, name: store.append_compaction_checkpoint(name, "new"),
}
CHANGED = {"metadata": {"metadata"}, "agent": {"user_id"}, "rename": {"metadata"}, "checkpoint": {"last_compaction"}}


def exact(value: Any) -> str:
    """Return a text two values share only when they are equal in type and every bit."""
    return json.dumps(value, sort_keys=True)


def sample(name: str, directory: Path) -> dict[str, Any]:
    """Put a sample into a directory; return what it holds."""
    path = directory / f"{name}.json"
    shutil.copyfile(SAMPLES / f"praisonai_{name}.json", path)
    whole: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return whole


@pytest.mark.parametrize("name", NAMES)
def test_a_praisonai_file_is_read_right_and_reading_leaves_it_alone(name: str, tmp_path: Path) -> None:
    """Goal: a directory of PraisonAI's is ours without a step. Method: every reading against the file's JSON."""
    whole = sample(name, tmp_path)
    raw = (tmp_path / f"{name}.json").read_bytes()
    with DefaultSessionStore(tmp_path, durability="process") as store:
        session = store.get_session(name)
        assert exact(whole["messages"]) == exact([message.to_dict() for message in session.messages])
        wanted = ("role", "content", "tool_calls", "tool_call_id")
        history = [{field: m[field] for field in wanted if field in m} for m in whole["messages"]]
        assert exact(history) == exact(store.get_chat_history(name))
        assert exact(whole["metadata"]) == exact(session.metadata)
        for field in ("session_id", "created_at", "updated_at", "agent_name", "user_id"):
            assert whole[field] == getattr(session, field)
        archived = [message.to_dict() for message in store.get_archived_messages(name)]
        assert exact(whole["archived_messages"]) == exact(archived)
        [row] = store.list_sessions()
        assert (name, len(history), whole["updated_at"]) == (row["id"], row["message_count"], row["updated_at"])
        assert (whole["metadata"].get("title"), whole["agent_name"]) == (row["title"], row["agent_name"])
        assert 1 <= session.revision
        assert [] == store.check().problems
    assert raw == (tmp_path / f"{name}.json").read_bytes()


def test_a_compaction_of_praisonais_is_a_working_history_of_ours(tmp_path: Path) -> None:
    """Goal: resuming is as cheap as before. Method: both stores' working history of one file."""
    sample("compacted", tmp_path)
    with DefaultSessionStore(tmp_path, durability="process") as store:
        ours = store.get_working_history("compacted")
    assert PraisonStore(session_dir=str(tmp_path)).get_working_history("compacted") == ours
    assert [{"role": "system", "content": "Four messages."}, {"role": "user", "content": "message 4"}] == ours


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("write", WRITES)
def test_the_next_write_brings_our_layout_and_loses_no_field(name: str, write: str, tmp_path: Path) -> None:
    """Goal: nothing of PraisonAI's is lost, digits and NaN included. Method: each write, field by field, as text."""
    whole = sample(name, tmp_path)
    with DefaultSessionStore(tmp_path, durability="process") as store:
        assert WRITES[write](store, name)
        raw = (tmp_path / f"{name}.json").read_text(encoding="utf-8")
        stored = json.loads(raw)
        assert len(stored["messages"]) + 3 == len(raw.split("\n")), "one message a line"
        assert exact(whole["messages"]) == exact(stored["messages"][: len(whole["messages"])])
        kept = whole.keys() - COUNTED - CHANGED.get(write, set())
        assert exact({field: whole[field] for field in kept}) == exact({field: stored.get(field) for field in kept})
        if "metadata" in CHANGED.get(write, set()):
            assert exact({**whole["metadata"], **{k: stored["metadata"][k] for k in ("new", "title") if k in
                          stored["metadata"]}}) == exact(stored["metadata"])
        archived = store.get_archived_messages(name)
        assert exact(whole["archived_messages"]) == exact([message.to_dict() for message in archived])
        again = store.get_session(name).messages[: len(whole["messages"])]
        assert exact(whole["messages"]) == exact([message.to_dict() for message in again])
        assert [] == store.check().problems


@pytest.mark.parametrize("name", NAMES)
def test_a_session_of_praisonais_goes_through_fork_export_and_import_whole(name: str, tmp_path: Path) -> None:
    """Goal: long integers and NaN survive every way. Method: fork it, move it, and compare as text."""
    whole = sample(name, tmp_path / "..")
    sample(name, tmp_path)
    with DefaultSessionStore(tmp_path, durability="process") as store:
        store.fork_session(name, "fork")
        out = store.export_session(name)
        store.delete_session(name)
        store.import_session(out)
        for session_id in (name, "fork"):
            everything = [*store.get_archived_messages(session_id), *store.get_session(session_id).messages]
            expected = sorted(map(exact, whole["archived_messages"] + whole["messages"]))
            assert expected == sorted(exact(message.to_dict()) for message in everything)
            assert exact(whole["metadata"]) == exact(store.get_session(session_id).metadata)
        assert (whole["created_at"], whole["updated_at"]) == (
            store.get_session(name).created_at, store.get_session(name).updated_at)


@pytest.mark.parametrize("name", NAMES)
def test_praisonais_store_reads_what_ours_wrote(name: str, tmp_path: Path) -> None:
    """Goal: both may share a directory. Method: a write of ours, read by PraisonAI's; one of its, read by ours."""
    whole = sample(name, tmp_path)
    with DefaultSessionStore(tmp_path, durability="process") as store:
        store.add_message(name, "assistant", "", tool_calls=[{"id": "1"}])
        store.add_message(name, "tool", "Grüße", tool_call_id="1")
        theirs = PraisonStore(session_dir=str(tmp_path), retention="keep_all")
        session = theirs.get_session(name)
        assert len(whole["messages"]) + 2 == len(session.messages)
        assert exact(store.get_chat_history(name)) == exact(theirs.get_chat_history(name))
        assert exact(store.get_session(name).metadata) == exact(session.metadata)
        assert theirs.add_user_message(name, "theirs")
        assert {"role": "user", "content": "theirs"} == store.get_chat_history(name)[-1]
        revision = store.get_session(name).revision
        store.add_user_message(name, "ours")
        assert revision < store.get_session(name).revision
        assert ["theirs", "ours"] == [m["content"] for m in theirs.get_chat_history(name)[-2:]]
        assert len(whole["messages"]) + 4 == len(store.get_chat_history(name))


def test_praisonais_export_is_imported(tmp_path: Path) -> None:
    """Goal: a backup of PraisonAI's can be brought in. Method: its portable payload, archive included."""
    payload = json.loads((SAMPLES / "praisonai_export.json").read_text(encoding="utf-8"))
    with DefaultSessionStore(tmp_path, durability="process") as store:
        session = payload["sessions"][0]
        store.import_session(payload)
        assert [m["content"] for m in session["messages"]] == [
            m["content"] for m in store.get_chat_history(session["session_id"])]
        assert [m["content"] for m in session["archived_messages"]] == [
            m.content for m in store.get_archived_messages(session["session_id"])]


def test_praisonais_store_imports_our_export(tmp_path: Path) -> None:
    """Goal: nobody is locked in. Method: give an export of ours to PraisonAI's store."""
    with DefaultSessionStore(tmp_path / "ours", durability="process") as store:
        store.add_user_message("s", "Hello")
        store.add_assistant_message("s", "", tool_calls=[{"id": "1"}])
        theirs = PraisonStore(session_dir=str(tmp_path / "theirs"))
        theirs.import_sessions(store.export_session("s"))
        assert store.get_chat_history("s") == theirs.get_chat_history("s")


def test_the_example_of_the_readme_is_read(tmp_path: Path) -> None:
    """Goal: a file as PraisonAI's README shows it is a session. Method: that file, which has no revision."""
    (tmp_path / "my-session-123.json").write_text("""{
  "session_id": "my-session-123",
  "messages": [
    {"role": "user", "content": "Hello", "timestamp": 1704153600.0},
    {"role": "assistant", "content": "Hi there!", "timestamp": 1704153601.5}
  ],
  "created_at": "2026-01-02T04:00:00+00:00",
  "updated_at": "2026-01-02T04:01:00+00:00",
  "agent_name": "Assistant"
}""")
    with DefaultSessionStore(tmp_path, durability="process") as store:
        session = store.get_session("my-session-123")
        assert ("Assistant", None, {}, 2) == (session.agent_name, session.user_id, session.metadata, session.revision)
        assert [1704153600.0, 1704153601.5] == [message.timestamp for message in session.messages]
        store.add_user_message("my-session-123", "more")
        assert 3 == store.get_session("my-session-123").revision
        assert "2026-01-02T04:00:00+00:00" == store.get_session("my-session-123").created_at


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_file_an_editor_saved_its_own_way_is_read(encoding: str, newline: str, tmp_path: Path) -> None:
    """Goal: a hand edit breaks nothing. Method: byte order marks, wide encodings, other line ends, both layouts."""
    with DefaultSessionStore(tmp_path, durability="process") as store:
        store.add_messages("ours", [{"role": "user", "content": "Grüße"}] * 2)
        texts = {"ours": (tmp_path / "ours.json").read_text(encoding="utf-8"),
                 "unicode": (SAMPLES / "praisonai_unicode.json").read_text(encoding="utf-8")}
        for name, text in texts.items():
            (tmp_path / f"{name}.json").write_bytes(text.replace("\n", newline).encode(encoding))
            assert store.get_chat_history(name)[0]["content"].startswith("Grüße")
            store.add_user_message(name, "more")
            assert text.split("\n")[1] in (tmp_path / f"{name}.json").read_text(encoding="utf-8") or name != "ours"
        assert {"ours", "unicode"} == {row["id"] for row in store.list_sessions()}
        assert [] == store.check().problems


def test_what_only_json_with_extensions_holds_is_read_exactly(tmp_path: Path) -> None:
    """Goal: NaN, long integers, escaped half characters and doubled keys of other writers. Method: one file of all."""
    (tmp_path / "s.json").write_text(
        '{"session_id":"s","messages":[{"role":"user","content":"half \\ud83d and caf\\u00e9",'
        '"metadata":{"nan":NaN,"inf":-Infinity,"big":123456789012345678901234567890,"twice":1,"twice":2}}]}'
    )
    with DefaultSessionStore(tmp_path, durability="process") as store:
        for _ in range(3):
            message = store.get_session("s").messages[0]
            assert "half \ud83d and café" == message.content
            assert math.isnan(message.metadata["nan"])
            assert (-math.inf, 123456789012345678901234567890, 2) == tuple(
                message.metadata[key] for key in ("inf", "big", "twice"))
            assert ["s"] == [hit.session_id for hit in store.search("café")]
            store.add_user_message("s", "more")
            store.update_session_metadata("s", k=1)
