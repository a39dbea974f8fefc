"""The Python of PraisonAI's session README, with only its import lines changed, and the signatures it promises."""

from __future__ import annotations

import dataclasses
import inspect
import os
from pathlib import Path
from typing import Any

import pytest

import praison_store
from praison_store import DefaultSessionStore, SessionData, SessionMessage, get_default_session_store


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each example a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PRAISON_SESSION_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


DIRECT_ACCESS = '''
from praison_store import get_default_session_store

store = get_default_session_store()

# Add messages
store.add_user_message("session-123", "Hello")
store.add_assistant_message("session-123", "Hi there!")

# Get history
history = store.get_chat_history("session-123")
# [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi there!"}]

# List all sessions
sessions = store.list_sessions()

# Delete a session
store.delete_session("session-123")
'''

CUSTOM_DIRECTORY = '''
from praison_store import DefaultSessionStore

store = DefaultSessionStore(
    session_dir="/custom/path/sessions",
    max_messages=200,  # Default: 100
    lock_timeout=10.0,  # Default: 5.0 seconds
)
'''


def test_direct_session_store_access(tmp_path: Path) -> None:
    """Goal: the example runs and gives what its comment says. Method: run it as it stands, in an empty home."""
    names: dict[str, Any] = {}
    exec(compile(DIRECT_ACCESS, "direct_access", "exec"), names)
    assert [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi there!"}] == names["history"]
    assert ["session-123"] == [row["session_id"] for row in names["sessions"]]
    assert str(tmp_path / ".praison" / "sessions") == names["store"].session_dir
    assert not names["store"].session_exists("session-123")
    names["store"].close()


def test_the_default_storage_location_is_the_one_the_readme_names(tmp_path: Path) -> None:
    """Goal: sessions are where people look. Method: store one and look at ~/.praison/sessions."""
    with get_default_session_store() as store:
        store.add_user_message("my-session-123", "Hello")
    assert (tmp_path / ".praison" / "sessions" / "my-session-123.json").is_file()


def test_a_custom_session_directory(tmp_path: Path) -> None:
    """Goal: the three arguments mean what they say. Method: run the example below a directory of the test's own."""
    names: dict[str, Any] = {}
    source = CUSTOM_DIRECTORY.replace('"/custom', f'"{tmp_path}/custom')
    exec(compile(source, "custom_directory", "exec"), names)
    store = names["store"]
    expected = (f"{tmp_path}/custom/path/sessions", 200, 10.0)
    assert expected == (store.session_dir, store.max_messages, store.lock_timeout)
    assert os.path.isdir(store.session_dir)
    store.close()


# name: (arguments in their order, with the defaults the README gives; ... where it gives none)
METHODS: dict[str, dict[str, Any]] = {
    "__init__": {"session_dir": None, "max_messages": 100, "lock_timeout": 5.0},
    "add_message": {"session_id": ..., "role": ..., "content": ...},
    "add_user_message": {"session_id": ..., "content": ...},
    "add_assistant_message": {"session_id": ..., "content": ...},
    "get_chat_history": {"session_id": ..., "max_messages": None},
    "get_session": {"session_id": ...},
    "clear_session": {"session_id": ...},
    "delete_session": {"session_id": ...},
    "list_sessions": {"limit": 50},
    "session_exists": {"session_id": ...},
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_takes_what_the_readme_gives_it(name: str) -> None:
    """Goal: code written for PraisonAI's store runs. Method: the first arguments and their defaults."""
    parameters = list(inspect.signature(getattr(DefaultSessionStore, name)).parameters.values())[1:]
    empty = inspect.Parameter.empty
    promised = {p.name: ... if p.default is empty else p.default for p in parameters[: len(METHODS[name])]}
    assert METHODS[name] == promised
    assert list(METHODS[name]) == list(promised)
    assert [] == [p.name for p in parameters[len(METHODS[name]) :] if p.default is empty]


def test_what_returns_bool_does(tmp_path: Path) -> None:
    """Goal: True for done, False for nothing to do. Method: each method of the README's that gives a bool."""
    with DefaultSessionStore(session_dir=str(tmp_path / "s")) as store:
        assert store.add_message("s", "user", "a") is True
        assert store.add_user_message("s", "b") is True
        assert store.add_assistant_message("s", "c") is True
        assert store.session_exists("s") is True
        assert store.clear_session("s") is True
        assert store.delete_session("s") is True
        assert (False, False, False) == (store.clear_session("s"), store.delete_session("s"), store.session_exists("s"))
        session = store.get_session("s")
        assert isinstance(session, SessionData)
        assert isinstance(store.list_sessions(limit=50), list)


def test_the_dataclasses_have_the_fields_of_the_readme() -> None:
    """Goal: its API reference holds. Method: names in their order of both classes, and the reading of a session."""
    wanted = {"session_id", "messages", "created_at", "updated_at", "agent_name", "user_id", "metadata"}
    assert wanted <= {field.name for field in dataclasses.fields(SessionData)}
    assert ["role", "content", "timestamp", "metadata"] == [f.name for f in dataclasses.fields(SessionMessage)][:4]
    session = SessionData("s", [SessionMessage("user", "a"), SessionMessage("assistant", "b")])
    assert [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] == session.get_chat_history()
    assert [{"role": "assistant", "content": "b"}] == session.get_chat_history(max_messages=1)


def test_no_name_of_the_readme_is_missing() -> None:
    """Goal: an import line is all that changes. Method: the names its examples of this release import."""
    for name in ("DefaultSessionStore", "get_default_session_store", "SessionData", "SessionMessage"):
        assert name in praison_store.__all__
