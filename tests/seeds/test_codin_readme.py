"""The Python of Codin's SessionManager README, with only its import lines changed, and what its text promises."""

from __future__ import annotations

import ast
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from praison_store.aio import SessionManager

sys.path.append(str(Path(__file__).parents[1] / "contract"))
from http_place import Service

IN_MEMORY = '''
from praison_store.aio import SessionManager, Session # Assuming Session might be type hinted or used

# In-memory only session manager
manager = SessionManager()

async def process_with_session(session_id: str):
    async with manager.session(session_id) as current_session:
        # current_session is a Session object
        # Run agent logic with this session
        current_session.context["my_data"] = "some value"
        print(f"Processing session: {current_session.session_id}, data: {current_session.context}")
    # current_session is now removed from in-memory cache.
    # If manager had a persistor, current_session would have been saved.

# Example usage:
await process_with_session("demo_session_1")
'''

PERSISTENT = '''
from praison_store.aio import SessionManager

# 1. In-memory sessions (default behavior)
in_memory_manager = SessionManager()
# Sessions managed by in_memory_manager are not persisted.

# 2. Local file persistence
# Sessions will be stored in 'project_root/my_sessions_data/'
# (directory created if it doesn't exist)
file_persistor_manager = SessionManager(endpoint="my_sessions_data")

# --- Usage with a configured manager ---
async def use_persistent_session(manager: SessionManager, session_id: str):
    async with manager.session(session_id) as session:
        session.context["interaction_count"] = session.context.get("interaction_count", 0) + 1
        print(f"Session {session_id} updated. Count: {session.context['interaction_count']}")
    # Session is saved here if manager has a persistor and context exited cleanly.

# Example with file persistor:
await use_persistent_session(file_persistor_manager, "user123_chat")
await use_persistent_session(file_persistor_manager, "user123_chat") # Loads previous state
'''


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each example in an empty directory."""
    monkeypatch.chdir(tmp_path)


def run(source: str) -> dict[str, Any]:
    """Run an example as it would run where `await` is allowed at the top level; return its names."""
    names: dict[str, Any] = {}
    code = compile(source, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    async def main() -> None:
        work = eval(code, names)
        if work is not None:
            await work

    asyncio.run(main())
    return names


def test_the_context_manager_example(capsys: pytest.CaptureFixture[str]) -> None:
    """Goal: it runs as it stands, its commented call too. Method: run it and read what it prints."""
    manager = run(IN_MEMORY)["manager"]
    assert "Processing session: demo_session_1, data: {'my_data': 'some value'}\n" == capsys.readouterr().out
    assert [] == manager.get_active_sessions()


def test_the_persistence_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Goal: a second block finds what the first one saved. Method: run it and look at the directory."""
    run(PERSISTENT)
    printed = ["Session user123_chat updated. Count: 1", "Session user123_chat updated. Count: 2"]
    assert printed == capsys.readouterr().out.splitlines()
    stored = json.loads((tmp_path / "my_sessions_data" / "user123_chat.json").read_text(encoding="utf-8"))
    assert {"interaction_count": 2} == stored["context"]


@pytest.mark.parametrize("form", ["file://{}/data", "{}/data", "data"])
def test_every_form_of_a_directory(form: str, tmp_path: Path) -> None:
    """Goal: URI, absolute and relative paths name the same place. Method: write by each, look at the one directory."""

    async def main() -> None:
        async with SessionManager(endpoint=form.format(tmp_path)) as manager, manager.session("s") as session:
            session.context["form"] = form

    asyncio.run(main())
    assert {"form": form} == json.loads((tmp_path / "data" / "s.json").read_text(encoding="utf-8"))["context"]


@pytest.mark.parametrize("with_leases", [True, False])
def test_an_http_endpoint(with_leases: bool) -> None:
    """Goal: sessions live behind GET and PUT, leases or not. Method: two managers in turn on a real service."""
    service = Service()
    service.with_leases = with_leases

    async def visit(context: dict[str, Any]) -> dict[str, Any]:
        async with SessionManager(endpoint=service.url) as manager:
            async with manager.session("s") as session:
                session.context.update(context)
            async with manager.session("s") as session:
                return dict(session.context)

    try:
        assert {"a": 1} == asyncio.run(visit({"a": 1}))
        assert {"a": 1, "b": 2} == asyncio.run(visit({"b": 2}))
    finally:
        service.stop()


def test_what_the_text_promises_of_cleanups(tmp_path: Path) -> None:
    """Goal: both save before they forget. Method: sessions kept in memory and changed, then each cleanup."""

    async def main() -> None:
        manager = SessionManager(endpoint=str(tmp_path / "data"))
        for session_id in ("a", "b"):
            session = await manager.get_or_create_session(session_id)
            session.context["changed"] = True
        assert ["a", "b"] == manager.get_active_sessions()
        assert 0 == await manager.cleanup_inactive_sessions(max_age_seconds=60)
        assert 2 == await manager.cleanup_inactive_sessions(max_age_seconds=0)
        assert [] == manager.get_active_sessions()
        (await manager.get_or_create_session("a")).context["again"] = True
        assert 1 == await manager.cleanup()
        other = await SessionManager(endpoint=str(tmp_path / "data")).get_session("a")
        assert other is not None
        assert {"changed": True, "again": True} == other.context

    asyncio.run(main())
