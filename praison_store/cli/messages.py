"""Messages as people read them, and a session's messages in the order they were said."""

from __future__ import annotations

import textwrap
from typing import Any

from rich.padding import Padding
from rich.text import Text

from ..errors import SessionNotFoundError
from ..model.message import Record
from ..model.session import SessionData
from ..store import DefaultSessionStore
from .options import where
from .printing import is_terminal, json_text, out, visible, when

_ROLE_STYLES = {"user": "cyan", "assistant": "green", "system": "magenta", "tool": "yellow"}
_SHOWN_ELSEWHERE = ("role", "content", "timestamp", "metadata")


def transcript(store: DefaultSessionStore, session_id: str) -> tuple[SessionData, list[Record], range]:
    """
    Return a session, every message of it in the order said, and which of them are archived.

    Raises:
        SessionNotFoundError: Nothing was read.
    Cost: reads and decodes the session's file and its archive, in one snapshot.
    """
    try:
        data = store.export_session(session_id)["sessions"][0]
    except SessionNotFoundError:
        raise not_found(store, session_id) from None
    archived = data.pop("archived_messages")
    session = SessionData.from_dict(data)
    return session, *session.transcript(archived)


def not_found(store: DefaultSessionStore, session_id: str) -> SessionNotFoundError:
    """Return the error of an unknown session in the words of the command line."""
    return SessionNotFoundError(
        f"There is no session {session_id!r} in {where(store)}: `praison-store list` shows those there are.",
        session_id=session_id,
    )


def role_style(role: object) -> str:
    """Return the colour of a role."""
    return _ROLE_STYLES.get(str(role), "blue")


def content_text(content: Any) -> str:
    """Return a content as text: itself, the texts of its parts, and what is no text as JSON."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return "" if content is None else json_text(content)
    return "\n".join(_part_text(part) for part in content)


def _part_text(part: Any) -> str:
    text = part.get("text") if isinstance(part, dict) else part
    return text if isinstance(text, str) else json_text(part)


def preview(record: Record) -> str:
    """Return a message on one line: its words, or what it calls."""
    words = " ".join(content_text(record.get("content")).split())
    return visible(words or _rest(record))


def _rest(record: Record) -> str:
    rest = {name: value for name, value in record.items() if name not in _SHOWN_ELSEWHERE and value}
    return json_text(rest) if rest else ""


def print_message(record: Record, *, archived: bool = False) -> None:
    """Print one message: who and when, then the words, set in."""
    console = out()
    role = record.get("role", "")
    mark = "  archived" if archived else ""
    head = Text.assemble(
        (visible(role), f"bold {role_style(role)}"), (f"  {when(record.get('timestamp'))}{mark}", "dim")
    )
    console.print(head)
    body = visible(content_text(record.get("content")), lines=True)
    metadata = json_text(record["metadata"]) if record.get("metadata") else ""
    for text, style in ((body, ""), (visible(_rest(record)), "dim"), (visible(metadata), "dim")):
        if text and is_terminal():
            console.print(Padding(Text(text, style), (0, 0, 0, 2)))
        elif text:
            console.print(textwrap.indent(text, "  "), soft_wrap=True)
