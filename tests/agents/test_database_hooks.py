"""Adapters of databases: PraisonAI's protocol on every engine, in our Agent, and in a real PraisonAI Agent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sql_places import mariadb_url, postgresql_url
from stand_in import remembering, service

from praison_store import (
    Agent,
    DefaultSessionStore,
    InvalidArgumentError,
    InvalidMessageError,
    SessionExistsError,
    SessionNotFoundError,
    UnsupportedOperationError,
)
from praison_store.db import EngineAdapter, MySQLAdapter, PostgresAdapter, SQLiteAdapter

PLACES = ["postgresql", "mariadb", "sqlite", "json_files", "jsonl", "memory"]


def opened(place: str, path: Path) -> EngineAdapter:
    """Return an adapter on an empty place of a kind."""
    if place == "postgresql":
        return PostgresAdapter(connection_string=postgresql_url(path))
    if place == "mariadb":
        return MySQLAdapter(connection_string=mariadb_url(path))
    if place == "sqlite":
        return SQLiteAdapter(str(path / "praison.db"))
    return EngineAdapter({"json_files": str(path), "jsonl": f"jsonl://{path}", "memory": "memory://"}[place])


@pytest.fixture(params=PLACES)
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EngineAdapter]:
    """Give an adapter of each kind; closed when the test ends."""
    made = opened(request.param, tmp_path)
    yield made
    made.close()


def test_an_adapter_keeps_praisonais_protocols(adapter: EngineAdapter) -> None:
    """Goal: it goes wherever theirs goes. Method: their own runtime checks."""
    from praisonaiagents.db.protocol import SCHEMA_VERSION, DbAdapter, ToolTurnDbAdapterProtocol

    assert isinstance(adapter, DbAdapter)
    assert isinstance(adapter, ToolTurnDbAdapterProtocol)
    assert SCHEMA_VERSION == adapter.get_schema_version()
    assert adapter.migrate_schema(SCHEMA_VERSION, SCHEMA_VERSION)
    assert adapter.check_schema_compatibility()[0]
    with pytest.raises(UnsupportedOperationError):
        adapter.migrate_schema("1.0", "9.0")


def test_messages_come_back_with_tools_and_names(adapter: EngineAdapter) -> None:
    """Goal: a resumed agent has the transcript it had. Method: each hook, then a start; a retry by its id."""
    assert [] == adapter.on_agent_start("Assistant", "s", "alice", {"role": "helper", "goal": None})
    calls = [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]
    for _ in range(2):
        adapter.on_user_message("s", "Hello", {"message_id": "m1"})
    adapter.on_assistant_message("s", "", tool_calls=calls)
    adapter.on_tool_message("s", "clear", tool_call_id="c1")
    adapter.on_agent_message("s", "It is clear", {"k": [1]})
    adapter.on_agent_end("s", {"ended": "well"})
    messages = adapter.on_agent_start("Another", "s", "bob")
    assert [("user", "Hello"), ("assistant", ""), ("tool", "clear"), ("assistant", "It is clear")] == [
        (one.role, one.content) for one in messages]
    assert (calls, "c1", {"k": [1]}) == (messages[1].tool_calls, messages[2].tool_call_id, messages[3].metadata)
    session = DefaultSessionStore(db=adapter).get_session("s")
    assert ("Assistant", "alice") == (session.agent_name, session.user_id)
    assert {"role": "helper", "ended": "well"} == session.metadata


def test_a_resumed_agent_hears_what_another_store_archived(tmp_path: Path) -> None:
    """Goal: what was said, all of it. Method: a store with a window of three writes six messages first."""
    store = DefaultSessionStore(tmp_path, durability="process", max_messages=3)
    for number in range(6):
        store.add_user_message("s", f"m{number}")
    assert [f"m{number}" for number in range(6)] == [one.content for one in EngineAdapter(str(tmp_path)).on_agent_start("a", "s")]


def test_runs_and_tool_calls_are_noted_beside_the_conversation(adapter: EngineAdapter) -> None:
    """Goal: every run with its end. Method: two runs, one failed, one of them only begun; what cannot be JSON."""
    adapter.on_run_start("s", "r1", "What?", {"k": 1})
    adapter.on_tool_call("s", "weather", {"city": "Oslo", "odd": object}, {1, 2}, {"ms": 5})
    adapter.on_run_end("s", "r1", "That.", "error", {"tokens": 7}, {"l": 2})
    adapter.on_run_start("s", "r2")
    first, second = adapter.get_runs("s")
    assert ("r1", "What?", "That.", "error", {"tokens": 7}, {"k": 1, "l": 2}) == (
        first.run_id, first.input_content, first.output_content, first.status, first.metrics, first.metadata)
    assert first.ended_at is not None
    assert ("r2", "running", None) == (second.run_id, second.status, second.ended_at)
    assert ["r2"] == [run.run_id for run in adapter.get_runs("s", limit=1)]
    assert [] == adapter.get_runs("other")
    assert [] == adapter.on_agent_start("a", "s"), "the conversation stays as it is"


def test_traces_are_found_by_session_and_user(adapter: EngineAdapter) -> None:
    """Goal: a trace with its spans. Method: two traces, spans within spans, and one that never began here."""
    adapter.on_trace_start("t1", "s", "r1", "Assistant", "alice", {"k": 1})
    adapter.on_span_start("p1", "t1", "llm_call", attributes={"model": "m"})
    adapter.on_span_start("p2", "t1", "tool", parent_span_id="p1")
    adapter.on_span_end("p2")
    adapter.on_span_end("p1", "error", {"tokens": 7})
    adapter.on_trace_end("t1", "error", {"l": 2})
    adapter.on_trace_start("t2", "other", user_id="alice")
    (trace,) = adapter.get_traces(session_id="s")
    assert ("t1", "s", "r1", "Assistant", "alice", "error", {"k": 1, "l": 2}) == (
        trace.trace_id, trace.session_id, trace.run_id, trace.agent_name, trace.user_id, trace.status, trace.metadata)
    assert [("p1", None, "error", {"model": "m", "tokens": 7}), ("p2", "p1", "ok", {})] == [
        (span.span_id, span.parent_span_id, span.status, span.attributes) for span in trace.spans]
    assert {"t1", "t2"} == {one.trace_id for one in adapter.get_traces(user_id="alice")}
    assert 1 == len(adapter.get_traces(limit=1))
    assert [] == adapter.get_traces(user_id="bob")
    with pytest.raises(SessionNotFoundError, match="did not begin here"):
        adapter.on_span_end("p1")


def test_a_session_is_exported_and_imported_with_its_runs(adapter: EngineAdapter) -> None:
    """Goal: lossless. Method: out of each engine, into a memory one; twice is refused."""
    adapter.on_agent_start("Assistant", "s", "alice")
    adapter.on_user_message("s", "Hello")
    adapter.on_run_start("s", "r1", "Hello")
    exported = adapter.export_session("s")
    other = EngineAdapter("memory://")
    assert "s" == other.import_session(exported)
    assert ["Hello"] == [one.content for one in other.on_agent_start("x", "s")]
    assert adapter.get_runs("s") == other.get_runs("s")
    with pytest.raises(SessionExistsError):
        other.import_session(exported)
    with pytest.raises(SessionNotFoundError):
        adapter.export_session("nothing")


@pytest.mark.parametrize("make", [
    lambda: PostgresAdapter(connection_string="mysql://h/x"), lambda: PostgresAdapter(connection_string=""),
    lambda: MySQLAdapter(connection_string="sqlite:///x"), lambda: EngineAdapter(5), lambda: SQLiteAdapter(5),
])
def test_what_is_no_database_is_refused(make: Any) -> None:
    """Goal: the mistake is told where it is made. Method: URLs of another kind."""
    with pytest.raises(InvalidArgumentError):
        make()


def test_what_cannot_be_stored_is_refused() -> None:
    """Goal: hooks are doors as any other. Method: messages and metadata that would not read back equal."""
    adapter = EngineAdapter("memory://")
    for call in (lambda: adapter.on_user_message("s", object()), lambda: adapter.on_user_message("s", "x", {"k": {1}}),
                 lambda: adapter.on_run_start("s", "r", metadata={"k": float("nan")})):
        with pytest.raises(InvalidMessageError):
            call()
    with pytest.raises(InvalidArgumentError):
        adapter.on_user_message("s", "x", "no dict")  # type: ignore[arg-type] # the point of the test
    assert [] == list(adapter.engine.find(namespace=None))


@pytest.mark.parametrize("place", ["postgresql", "sqlite", "memory"])
def test_our_agent_takes_an_adapter(place: str, tmp_path: Path) -> None:
    """Goal: the second row of the matrix. Method: two agents of one session with one adapter; no file is made."""
    adapter = opened(place, tmp_path)
    for prompt, answer in (("My name is Alice", "Nice to meet you"), ("What is my name?", "Your name is Alice")):
        assert answer == Agent("Assistant", llm=remembering, session_id="s", db=adapter).start(prompt)
    assert [] == list(tmp_path.glob("*.json"))
    adapter.close()


PRAISONAI = """
import sys
from praisonaiagents import Agent
from praison_store.db import PostgresAdapter, EngineAdapter

