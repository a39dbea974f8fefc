"""A conversation of Pydantic AI as a session keeps it: its history the messages, what it left beside them. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..model.message import Record, SessionMessage
from ..model.session import SessionData
from . import pydantic_messages
from .beside import Told, put_beside, told_in

# In a record what is exact beside a message; in the metadata what is known of the conversation.
FIELD = "pydantic_ai"
# Entries of branches the conversation left: a field of the session, because no other adapter is to read them as said.
LEFT = "pydantic_ai_left"
_LONG_AGO = "1970-01-01T00:00:00+00:00"  # another store's file may tell no time


@dataclass(slots=True)
class Entry:
    """
    One entry: a message in Pydantic AI's JSON.

    Shape: `records` are those of the session that say it; of messages another adapter wrote, which become entries
    together, all stand with the first (`others` counts it and those after it), and the rest have none.
    """

    id: str
    parent_id: str | None
    message: Record
    records: list[Record] = field(default_factory=list)
    others: int = 0


def new_entry(entry_id: str, parent_id: str | None, message: Record) -> Entry:
    """Return an entry with the messages that say it. Raises InvalidMessageError where JSON cannot hold it."""
    at_s = pydantic_messages.said_at_s(message)
    said = [{**record, "timestamp": at_s} for record in pydantic_messages.said_in(message)]
    return Entry(entry_id, parent_id, message, put_beside(FIELD, message, said, {"entry": entry_id}))


@dataclass(slots=True)
class Log:
    """The entries of a conversation: its history in order, and those it left."""

    history: list[Entry]
    left: dict[str, Entry]

    @property
    def head_id(self) -> str | None:
        """The newest entry of the history."""
        return self.history[-1].id if self.history else None

    def by_id(self) -> dict[str, Entry]:
        """Return every entry by its id."""
        return {**self.left, **{entry.id: entry for entry in self.history}}


def log_of(session: SessionData, archived: Sequence[Record]) -> Log:
    """Return every entry of a session; messages that others wrote are entries with ids made from what they say."""
    history: list[Entry] = []
    names: dict[str, str] = {}
    for told in told_in(session.transcript(archived)[0], FIELD):
        before = history[-1].id if history else None
        if told.exact is not None:
            history.append(Entry(str(told.marks.get("entry")), before, told.exact, told.records))
            pydantic_messages.note_calls(told.exact, names)
        else:
            history += _of_others(told, before, names)
    return Log(history, _left_in(session))


def newest_log(session: SessionData) -> Log | None:
    """
    Return the newest entries alone, where they tell the head; None where the whole session must be read for it.

    Shape: the parent of the first is not known.
    """
    own: list[Entry] = []
    for told in told_in([message.to_dict() for message in session.messages], FIELD):
        if told.exact is None:
            own = []
        else:
            own.append(Entry(str(told.marks.get("entry")), own[-1].id if own else None, told.exact, told.records))
    stored = session.metadata.get(FIELD)
    known = isinstance(stored, Mapping) and own and stored.get("head_id") == own[-1].id
    return Log(own, _left_in(session)) if known else None


def _left_in(session: SessionData) -> dict[str, Entry]:
    left = [Entry(one["id"], one["parent"], one["message"]) for one in session.extra.get(LEFT) or ()]
    return {entry.id: entry for entry in left}


def _of_others(told: Told, before: str | None, names: dict[str, str]) -> list[Entry]:
    found: list[Entry] = []
    for message in pydantic_messages.messages_of(told.records, names):
        parent = found[-1].id if found else before
        found.append(Entry(pydantic_messages.chained_id(parent, message), parent, message))
    if found:
        found[0].records, found[0].others = told.records, len(found)
    return found


def line_to(head_id: str | None, entries: Mapping[str, Entry]) -> tuple[list[Entry], str | None]:
    """Return the entries up to one, oldest first, and the id of the one that is missing before them."""
    line: list[Entry] = []
    seen: set[str] = set()
    wanted = head_id
    while wanted is not None and wanted in entries and wanted not in seen:
        seen.add(wanted)
        line.append(entries[wanted])
        wanted = line[-1].parent_id
    line.reverse()
    return line, wanted


def become(session: SessionData, log: Log, line: Sequence[Entry], others: Mapping[str, Entry]) -> None:
    """
    Make a line of entries the history of a session, and keep every other entry as left.

    Shape: what others wrote stays as they wrote it as long as all of it stays where it is.
    """
    same = 0
    while same < min(len(line), len(log.history)) and line[same].id == log.history[same].id:
        same += 1
    kept = same
    for index, entry in enumerate(log.history[:same]):
        if entry.others and index + entry.others > same:
            kept = index
    records = [record for entry in log.history[:kept] for record in entry.records]
    for entry in line[kept:]:
        records += new_entry(entry.id, entry.parent_id, entry.message).records
    session.messages = [SessionMessage.from_dict(record) for record in records]
    session.last_compaction, session.leading_messages = None, None
    session.extra.pop("archived_messages", None)
    here = {entry.id for entry in line}
    keep_left(session, [entry for entry in {**others, **log.by_id()}.values() if entry.id not in here])


def keep_left(session: SessionData, left: Sequence[Entry]) -> None:
    """Set the entries a conversation left."""
    session.extra.pop(LEFT, None)
    if left:
        session.extra[LEFT] = [{"id": one.id, "parent": one.parent_id, "message": one.message} for one in left]


def is_there(session: SessionData) -> bool:
    """Tell whether a session holds a conversation; one that was deleted is empty."""
    return bool(session.messages) or isinstance(session.metadata.get(FIELD), Mapping)


def known_of(session: SessionData, head_id: str | None) -> Record:
    """
    Return what is known of a conversation, in the JSON of Pydantic AI's record.

    Shape: where another adapter wrote since, the revision tells so, and what the last run waited for is over.
    """
    stored: Any = session.metadata.get(FIELD)
    mine = {"conversation_id": session.session_id, "head_id": head_id, "scope": session.user_id}
    when = session.updated_at or _LONG_AGO
    if not isinstance(stored, Mapping):
        return {**mine, "revision": f"{session.created_at}~{session.revision}", "updated_at": when}
    known = {name: value for name, value in stored.items() if name != "at_revision"}
    if stored.get("head_id") == head_id:
        return {**known, **mine}
    return {**known, **mine, "deferred_tool_requests": None, "updated_at": when,
            "revision": f"{stored.get('revision')}~{session.revision}"}
