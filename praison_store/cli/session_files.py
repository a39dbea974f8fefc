"""Read files that hold sessions, whoever wrote them, as what `import_session` takes."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from ..codec import document, values
from ..disk import archive_log
from ..model.message import Record
from ..model.session_id import file_stem, id_of_stem
from .options import open_or_make

SUFFIX = ".json"
# What a file says about itself, not about its session.
_OF_THE_FILE = ("archived_bytes", "message_count")


class Found(NamedTuple):
    """
    One session of a file.

    Shape: `payload` is what `import_session` takes; `missing` tells what of the session the file does not bring;
    `is_export` that the file is no session's own.
    """

    session_id: str
    payload: Record
    missing: str = ""
    is_export: bool = False

    def message_count(self) -> int:
        """Return how many messages there are, archived ones included."""
        session = self.payload["sessions"][0] if "sessions" in self.payload else self.payload
        return len(session["messages"]) + len(session.get("archived_messages") or ())


def sessions_in(raw: bytes, path: str | None) -> list[Found]:
    """
    Return the sessions of a file's bytes: an export, a session file of this store, or one of PraisonAI's.

    Args:
        path: where the bytes come from, so that a session's archive beside it is found; None for nowhere.
    Raises:
        ValueError: No JSON, or JSON that holds no session.
        SessionStoreError: The file's own id is none, or its archive cannot be read.
    """
    try:
        whole = document.decode(raw)
    except ValueError as error:
        exported = _exported(raw)
        if exported is None:
            raise ValueError(f"it is damaged or holds no session ({error})") from error
        return exported
    return [_of_session_file(whole, path)]


def is_named_after(path: str, session_id: str) -> bool:
    """Tell whether a file has the name its session has in a store's directory. Raises InvalidSessionIdError."""
    return os.path.basename(path) == file_stem(session_id) + SUFFIX


def _exported(raw: bytes) -> list[Found] | None:
    try:
        data, _extended = values.loads_any(raw)
    except ValueError:
        return None
    if not isinstance(data, dict) or not isinstance(data.get("sessions"), list):
        return None
    return [_of_export(data, session) for session in data["sessions"]]


def _of_export(export: Record, session: Any) -> Found:
    session_id = session.get("session_id") if isinstance(session, dict) else None
    return Found(str(session_id), {**export, "sessions": [session]}, is_export=True)


def _of_session_file(whole: document.Document, path: str | None) -> Found:
    stem = os.path.basename(path or "").removesuffix(SUFFIX)
    session_id = whole.header.get("session_id") or id_of_stem(stem) or stem
    if path is not None and is_named_after(path, session_id):
        # A store beside it reads the session with its archive, in one snapshot.
        with open_or_make(os.path.dirname(path)) as store:
            payload = store.export_session(session_id)
    else:
        header = {name: value for name, value in whole.header.items() if name not in _OF_THE_FILE}
        payload = {**header, "session_id": session_id, "messages": whole.records}
        path = None
    return Found(session_id, payload, _missing(whole.header.get("archived_bytes"), path))


def _missing(counted_bytes: Any, path: str | None) -> str:
    """Tell how much of a session's archive is not beside its file: a copy of the file alone does not bring it."""
    if not isinstance(counted_bytes, int) or counted_bytes <= 0:
        return ""
    there = 0
    if path is not None and os.path.isfile(archive := archive_log.path_of(path)):
        there = os.path.getsize(archive)
    return f"{counted_bytes - there:,} bytes of its archive were not beside it" if there < counted_bytes else ""
