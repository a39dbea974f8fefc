"""The behaviour matrix of the documented Agent, line by line, as one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stand_in import remembering

from praison_store import Agent, DefaultSessionStore
from praison_store.db import SQLiteAdapter

# scenario: session_id, with a db, the same instance asks, it remembers, files in the home directory
MATRIX: dict[str, tuple[str | None, bool, bool, bool, list[str]]] = {
    "`session_id` provided, no DB: JSON persistence": ("s", False, False, True, ["s.json"]),
    "`session_id` provided, with DB: the adapter is used": ("s", True, False, True, []),
    "no `session_id`, same instance: in memory only": (None, False, True, True, []),
    "no `session_id`, same instance, with DB: in memory only": (None, True, True, True, []),
    "no `session_id`, new instance: no history": (None, False, False, False, []),
    "no `session_id`, new instance, with DB: no history": (None, True, False, False, []),
}


@pytest.mark.parametrize("scenario", list(MATRIX))
def test_the_behaviour_matrix(scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: what the document promises, and no more. Method: tell a name, ask for it; look at the home and the database."""
    session_id, with_db, same, remembers, files = MATRIX[scenario]
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("PRAISON_SESSION_DIR", raising=False)
    adapter = SQLiteAdapter(str(tmp_path / "praison.db")) if with_db else None

    def made() -> Agent:
        return Agent(name="Assistant", llm=remembering, session_id=session_id, db=adapter)

    agent = made()
    agent.start("Hello, my name is Alice")
    answer = (agent if same else made()).start("What is my name?")
    assert ("Your name is Alice" if remembers else "You did not tell me") == answer
    assert files == sorted(path.name for path in home.rglob("*.json"))
    if adapter is not None:
        kept: list[Any] = [one.content for one in adapter.on_agent_start("Assistant", session_id)] if session_id else []
        assert (4 if session_id else 0) == len(kept)
        adapter.close()


def test_an_agent_closes_the_database_it_opened(tmp_path: Path) -> None:
    """Goal: no connection is left; who brought a store keeps it. Method: a URL, and a store; descriptors on the database."""
    def open_files() -> int:
        return sum("praison.db" in str(path.resolve()) for path in Path("/proc/self/fd").iterdir() if path.exists())

    url = f"sqlite:///{tmp_path / 'praison.db'}"
    with Agent("a", llm=remembering, session_id="s", db=url) as agent:
        agent.chat("My name is Alice")
        assert 0 < open_files()
    assert 0 == open_files()
    assert "Your name is Alice" == agent.chat("What is my name?"), "closed, it opens again"
    agent.close()
    store = DefaultSessionStore(db=url)
    with Agent("a", llm=remembering, session_id="s", store=store) as other:
        assert "Your name is Alice" == other.chat("What is my name?")
    assert 0 < open_files()
    store.close()
