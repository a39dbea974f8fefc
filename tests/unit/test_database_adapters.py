"""`db=`: an adapter of PraisonAI's shape or an engine takes the place of files, and no file is touched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from praisonaiagents.db.protocol import (  # type: ignore[import-untyped] # it has no types
    DbAdapter,
    DbMessage,
    ToolTurnDbAdapterProtocol,
)

from praison_store import (
    DefaultSessionStore,
    InvalidArgumentError,
    InvalidMessageError,
    InvalidSessionIdError,
    UnsupportedOperationError,
)


class Adapter:
    """An adapter as PraisonAI documents it: three hooks, text only, messages as objects."""

    def __init__(self) -> None:
        self.rows: dict[str, list[DbMessage]] = {}
        self.calls: list[str] = []
        self.closed = False

    def on_agent_start(
        self, agent_name: str, session_id: str, user_id: str | None = None, metadata: dict[str, Any] | None = None
    ) -> list[DbMessage]:
        """Return the messages stored so far."""
        assert isinstance(agent_name, str)
        return list(self.rows.get(session_id, []))

    def _store(self, session_id: str, message: DbMessage) -> None:
        self.rows.setdefault(session_id, []).append(message)

    def on_user_message(self, session_id: str, content: str, metadata: dict[str, Any] | None = None) -> None:
        """Store what the user said."""
        self.calls.append("user")
        self._store(session_id, DbMessage("user", content, metadata or {}))

    def on_agent_message(self, session_id: str, content: str, metadata: dict[str, Any] | None = None) -> None:
        """Store what the agent said."""
        self.calls.append("agent")
        self._store(session_id, DbMessage("assistant", content, metadata or {}))

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


class ToolAdapter(Adapter):
    """An adapter that keeps tool turns too."""

    def on_assistant_message(
        self, session_id: str, content: str, tool_calls: list[Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Store an assistant's turn with its calls."""
        self.calls.append("assistant")
        self._store(session_id, DbMessage("assistant", content, metadata or {}, tool_calls=tool_calls))

    def on_tool_message(
        self, session_id: str, content: str, tool_call_id: str, metadata: dict[str, Any] | None = None
    ) -> None:
        """Store a tool's result."""
        self.calls.append("tool")
        self._store(session_id, DbMessage("tool", content, metadata or {}, tool_call_id=tool_call_id))


@pytest.fixture(autouse=True)
def _no_file_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Look at the directories a store would use, after each test: there is nothing there."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PRAISON_SESSION_DIR", str(tmp_path / "sessions"))
    monkeypatch.chdir(tmp_path)
    yield
    assert [] == os.listdir(tmp_path)


def store_on(db: object, **options: Any) -> DefaultSessionStore:
    """Return a store on an adapter."""
    return DefaultSessionStore("given/sessions", db=db, **options)


