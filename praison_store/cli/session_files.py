"""Read files that hold sessions, whoever wrote them, as what `import_session` takes."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from ..codec import document, values
from ..disk import archive_log
from ..model.message import Record
from ..model.session_id import id_of_stem

# What a file says about itself, not about its session.
_OF_THE_FILE = ("archived_bytes", "message_count")


class Found(NamedTuple):
    """One session of a file: its id, the payload for `import_session`, its message count, and what is missing."""

    session_id: str
    payload: Record
    messages: int
    missing: str = ""
    is_export: bool = False


def sessions_in(raw: bytes, path: str | None) -> list[Found]:
    """
    Return the sessions of a file's bytes: an export, a session file of this store, or one of PraisonAI's.

    Args:
        path: where the bytes come from, so that a session's archive beside it is found; None for nowhere.
    Raises:
        ValueError: No JSON, or JSON that holds no session.
        StoreReadError: The session's archive cannot be read.
    """
    try:
        whole = document.decode(raw)
    except ValueError as error:
        exported = _exported(raw)
        if exported is None:
            raise ValueError(f"it holds no session ({error})") from error
        return exported
    return [_of_session_file(whole, path)]


def _exported(raw: bytes) -> list[Found] | None:
    try:
        data, _extended = values.loads_any(raw)
    except ValueError:
        return None
    if not isinstance(data, dict) or not isinstance(data.get("sessions"), list):
        return None
    return [_of_export(data, session) for session in data["sessions"]]


def _of_export(export: Record, session: Any) -> Found:
    fields = session if isinstance(session, dict) else {}
    parts = fields.get("messages"), fields.get("archived_messages")
    messages = sum(len(part) for part in parts if isinstance(part, list))
    return Found(str(fields.get("session_id", "")), {**export, "sessions": [session]}, messages, is_export=True)


def _of_session_file(whole: document.Document, path: str | None) -> Found:
    session: Record = {name: value for name, value in whole.header.items() if name not in _OF_THE_FILE}
    stem = os.path.basename(path or "").removesuffix(".json")
    session["session_id"] = session.get("session_id") or id_of_stem(stem) or stem
    inside = session.get("archived_messages")
    archived, missing = _archive(whole.header, path)
    session["archived_messages"] = [*(inside if isinstance(inside, list) else []), *archived]
    session["messages"] = whole.records
    count = len(whole.records) + len(session["archived_messages"])
    return Found(str(session["session_id"]), session, count, missing)


def _archive(header: Record, path: str | None) -> tuple[list[Record], str]:
    """Return the archived messages beside a session's file, and what of them is missing."""
    archive = None if path is None else archive_log.path_of(path)
    # PraisonAI's store drops the length of our archive; then the whole archive is the session's.
    counted_bytes = header.get("archived_bytes", archive_log.size_bytes(archive) if archive else 0)
    if not isinstance(counted_bytes, int) or counted_bytes <= 0:
        return [], ""
    raw = archive_log.read(archive, counted_bytes) if archive else b""
    records, damaged = document.archived_records(raw)
    if len(raw) < counted_bytes:
        return records, f"{counted_bytes - len(raw):,} bytes of its archive were not beside it"
    return records, f"{damaged} of its archived messages are damaged" if damaged else ""