url = sys.argv[1]
db = PostgresAdapter(connection_string=url) if url.startswith("postgresql") else EngineAdapter(url)
agent = Agent(name="Assistant", instructions="Be brief.", llm="gpt-4o-mini", memory={"session_id": "s", "db": db})
print("ANSWER", agent.start(sys.argv[2]))
db.close()
"""


@pytest.mark.parametrize("place", ["postgresql", "jsonl"])
def test_a_real_praisonai_agent_remembers_in_another_process(place: str, tmp_path: Path) -> None:
    """Goal: the documented example, on a real database. Method: two processes, and a stand-in for the model's service."""
    url = postgresql_url(tmp_path) if place == "postgresql" else f"jsonl://{tmp_path}"
    with service() as model:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OPENAI_BASE_URL": f"{model.url}/v1", "OPENAI_API_KEY": "none",
                       "PRAISONAI_TELEMETRY_DISABLED": "true", "PYTHONPATH": ":".join(sys.path)}
        answers = []
        for prompt in ("My name is Alice", "What is my name?"):
            done = subprocess.run([sys.executable, "-c", PRAISONAI, url, prompt], env=environment, capture_output=True, text=True,
                                  timeout=120, check=False, cwd=tmp_path)
            assert 0 == done.returncode, done.stderr[-2000:]
            answers.append([line for line in done.stdout.splitlines() if line.startswith("ANSWER")][-1])
    assert "ANSWER Your name is Alice" == answers[1]