def test_messages_go_to_the_hooks_of_their_roles_and_come_back() -> None:
    """Goal: an adapter is used as PraisonAI uses it. Method: every way of adding, and the history."""
    adapter = Adapter()
    store = store_on(adapter)
    assert store.session_dir is None
    assert store.add_user_message("s", "Hello", {"k": 1})
    assert store.add_assistant_message("s", "Hi there!")
    assert store.add_messages("s", [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    assert ["user", "agent", "user", "agent"] == adapter.calls
    assert [("user", "Hello"), ("assistant", "Hi there!"), ("user", "a"), ("assistant", "b")] == [
        (message["role"], message["content"]) for message in store.get_chat_history("s")
    ]
    assert [{"role": "assistant", "content": "b"}] == store.get_chat_history("s", 1)
    session = store.get_session("s")
    assert ({"k": 1}, 4) == (session.messages[0].metadata, len(session.messages))
    assert (True, False) == (store.session_exists("s"), store.session_exists("unknown"))
    assert [] == store.get_chat_history("unknown")
    assert [] == store.get_archived_messages("s")
    assert ["Hi there!", "a", "b"] == [row["content"] for row in store.window("s", 2, 1)]
    assert 4 == len(store.export_session("s")["sessions"][0]["messages"])


def test_PraisonAIs_own_protocols_know_the_adapters_of_this_test() -> None:
    """Goal: this test's adapters are of the documented shape. Method: the optional protocol, and hook by hook."""
    assert isinstance(ToolAdapter(), ToolTurnDbAdapterProtocol)
    hooks = {name for name in vars(DbAdapter) if name.startswith("on_")}
    assert {"on_agent_start", "on_user_message", "on_agent_message"} <= hooks


def test_tool_turns_go_to_their_hooks_and_are_never_cut() -> None:
    """Goal: a resumed session hands the model what it saw (D9). Method: a call with two results."""
    adapter = ToolAdapter()
    store = store_on(adapter, max_messages=3)
    calls = [{"id": "1"}, {"id": "2"}]
    for _ in range(2):
        store.add_user_message("s", "ask")
        store.add_assistant_message("s", "", tool_calls=calls)
        for call in calls:
            store.add_message("s", "tool", "r", tool_call_id=call["id"])
    assert ["user", "assistant", "tool", "tool"] * 2 == adapter.calls
    exchange = [{"role": "assistant", "content": "", "tool_calls": calls},
                *({"role": "tool", "content": "r", "tool_call_id": call["id"]} for call in calls)]
    for newest in (1, 2, 3, None):
        assert exchange == store.get_chat_history("s", newest)
    assert exchange == store.get_session("s").get_chat_history()


def test_what_an_adapter_has_no_hook_for_is_refused_before_anything_is_written() -> None:
    """Goal: no half turn. Method: turns whose last message has no hook; then every method that has none."""
    adapter = Adapter()
    store = store_on(adapter)
    for last in (
        {"role": "tool", "content": "r", "tool_call_id": "1"},
        {"role": "system", "content": "s"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]},
        {"role": "other", "content": "x"},
    ):
        with pytest.raises(UnsupportedOperationError) as caught:
            store.add_messages("s", [{"role": "user", "content": "first"}, last])
        assert isinstance(caught.value, NotImplementedError)
        assert caught.value.operation
    store.add_user_message("s", "x")
    for call in (
        lambda: store.set_chat_history("s", []), lambda: store.clear_session("s"), lambda: store.delete_session("s"),
        lambda: store.set_agent_info("s", "a"), lambda: store.update_session_metadata("s", k=1),
        lambda: store.rename_session("s", "t"), lambda: store.append_compaction_checkpoint("s", "sum"),
        lambda: store.fork_session("s", "t"), lambda: store.import_session(store.export_session("s")),
        store.list_sessions, store.recent, lambda: store.list_sessions_by_agent("a"), lambda: store.search("x"),
        store.check, store.vacuum,
    ):
        with pytest.raises(UnsupportedOperationError):
            call()
    assert ["user"] == adapter.calls
    store.invalidate_cache("s")
    assert [] == store.search("")


def test_a_repeated_message_id_reaches_an_adapter_once() -> None:
    """Goal: a retry is safe with a database too. Method: ids in one turn, in later calls, in another store."""
    adapter = Adapter()
    store = store_on(adapter)
    turn = [{"role": "user", "content": "a", "message_id": "1"}, {"role": "user", "content": "b", "message_id": "1"}]
    store.add_messages("s", turn)
    store.add_user_message("s", "c", message_id="1")
    store_on(adapter).add_assistant_message("s", "d", message_id="1")
    store.add_user_message("t", "e", message_id="1")
    store.add_user_message("s", "f")
    store.add_user_message("s", "f")
    assert ["a", "f", "f"] == [message["content"] for message in store.get_chat_history("s")]
    assert ["e"] == [message["content"] for message in store.get_chat_history("t")]


def test_bad_input_is_refused_before_an_adapter_sees_it() -> None:
    """Goal: the same checks as for files. Method: ids, values and arguments that cannot be."""
    adapter = Adapter()
    store = store_on(adapter)
    bad: Any
    for bad in ("", None, 5, "x" * 5000, "\ud800"):
        with pytest.raises(InvalidSessionIdError):
            store.add_user_message(bad, "x")
        with pytest.raises(InvalidSessionIdError):
            store.get_chat_history(bad)
    for bad in (float("nan"), b"x", {"k": 1}, ["\ud800"], "\ud800"):
        with pytest.raises(InvalidMessageError):
            store.add_user_message("s", bad)
    with pytest.raises(InvalidMessageError):
        store.add_user_message("s", "x", {"k": "\ud800"})
    assert {} == adapter.rows


@dataclass(slots=True)
class SlottedMessage:
    """A message of a class without a `__dict__`."""

    role: str
    content: str
    timestamp: float = 1.5
    metadata: dict[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    "message",
    [DbMessage("user", "x", timestamp=1.5), SlottedMessage("user", "x"),
     {"role": "user", "content": "x", "timestamp": 1.5, "metadata": None}],
    ids=["praisonai", "slots", "dict"],
)
def test_an_adapter_may_return_objects_or_dicts(message: Any) -> None:
    """Goal: whatever has a role and a content is read. Method: each form; None and tuples of them too."""
    adapter: Any = Adapter()
    adapter.rows["s"] = [message]
    store = store_on(adapter)
    assert [{"role": "user", "content": "x"}] == store.get_chat_history("s")
    stored = store.get_session("s").messages[0]
    assert (1.5, {}) == (stored.timestamp, stored.metadata)
    adapter.on_agent_start = lambda agent_name, session_id: None
    assert ([], False) == (store.get_chat_history("s"), store.session_exists("s"))


def test_an_adapters_own_failure_reaches_the_caller() -> None:
    """Goal: nothing fails silently. Method: a hook that raises, on writing and on reading."""
    adapter: Any = Adapter()

    def broken(*_args: Any, **_named: Any) -> None:
        raise ConnectionError("gone")

    adapter.on_user_message = broken
    store = store_on(adapter)
    with pytest.raises(ConnectionError, match="gone"):
        store.add_user_message("s", "x")
    adapter.on_agent_start = broken
    for read in (store.get_chat_history, store.get_session, store.session_exists):
        with pytest.raises(ConnectionError, match="gone"):
            read("s")


def test_closing_the_store_closes_the_adapter() -> None:
    """Goal: connections are given back. Method: an adapter with close and one without."""
    adapter: Any = Adapter()
    with store_on(adapter):
        pass
    assert adapter.closed
    adapter.close = None  # an adapter need not have one
    store_on(adapter).close()


@pytest.mark.parametrize("wrong", [object(), 0, {}, [], False, 1.5, lambda: None, len], ids=repr)
def test_what_is_no_adapter_is_refused_with_the_hooks_it_lacks(wrong: object) -> None:
    """Goal: the message names what to add. Method: other objects, falsy ones too."""
    with pytest.raises(InvalidArgumentError) as caught:
        store_on(wrong)
    for hook in ("on_agent_start", "on_user_message", "on_agent_message"):
        assert hook in caught.value.message


def test_an_adapter_that_lacks_one_hook_is_told_which() -> None:
    """Goal: only what is missing is named. Method: take each hook away; a name that is no method counts as missing."""
    for hook in ("on_agent_start", "on_user_message", "on_agent_message"):
        adapter = Adapter()
        setattr(adapter, hook, "not a method")
        with pytest.raises(InvalidArgumentError) as caught:
            store_on(adapter)
        others = {"on_agent_start", "on_user_message", "on_agent_message"} - {hook}
        assert hook in caught.value.message.split("has no")[1]
        assert [] == [name for name in others if name in caught.value.message.split("has no")[1]]


def test_a_class_in_place_of_an_adapter_is_refused() -> None:
    """Goal: a forgotten pair of parentheses is told at once. Method: the class of an adapter and of an engine."""
    from praison_store.engines.json_files import JsonFilesEngine

    for kind in (Adapter, JsonFilesEngine):
        with pytest.raises(InvalidArgumentError):
            store_on(kind)
