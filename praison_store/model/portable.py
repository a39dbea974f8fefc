"""Whole sessions as plain data: export, import, fork. Pure; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import InvalidArgumentError, InvalidMessageError, SessionExistsError, shown
from .exchanges import exchange_start, leading_system
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
        The session; what was archived is in `extra["archived_messages"]`, from where the engine archives it.
    Raises:
        InvalidArgumentError: It is none of these, or of a newer version. InvalidMessageError: A message is none.
    """
    data: Any = payload
    if isinstance(payload, Mapping) and "sessions" in payload:
        sessions, version = payload["sessions"], payload.get("version", VERSION)
        if not isinstance(version, int) or version > VERSION:
            message = f"The export has version {shown(version)}, this package reads {VERSION}: upgrade it."
            raise InvalidArgumentError(message)
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
    others = {name: value for name, value in data.items() if name not in ("messages", "archived_messages")}
    try:
        checked = _checked(others, archived, data["messages"], foreign=data.get("extended_json") is True)
    except InvalidMessageError:
        # Another store may hold NaN or long integers; they are kept, and the file says how to read them.
        others["extended_json"] = True
        checked = _checked(others, archived, data["messages"], foreign=True)
    session = SessionData.from_dict({**others, "messages": checked[1]})
    _archive(session, checked[0])
    return session


def _checked(
    others: Record, archived: Sequence[Any], messages: Sequence[Any], *, foreign: bool
) -> tuple[list[Record], list[Record]]:
    for name, value in others.items():
        storable(value, name, -1, foreign=foreign)  # a field of metadata counts its levels from itself
    return records_of(archived, 0.0, foreign=foreign), records_of(messages, 0.0, foreign=foreign)


def _archive(session: SessionData, archived: Sequence[Record]) -> None:
    """Put archived messages into a session that is not written yet; the engine moves them on to its archive."""
    if archived:
        session.extra["archived_messages"] = list(archived)
        if session.leading_messages is None:
            session.leading_messages = leading_system([message.to_dict() for message in session.messages])


def taken_archive(session: SessionData) -> list[Record]:
    """Take the archived messages out of a session that `imported` or `fork` made; none for any other."""
    return session.extra.pop("archived_messages", None) or []


def fork(
    session: SessionData, archived: Sequence[Record], window_messages: int | None, new_id: str, at: int | None
) -> SessionData:
    """
    Return a new session with the first `at` messages of another; an exchange that reaches past `at` stays out.

    Args:
        window_messages: how many messages a read shows; what stands behind them counts as archived.
    """
    archived = [*archived, *(message.to_dict() for message in session.past(window_messages))]
    window = session.newest(window_messages) if window_messages else session
    records, in_archive = window.transcript(archived)
    stop = len(records) if at is None else min(at, len(records))
    stop = exchange_start(records, stop) if stop < len(records) else stop
    # As long as the window keeps a message, what was archived stays archived; else the fork is all window.
    parted = bool(archived) and (at is None or stop > in_archive.stop)
    kept = [*records[: in_archive.start], *records[in_archive.stop : stop]] if parted else records[:stop]
    checkpoint = window.last_compaction
    if checkpoint is not None and ((archived and not parted) or checkpoint.message_index > len(kept)):
        checkpoint = None
    forked = replace(
        window,
        session_id=new_id,
        messages=[SessionMessage.from_dict(record) for record in kept],
        parent_id=session.session_id,
        last_compaction=checkpoint,
        leading_messages=window.leading_messages if parted else None,
        revision=0,
        created_at="",
        updated_at="",
        extra={name: value for name, value in session.extra.items() if name != "archived_messages"},
    )
    if parted:
        _archive(forked, records[in_archive.start : in_archive.stop])
    return forked


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
