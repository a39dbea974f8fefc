"""Whole sessions as plain data: export, import, fork. Pure; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import InvalidArgumentError, SessionExistsError
from .exchanges import exchange_marks, in_order, leading_system
from .message import Record, SessionMessage, records_of
from .session import SessionData
from .values import storable

FORMAT = "praison-store"
VERSION = 1


def exported(session: SessionData, archived: Sequence[Record]) -> Record:
    """
    Return a session as a dict that `imported` takes back.

    Shape: `{"format", "version", "sessions": [one]}`, as PraisonAI's portable payload; the archive is the session's
    `archived_messages`.
    """
    data = session.to_dict()
    data["archived_messages"] = list(archived)
    return {"format": FORMAT, "version": VERSION, "sessions": [data]}


def imported(payload: Mapping[str, Any]) -> SessionData:
    """
    Return the session of an export, of PraisonAI's portable payload, or of one session's dict.

    Returns:
        The session with its archived messages in front; the store's policy archives them anew.
    Raises:
        InvalidArgumentError: It is none of these, or of a newer version. InvalidMessageError: A message is none.
    """
    data: Any = payload
    if isinstance(payload, Mapping) and "sessions" in payload:
        sessions, version = payload["sessions"], payload.get("version", VERSION)
        if not isinstance(version, int) or version > VERSION:
            raise InvalidArgumentError(f"The export has version {version!r}, this package reads {VERSION}: upgrade it.")
        if not isinstance(sessions, Sequence) or len(sessions) != 1:
            raise InvalidArgumentError("The export holds not one session: pass its sessions one by one.")
        data = sessions[0]
    if not isinstance(data, Mapping) or not isinstance(data.get("messages"), list):
        raise InvalidArgumentError("This is no exported session: pass what export_session() returned.")
    if not isinstance(data.get("session_id"), str) or not data["session_id"]:
        raise InvalidArgumentError("The exported session has no session_id: add one.")
    storable({name: value for name, value in data.items() if name not in ("messages", "archived_messages")}, "session")
    archived = data.get("archived_messages") or []
    leading = leading_system(data["messages"]) if archived else 0
    records = records_of(in_order(data["messages"], archived, leading), 0.0)
    session = SessionData.from_dict({**data, "archived_messages": None, "messages": records})
    del session.extra["archived_messages"]
    if session.last_compaction is not None:
        session.last_compaction.message_index += len(archived)
    return session


def fork(session: SessionData, archived: Sequence[Record], new_id: str, at: int | None) -> SessionData:
    """Return a new session with the first `at` messages of another; an exchange that reaches past `at` stays out."""
    records = [{n: v for n, v in record.items() if n != "archived"} for record in session.transcript(archived)]
    stop = len(records) if at is None else min(at, len(records))
    if stop < len(records):
        marks = exchange_marks(records)
        while stop > 0 and marks[stop]:
            stop -= 1
    checkpoint = session.last_compaction
    if checkpoint is not None:
        index = checkpoint.message_index + len(archived)
        checkpoint = replace(checkpoint, message_index=index) if index <= stop else None
    return replace(
        session,
        session_id=new_id,
        messages=[SessionMessage.from_dict(record) for record in records[:stop]],
        parent_id=session.session_id,
        last_compaction=checkpoint,
        revision=0,
        created_at="",
        updated_at="",
        extra={name: value for name, value in session.extra.items() if name != "archived_messages"},
    )


def become(wanted: SessionData, *, overwrite: bool = False) -> Callable[[SessionData], None]:
    """Return the change that turns a new session into `wanted`; one that exists is refused unless `overwrite`."""

    def change(session: SessionData) -> None:
        if session.revision and not overwrite:
            raise SessionExistsError(
                f"The session {wanted.session_id!r} exists and was left as it is: pick another id, or overwrite it.",
                session_id=wanted.session_id,
            )
        kept = {"created_at": session.created_at} if not wanted.created_at else {}
        kept |= {"updated_at": session.updated_at} if not wanted.updated_at else {}
        # A write adds one; so the imported revision comes back, and one that is overwritten still grows.
        revision = max(wanted.revision - 1, session.revision)
        vars(session).update({**vars(wanted), **kept, "revision": revision})

    return change
