"""The Python and TOML of coda's session README, with only the import lines changed."""

from __future__ import annotations

import contextlib
import io
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from praison_store import SessionManager


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each example a home and a working directory of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PRAISON_SESSION_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


QUICK_START = '''
from praison_store import SessionManager

# Initialize session manager
manager = SessionManager({
    "session": {
        "storage_path": "~/.coda/sessions"
    }
})

# Create or load a session
session = manager.create_session("my-chat")

# Add messages
session.add_message({"role": "user", "content": "Hello!"})
session.add_message({"role": "assistant", "content": "Hi there!"})

# Save session
manager.save_session(session)

# List all sessions
for session_info in manager.list_sessions():
    print(f"{session_info.name}: {session_info.message_count} messages")
'''

CREATING = '''
# New session
session = manager.create_session("project-discussion")

# Branch from existing session
branch = manager.create_session(
    "project-discussion-v2",
    branch_from="project-discussion"
)
'''

MESSAGES = '''
# Add messages with metadata
session.add_message({
    "role": "user",
    "content": "What is Python?",
    "timestamp": datetime.now().isoformat(),
    "model": "gpt-4"
})

# Get messages
all_messages = session.get_messages()
recent_messages = session.get_messages(limit=10)

# Clear or truncate
session.clear_messages()
session.truncate_messages(max_messages=50)
'''

METADATA = '''
# Update metadata
session.update_metadata({
    "topic": "Python programming",
    "tags": ["tutorial", "basics"],
    "model": "gpt-4"
})

# Access metadata
print(session.metadata)
'''

SQLITE = '''
config = {
    "session": {
        "backend": "sqlite",
        "storage_path": "~/.coda/sessions",
        "connection_pool_size": 5
    }
}
'''

IN_MEMORY = '''
config = {
    "session": {
        "backend": "memory"
    }
}
# Note: Sessions are lost when program exits
'''

TEMPLATES = '''
# Create a code review session
session = manager.create_session("code-review")
session.add_message({
    "role": "system",
    "content": "You are an expert code reviewer."
})
'''

EXPORT_IMPORT = '''
import json

# Export session
data = {
    "messages": session.get_messages(),
    "metadata": session.metadata
}
with open("session-backup.json", "w") as f:
    json.dump(data, f)

# Import session
with open("session-backup.json") as f:
    data = json.load(f)
imported = manager.create_session("imported")
for msg in data["messages"]:
    imported.add_message(msg)
'''

SEARCH = '''
# Find sessions by metadata
python_sessions = [
    s for s in manager.list_sessions()
    if "python" in s.metadata.get("topic", "").lower()
]
'''

CONFIGURATION = '''
[session]
# Storage backend: "sqlite" or "memory"
backend = "sqlite"

# Storage location for SQLite
storage_path = "~/.coda/sessions"

# Auto-save interval in seconds (0 = disabled)
autosave_interval = 300

# Maximum session size in MB
max_session_size = 100

# Enable compression for large messages
compress_messages = true
'''


def run(source: str, names: dict[str, Any]) -> str:
    """Run an example as it stands, with the names of those before it; return what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, "coda_readme", "exec"), names)
    return printed.getvalue()


@pytest.fixture
def names() -> Iterator[dict[str, Any]]:
    """Give the names the quick start leaves, as the later examples need them."""
    found: dict[str, Any] = {}
    found["printed"] = run(QUICK_START, found)
    yield found
    found["manager"].close()


def test_quick_start(names: dict[str, Any], tmp_path: Path) -> None:
    """Goal: a session is kept and listed. Method: run the example; look at what it prints and where it stores."""
    assert "my-chat: 2 messages\n" == names["printed"]
    assert (tmp_path / ".coda" / "sessions").is_dir()
    with SessionManager({"session": {"storage_path": "~/.coda/sessions"}}) as later:
        assert [
            {"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hi there!"},
        ] == later.load_session("my-chat").messages


def test_creating_sessions(names: dict[str, Any]) -> None:
    """Goal: a branch is a session of its own. Method: run the example, twice."""
    for _ in range(2):
        run(CREATING, names)
    assert {"my-chat", "project-discussion", "project-discussion-v2"} == {
        info.name for info in names["manager"].list_sessions()}
    assert "project-discussion" == names["branch"].parent


def test_working_with_messages(names: dict[str, Any]) -> None:
    """Goal: keys of any kind come back. Method: run the example; the message is the newest of three."""
    run("from datetime import datetime", names)
    run(MESSAGES, names)
    assert 3 == len(names["all_messages"])
    assert names["all_messages"] == names["recent_messages"]
    newest = names["all_messages"][-1]
    assert ("user", "What is Python?", "gpt-4") == (newest["role"], newest["content"], newest["model"])
    assert isinstance(newest["timestamp"], str)
    assert [] == names["session"].get_messages()


def test_session_metadata(names: dict[str, Any]) -> None:
    """Goal: metadata is set and shown. Method: run the example; it prints the dict, and a save keeps it."""
    wanted = {"topic": "Python programming", "tags": ["tutorial", "basics"], "model": "gpt-4"}
    assert f"{wanted}\n" == run(METADATA, names)
    names["manager"].save_session(names["session"])
    assert wanted == names["manager"].get_session_info("my-chat").metadata


def test_search_by_metadata(names: dict[str, Any]) -> None:
    """Goal: the listing has the metadata. Method: run the example after the one that sets a topic."""
    run(METADATA, names)
    names["manager"].save_session(names["session"])
    run(SEARCH, names)
    assert ["my-chat"] == [info.name for info in names["python_sessions"]]


@pytest.mark.parametrize("source", [SQLITE, IN_MEMORY], ids=["sqlite", "memory"])
def test_storage_backends(source: str) -> None:
    """Goal: both configurations are taken. Method: run each, and save a session with it."""
    found: dict[str, Any] = {}
    run(source, found)
    with SessionManager(found["config"]) as manager:
        session = manager.create_session("s")
        session.add_message({"role": "user", "content": "x"})
        manager.save_session(session)
        assert [1] == [info.message_count for info in manager.list_sessions()]


def test_session_templates(names: dict[str, Any]) -> None:
    """Goal: a session may begin with a system message. Method: run the example."""
    run(TEMPLATES, names)
    assert [{"role": "system", "content": "You are an expert code reviewer."}] == names["session"].messages


def test_export_and_import(names: dict[str, Any]) -> None:
    """Goal: what is exported is imported. Method: run the example; both sessions have equal messages."""
    run(EXPORT_IMPORT, names)
    assert names["session"].messages == names["imported"].messages
    names["manager"].save_session(names["imported"])
    assert 2 == names["manager"].get_session_info("imported").message_count


def test_configuration(tmp_path: Path) -> None:
    """Goal: the configuration is taken as a file and as a dict. Method: both; the settings are equal."""
    path = tmp_path / "coda.toml"
    path.write_text(CONFIGURATION, encoding="utf-8")
    with SessionManager(str(path)) as from_file, SessionManager(tomllib.loads(CONFIGURATION)) as from_dict:
        assert from_file.settings == from_dict.settings
        assert (300, 100, True) == (
            from_file.settings.autosave_interval, from_file.settings.max_session_size,
            from_file.settings.compress_messages)
