"""Lines of a Claude transcript as a session keeps them: what was said in our chat form, the rest beside it. No I/O."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ..errors import InvalidMessageError, shown
from ..model.formats import from_anthropic, to_anthropic
from ..model.message import Record, SessionMessage, records_of
from ..model.session import SessionData, said_at
from ..model.values import storable
from .beside import AFTER, Told, put_beside, told_in

# In a record the exact line beside what it says, and the lines that came after it and say nothing; in the metadata the
# SDK's summary.
FIELD = "claude_agent_sdk"
# The lines that came before anything was said: a field of the session.
FIRST = "claude_agent_sdk_first"


def checked(entries: Any) -> list[Record]:
    """Return the lines of a batch as JSON holds them. Raises InvalidMessageError; nothing was written."""
    if isinstance(entries, (str, bytes, Mapping)) or not isinstance(entries, Sequence):
        raise InvalidMessageError(f"entries is a list of dicts, not {shown(entries)}: pass one.", where="entries")
    for index, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            where = f"entries[{index}]"
            raise InvalidMessageError(f"{where} is a dict, not {shown(entry)}: pass one.", where=where)
    return [storable(dict(entry), f"entries[{index}]") for index, entry in enumerate(entries)]


def put_behind(session: SessionData, entries: Iterable[Record], now_s: float) -> None:
    """Store lines behind those of a session; one that says nothing stands with the message it came after."""
    for entry in entries:
        said = _said_in(entry, now_s)
        if said:
            session.messages += map(SessionMessage.from_dict, put_beside(FIELD, entry, said, {}))
        elif session.messages:
            last = session.messages[-1]
            marks = last.extra.get(FIELD)
            marks = marks if isinstance(marks, Mapping) else {}
            last.extra[FIELD] = {**marks, AFTER: [*marks.get(AFTER, ()), entry]}
        else:
            session.extra[FIRST] = [*session.extra.get(FIRST, ()), entry]


def entries_of(session: SessionData, archived: Sequence[Record]) -> list[Record]:
    """Return every line in the order of its storing; what another adapter wrote is a line as the CLI writes them."""
    found: list[Record] = list(session.extra.get(FIRST) or ())
    for told in told_in(session.transcript(archived)[0], FIELD):
        if told.exact is not None:
            found.append(told.exact)
        else:
            found += _of_others(told, session.session_id, found)
        marks = told.records[-1].get(FIELD)
        found += marks.get(AFTER) or () if isinstance(marks, Mapping) else ()
    return found


def ids_of(entries: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the uuids of lines; many have none."""
    return {entry["uuid"] for entry in entries if isinstance(entry.get("uuid"), str)}


def not_stored(entries: Iterable[Record], stored: set[str]) -> list[Record]:
    """Return the lines whose uuid is new, and all that have none."""
    seen = set(stored)
    fresh = []
    for entry in entries:
        name = entry.get("uuid")
        if not isinstance(name, str) or name not in seen:
            fresh.append(entry)
            seen |= ids_of([entry])
    return fresh


def _said_in(entry: Record, now_s: float) -> list[Record]:
    """Return what a line says as messages of ours; none for a title, a snapshot, or what an agent below said."""
    message = entry.get("message")
    role = entry.get("type")
    if role not in ("user", "assistant") or not isinstance(message, Mapping) or entry.get("isSidechain") is True:
        return []
    if message.get("role") != role or not isinstance(message.get("content"), (str, list)):
        return []
    try:
        return records_of(from_anthropic([message]), _said_at_s(entry, now_s))
    except InvalidMessageError:
        return []  # the line is kept as it is; that its parts make no message of ours is no fault of the line


def _said_at_s(entry: Mapping[str, Any], now_s: float) -> float:
    when = entry.get("timestamp")
    try:
        return datetime.fromisoformat(when).timestamp() if isinstance(when, str) else now_s
    except (ValueError, OverflowError):
        return now_s


def _of_others(told: Told, session_id: str, before: Sequence[Mapping[str, Any]]) -> list[Record]:
    """Return lines for messages that have none; their uuids stay the same as long as all before them does."""
    parent = next((entry["uuid"] for entry in reversed(before) if entry.get("type") in ("user", "assistant")
                   and isinstance(entry.get("uuid"), str)), None)
    found: list[Record] = []
    for message in to_anthropic(told.records)[1]:
        raw = json.dumps([session_id, parent, message], sort_keys=True).encode()
        name = str(uuid.UUID(bytes=hashlib.sha256(raw).digest()[:16], version=5))
        said = message
        if message["role"] == "assistant":
            said = {"id": f"msg_{name}", "type": "message", "model": "<synthetic>", "stop_reason": None,
                    "stop_sequence": None, "usage": {"input_tokens": 0, "output_tokens": 0}, **message}
        found.append({
            "parentUuid": parent, "isSidechain": False, "userType": "external", "sessionId": session_id,
            "type": message["role"], "message": said, "uuid": name,
            "timestamp": said_at(told.records[0]).replace("+00:00", "Z"),
        })
        parent = name
    return found
