"""Files of other programs and hands: every call answers or raises one of our errors, and nothing else breaks (D5)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faults.damage import contents_of
from faults.operations import add, open_store
from praison_store import DefaultSessionStore, SessionStoreError

MESSAGE = {"role": "user", "content": "theirs"}
WRONG_KINDS: list[Any] = [5, -5, 1.5, True, "x", "", [], [1], ["a"], {}, {"a": 1}, "x" * 5000, 10**30]
HEADER_FIELDS = (
    "session_id", "created_at", "updated_at", "agent_name", "user_id", "metadata", "context", "parent_id", "revision",
    "message_count", "archived_bytes", "archived_messages", "last_compaction", "extended_json", "title",
)
MESSAGE_FIELDS = ("role", "content", "timestamp", "metadata", "tool_calls", "tool_call_id", "message_id", "archived")
CALLS: dict[str, Callable[[DefaultSessionStore], Any]] = {
    "history": contents_of,
    "session": lambda store: store.get_session("one").to_dict(),
    "working history": lambda store: store.get_working_history("one", 3),
    "archived": lambda store: store.get_archived_messages("one"),
    "search": lambda store: store.search("theirs"),
    "window": lambda store: store.window("one", 0),
    "by agent": lambda store: store.get_sessions_by_agent("x"),
    "recent": lambda store: store.recent(),
    "export": lambda store: json.dumps(store.export_session("one")),
    "append": lambda store: [store.add_user_message("one", f"new-{number}") for number in range(7)],
    "append with an id": lambda store: store.add_user_message("one", "new-7", message_id="x"),
    "rename": lambda store: store.rename_session("one", "a title"),
    "agent": lambda store: store.set_agent_info("one", "Assistant"),
    "checkpoint": lambda store: store.append_compaction_checkpoint("one", "a summary"),
    "fork": lambda store: store.fork_session("one", "forked"),
    "import": lambda store: store.import_session(store.export_session("one"), overwrite=True),
    "append again": lambda store: [store.add_user_message("one", f"newer-{number}") for number in range(7)],
}


def use(directory: Path, document: Any, *, lines: bool = False) -> None:
    """Put a document in a session's place and make every call; all the rest of the directory goes on."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "one.json"
    path.write_text(as_our_lines(document) if lines else json.dumps(document), "utf-8")
    raw = path.read_bytes()
    with open_store(directory, durability="process") as store:
        add("other", "unharmed")(store)
        for name, call in CALLS.items():
            try:
                call(store)
            except SessionStoreError:
                pass
            except Exception as error:
                raise AssertionError(f"{name}: {error!r}, a bare error of something inside") from error
            json.loads(path.read_bytes())
            assert "other" in [row["session_id"] for row in store.list_sessions()], name
            assert ["unharmed"] == contents_of(store, "other"), name
            assert ["other"] == [hit.session_id for hit in store.search("unharmed")], name
        refused = raw == path.read_bytes()
        assert refused or "newer-6" == contents_of(store)[-1]
        assert not refused or "stored" != outcome_of(store), "an append was acknowledged and is not there"


def outcome_of(store: DefaultSessionStore) -> str:
    """Tell whether the session takes a message."""
    try:
        store.add_user_message("one", "last")
    except SessionStoreError as error:
        return type(error).__name__
    return "stored"


def as_our_lines(document: dict[str, Any]) -> str:
    """Return a document in the layout of one message per line, its fields in the order ours have."""
    header: dict[str, Any] = {
        "session_id": "one", "agent_name": None, "user_id": None, "created_at": "", "updated_at": "", "revision": 1,
        "message_count": 1, "archived_bytes": 0, "metadata": {},
    }
    header |= {name: value for name, value in document.items() if name != "messages"}
    head = json.dumps(header, separators=(",", ":"))[:-1]
    messages = ",\n".join(json.dumps(message, separators=(",", ":")) for message in document["messages"])
    return f'{head},"messages":[\n{messages}\n]}}\n'


each_layout = pytest.mark.parametrize("lines", [False, True], ids=["any layout", "our layout"])


def some_kinds(field: str) -> list[Any]:
    """Return every third wrong kind, others for each field; all of them with --long."""
    return WRONG_KINDS[len(field) % 3 :: 3]


@each_layout
@pytest.mark.parametrize("field", HEADER_FIELDS)
def test_D5_a_header_field_of_a_wrong_kind_breaks_no_call(tmp_path: Path, field: str, lines: bool) -> None:
    """Goal: whatever stands in a file by hand, only our errors leave a call. Method: each field, some wrong kinds."""
    for number, value in enumerate(some_kinds(field)):
        use(tmp_path / str(number), {"session_id": "one", "messages": [MESSAGE], field: value}, lines=lines)


