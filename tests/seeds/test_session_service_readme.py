"""The session service's document: its examples as they stand, but for the port, and what its text promises."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from awaited_examples import run

sys.path.append(str(Path(__file__).parents[1] / "contract"))
from service_place import RunningService

from praison_store.server import Config
from praison_store.server.config import load

CONVERSATION = '''
import httpx

async def chat_example():
    async with httpx.AsyncClient() as client:
        # Create session
        response = await client.post("http://localhost:8080/sessions", json={
            "user_id": "john_doe",
            "metadata": {"source": "chat_app"}
        })
        session_id = response.json()["session_id"]

        # First question
        response = await client.post("http://localhost:8080/query", json={
            "query": "I am a Python programmer",
            "thread_id": session_id,
            "user_id": "john_doe"
        })

        # Second question in the same session
        response = await client.post("http://localhost:8080/query", json={
            "query": "What tools do you recommend for work?",
            "thread_id": session_id,
            "user_id": "john_doe"
        })
        # Agent will have context from the previous question
'''

AUTOMATIC = '''
# If you don't provide thread_id, the system will create a new session automatically
response = await client.post("http://localhost:8080/query", json={
    "query": "Hello, how are you?",
    "user_id": "john_doe"
})

# session_id can be found in the response
session_id = response.json()["metadata"]["thread_id"]
'''

MONITORING = '''
# Statistics
stats = await client.get("http://localhost:8080/sessions/stats")
print(f"Active sessions: {stats.json()['active_sessions_memory']}")

# User sessions
user_sessions = await client.get("http://localhost:8080/users/john_doe/sessions")
for session in user_sessions.json()["sessions"]:
    print(f"Session: {session['session_id']}, Queries: {session['metadata'].get('query_count', 0)}")
'''

QUERY = {"query": "Your question", "agent_type": "advanced", "thread_id": "session_123", "user_id": "user_456",
         "parameters": {}}
CONFIGURATION = """
sessions:
  storage_type: sqlite  # memory or sqlite
  db_path: {}  # path to SQLite database
  timeout_hours: 24  # session expiration after X hours
  cleanup_interval_minutes: 60  # cleanup interval in minutes
  max_sessions_per_user: 10  # maximum number of sessions per user
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    """Give the service without any configuration, but for where its files are."""
    running = RunningService(Config(store=str(tmp_path / "sessions")))
    yield running
    running.stop()


def example(source: str, service: RunningService) -> dict[str, Any]:
    """Run an example that has a client; return its names."""
    async def work() -> dict[str, Any]:
        async with httpx.AsyncClient(timeout=60) as client:
            return await run(source.replace("localhost:8080", f"localhost:{service.port}"), {"client": client})

    return asyncio.run(work())


def test_the_conversation_is_one_session_and_the_agent_has_its_earlier_turn(service: RunningService) -> None:
    """Goal: the first example. Method: run it; the echo tells how many turns it saw."""
    names = example(f"{CONVERSATION}\nawait chat_example()\n", service)
    assert "chat_example" in names
    [row] = httpx.get(f"{service.url}/users/john_doe/sessions").json()["sessions"]
    assert (2, "chat_app") == (row["metadata"]["query_count"], row["metadata"]["source"])
    assert "(1 earlier)" in row["context"]["last_response"]


def test_a_session_is_created_and_watched(service: RunningService, capsys: pytest.CaptureFixture[str]) -> None:
    """Goal: the second and third example. Method: run them in order; what they print."""
    session_id = example(AUTOMATIC, service)["session_id"]
    example(MONITORING, service)
    assert f"Active sessions: 1\nSession: {session_id}, Queries: 1\n" == capsys.readouterr().out


def test_the_documented_query_and_session_bodies_are_taken(service: RunningService) -> None:
    """Goal: the bodies as documented. Method: send them; a thread that is not there begins with exactly that id."""
    told = httpx.post(f"{service.url}/query", json=QUERY).json()
    assert ("session_123", "advanced", "user_456") == (
        told["metadata"]["thread_id"], told["metadata"]["agent_type"],
        told["metadata"]["session_info"]["user_id"])
    body = {"user_id": "user_123", "metadata": {"source": "webapp", "version": "1.0"}}
    session_id = httpx.post(f"{service.url}/sessions", json=body).json()["session_id"]
    told = httpx.get(f"{service.url}/sessions/{session_id}").json()
    assert {"session_id", "user_id", "created_at", "last_accessed", "metadata", "context"} <= told.keys()
    assert 200 == httpx.delete(f"{service.url}/sessions/{session_id}").status_code
    missing = httpx.get(f"{service.url}/sessions/{session_id}")
    assert (404, {"detail": "Session not found"}) == (missing.status_code, missing.json())
    assert 200 == httpx.post(f"{service.url}/sessions/cleanup").status_code


def test_the_documented_configuration_keeps_sessions_over_a_restart(tmp_path: Path) -> None:
    """Goal: "sessions are not preserved after restart: use sqlite". Method: its file; stop, start, and read."""
    file = tmp_path / "config.yaml"
    file.write_text(CONFIGURATION.format(tmp_path / "data" / "sessions.db"))
    service = RunningService(load(str(file), {}))
    httpx.post(f"{service.url}/query", json=QUERY, timeout=60).raise_for_status()
    service.stop()
    service.start()
    told = httpx.get(f"{service.url}/sessions/session_123").json()
    assert ("Your question", 1) == (told["context"]["last_query"], told["metadata"]["query_count"])
    stats = httpx.get(f"{service.url}/sessions/stats").json()
    assert ("sqlite", 24) == (stats["storage_type"], stats["session_timeout_hours"])
    service.stop()
