"""Whole sessions as plain data: export, import, fork. Pure; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import InvalidArgumentError, InvalidMessageError, SessionExistsError
from .exchanges import exchange_start, in_order, leading_system
from .message import Record, SessionMessage, records_of
from .session import SessionData, wrong_fields
from .values import storable

FORMAT = "praison-store"
VERSION = 1


def exported(session: SessionData, archived: Sequence[Record], window_messages: int | None) -> Record:
    """
    Return a session as a dict that `imported` takes back.

    Args:
        window_messages: how many messages a read shows; what stands behind them counts as archived.
    Shape: `{"format", "version", "sessions": [one]}`, as PraisonAI's portable payload; the archive is the session's
    `archived_messages`.
    """
    past = [message.to_dict() for message in session.past(window_messages)]
    data = (session.newest(window_messages) if window_messages else session).to_dict()
    data["archived_messages"] = [*archived, *past]
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
    if wrong := wrong_fields(data):
        raise InvalidArgumentError(f"The exported session has a value of a wrong kind as {', '.join(wrong)}: mend it.")
    archived = data.get("archived_messages") or []
    leading = data.get("leading_messages")
    leading = (leading_system(_mappings(data["messages"])) if archived else 0) if leading is None else leading
    records = in_order(data["messages"], archived, leading)
    others = {name: value for name, value in data.items() if name not in ("messages", "archived_messages")}
    try:
        checked = _checked(others, records, any_number=data.get("extended_json") is True)
    except InvalidMessageError:
        # Another store may hold NaN or long integers; they are kept, and the file says how to read them.
        others["extended_json"] = True
        checked = _checked(others, records, any_number=True)
    session = SessionData.from_dict({**others, "messages": checked})
    session.leading_messages = leading if archived else session.leading_messages
    if session.last_compaction is not None:
        session.last_compaction.message_index += len(archived)
    return session


def _checked(others: Record, records: Sequence[Any], *, any_number: bool) -> list[Record]:
    for name, value in others.items():
        for inner, item in value.items() if isinstance(value, dict) else [("", value)]:
            storable(item, f"{name}.{inner}", any_number=any_number)
    return records_of(records, 0.0, any_number=any_number)


def _mappings(messages: Sequence[Any]) -> list[Mapping[str, Any]]:
    return [message if isinstance(message, Mapping) else {} for message in messages]


def fork(session: SessionData, archived: Sequence[Record], new_id: str, at: int | None) -> SessionData:
    """Return a new session with the first `at` messages of another; an exchange that reaches past `at` stays out."""
    records, _in_archive = session.transcript(archived)
    stop = len(records) if at is None else min(at, len(records))
    stop = exchange_start(records, stop) if stop < len(records) else stop
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
        leading_messages=session.leading_messages if archived else None,
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