@each_layout
@pytest.mark.parametrize("field", MESSAGE_FIELDS)
def test_D5_a_message_field_of_a_wrong_kind_breaks_no_call(tmp_path: Path, field: str, lines: bool) -> None:
    """Goal and method: the header's, for the fields of a message."""
    for number, value in enumerate([*some_kinds(field), None]):
        use(tmp_path / str(number), {"session_id": "one", "messages": [{**MESSAGE, field: value}]}, lines=lines)


@pytest.mark.long
@each_layout
@pytest.mark.parametrize("field", [*HEADER_FIELDS, *MESSAGE_FIELDS])
def test_D5_a_field_of_any_wrong_kind_breaks_no_call(tmp_path: Path, field: str, lines: bool) -> None:
    """Goal and method: the short forms', with every wrong kind, in the header and in a message."""
    for number, value in enumerate([*WRONG_KINDS, None]):
        header = {"session_id": "one", "messages": [MESSAGE] * 3, field: value}
        use(tmp_path / f"header-{number}", header, lines=lines)
        messages = [MESSAGE, {**MESSAGE, field: value}, MESSAGE]
        use(tmp_path / f"message-{number}", {"session_id": "one", "messages": messages}, lines=lines)


@pytest.mark.parametrize("name", ["message_index", "summary", "role", "timestamp", "metadata"])
def test_D5_a_checkpoint_field_of_a_wrong_kind_breaks_no_call(tmp_path: Path, name: str) -> None:
    """Goal and method: the header's, for the fields of a compaction checkpoint."""
    for number, value in enumerate([*WRONG_KINDS, None, 10**6]):
        checkpoint = {"summary": "so far", "message_index": 1, name: value}
        use(tmp_path / str(number), {"session_id": "one", "messages": [MESSAGE] * 3, "last_compaction": checkpoint})


def test_D5_praisonais_file_cut_off_at_any_byte_keeps_its_whole_messages(tmp_path: Path) -> None:
    """
    Goal: their layout, one field a line, is recovered like ours.

    Method: truncate an indented file at every byte; each message that ends before the cut is there.
    """
    messages = [{"role": "user", "content": f"message {number}", "metadata": {}} for number in range(4)]
    text = json.dumps({"session_id": "one", "messages": messages, "created_at": "2026-01-02", "metadata": {}}, indent=2)
    closed = [text.index("    }", text.index(f"message {number}")) + 5 for number in range(4)]
    for size in range(len(text)):
        directory = tmp_path / str(size)
        directory.mkdir()
        (directory / "one.json").write_text(text[:size], "utf-8")
        expected = [f"message {number}" for number, end in enumerate(closed) if end <= size]
        with open_store(directory, durability="process") as store:
            try:
                found = contents_of(store)
            except SessionStoreError:
                found = []
                assert text[:size].encode() == (directory / "one.json").read_bytes()
            else:
                assert found, "a damaged session was served as an empty one"
                assert text[:size] in [path.read_text("utf-8") for path in (directory / ".quarantine").glob("*")]
        assert expected == found, f"cut at {size}"


def test_D5_D8_what_is_no_plain_file_breaks_no_other_session(tmp_path: Path) -> None:
    """Goal: links, directories and FIFOs in a session's place. Method: one of each; calls raise, the others go on."""
    with open_store(tmp_path / "sessions", lock_timeout=0.5) as store:
        add("other", "unharmed")(store)
        add("real", "real")(open_store(tmp_path / "elsewhere"))
        os.symlink(tmp_path / "elsewhere" / "real.json", tmp_path / "sessions" / "link.json")
        (tmp_path / "sessions" / "directory.json").mkdir()
        os.mkfifo(tmp_path / "sessions" / "fifo.json")
        for session_id in ("link", "directory", "fifo"):
            for call in (store.get_chat_history, store.get_session, store.clear_session, store.delete_session):
                with pytest.raises(SessionStoreError):
                    call(session_id)
            with pytest.raises(SessionStoreError):
                store.add_user_message(session_id, "new")
        assert ["other"] == [row["session_id"] for row in store.list_sessions()]
        assert ["other"] == [hit.session_id for hit in store.search("unharmed")]
        assert {"D8"} == {problem.code for problem in store.check().problems}
    with open_store(tmp_path / "elsewhere") as store:
        assert ["real"] == contents_of(store, "real")
