"""Other programs that write our files: PraisonAI's store, and a person with an editor."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

_KNOWN_MESSAGE = ("role", "content", "timestamp", "metadata", "tool_calls", "tool_call_id")
_KNOWN_SESSION = ("session_id", "messages", "created_at", "updated_at", "agent_name", "user_id", "metadata",
                  "gateway_session_id", "agent_id", "runtime_state", "archived_messages", "last_compaction")


def replace_text(path: Path, text: str) -> None:
    """Put a text in the place of a file, by a temporary file and a rename."""
    temporary = path.with_name("tmpforeign.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.chmod(0o600)
    os.replace(temporary, path)


def foreign_append(path: Path, message: dict[str, Any]) -> int:
    """
    Append a message as PraisonAI's store does: indented, under its lock, without the fields it does not know.

    Returns:
        How many messages the file held before.
    """
    with open(f"{path}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            old = json.loads(path.read_text(encoding="utf-8"))
        else:
            old = {"session_id": path.stem, "messages": [], "created_at": "2026-01-02T04:00:00+00:00"}
        messages = [{name: m[name] for name in _KNOWN_MESSAGE if name in m} for m in old["messages"]]
        new = {name: old[name] for name in _KNOWN_SESSION if name in old}
        new |= {"gateway_session_id": None, "agent_id": None, "runtime_state": {}}
        new |= {"archived_messages": old.get("archived_messages") or []}
        new |= {"messages": [*messages, message], "updated_at": "2026-01-02T04:01:00+00:00"}
        new |= {name: old.get(name) for name in ("agent_name", "user_id")} | {"metadata": old.get("metadata") or {}}
        replace_text(path, json.dumps(new, indent=2, ensure_ascii=False))
        return len(messages)


def edit_in_place(path: Path, before: str, after: str) -> bool:
    """Change the first occurrence of a text in a file as some editors do: in the file itself, not in a copy."""
    text = path.read_text(encoding="utf-8")
    if before not in text:
        return False
    with open(path, "r+", encoding="utf-8") as file:
        file.write(text.replace(before, after, 1))
        file.truncate()
    return True


def edit_in_a_copy(path: Path, before: str, after: str) -> bool:
    """Change the first occurrence of a text in a file as other editors do: in a copy that takes its place."""
    text = path.read_text(encoding="utf-8")
    if before not in text:
        return False
    replace_text(path, text.replace(before, after, 1))
    return True
