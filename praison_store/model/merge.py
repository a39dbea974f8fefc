"""Bring the changes of a session held in memory into what is stored by now, and lose neither. Pure; no I/O."""

from __future__ import annotations

import copy
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import RevisionConflictError
from .exchanges import leading_system
from .given import as_given, record_of
from .message import Record, SessionMessage
from .session import SessionData
from .values import exact

_ABSENT = object()


@dataclass
class Seen:
    """
    A session as it was read or written last: what the changes since then are measured by.

    Shape: `texts` are the messages as they were given, each as `exact` text; `records` are theirs, in the same order.
    """

    revision: int = 0
    texts: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, session: SessionData) -> Seen:
        """Return what a session shows."""
        records = [message.to_dict() for message in session.messages]
        texts = [exact(as_given(record)) for record in records]
        return cls(session.revision, texts, records, copy.deepcopy(session.metadata))

    def messages(self) -> list[Record]:
        """Return the messages as they were given; copies."""
        return [as_given(record) for record in self.records]


@dataclass
class Held:
    """A session as it is held in memory, ready to be stored; `records` of messages seen before are the same ones."""

    texts: list[str]
    records: list[Record]
    metadata: dict[str, Any]


def held(
    messages: Sequence[Mapping[str, Any]], metadata: Mapping[str, Any], known: Iterable[tuple[str, Record]],
    now_s: float,
) -> Held:
    """
    Return messages and metadata of a session held in memory with the records they are stored as.

    Args:
        known: texts and records of messages seen or tried before; each is taken once, in order, so that a message
            keeps its `message_id` however often it is tried.
    Raises:
        InvalidMessageError: A message or the metadata would not read back equal. Says where.
    """
    records_by_text: dict[str, deque[Record]] = defaultdict(deque)
    for seen_text, record in known:
        records_by_text[seen_text].append(record)
    texts: list[str] = []
    records: list[Record] = []
    for index, message in enumerate(messages):
        text = _exact_or_none(message)
        waiting = None if text is None else records_by_text[text]
        records.append(waiting.popleft() if waiting else record_of(message, now_s, f"messages[{index}]"))
        texts.append(exact(as_given(records[-1])))
    return Held(texts, records, copy.deepcopy(dict(metadata)))


def _exact_or_none(message: Any) -> str | None:
    try:
        return exact(message)
    except (TypeError, ValueError, RecursionError):
        return None  # `record_of` says what is wrong with it


def merge(stored: SessionData, seen: Seen, mine: Held) -> bool:
    """
    Change a stored session by what was changed in memory since it was seen; False where nothing was.

    What was only added goes behind what others added; a key of the metadata counts by itself.

    Raises:
        RevisionConflictError: The session was deleted; or messages were taken away or changed, or a key of the
            metadata set, and another writer changed the same since. The stored session is to be left as it is.
    """
    if stored.revision == 0:
        raise _conflict(stored, seen, "it was deleted")
    changed = _merge_metadata(stored, seen, mine)
    if mine.texts == seen.texts:
        return changed
    if mine.texts[: len(seen.texts)] == seen.texts:
        there = {message.message_id for message in stored.messages if message.message_id is not None}
        added = [record for record in mine.records[len(seen.texts) :] if record.get("message_id") not in there]
        stored.messages.extend(SessionMessage.from_dict(copy.deepcopy(record)) for record in added)
        return changed or bool(added)
    now = [exact(as_given(message.to_dict())) for message in stored.messages]
    if now == mine.texts:
        return changed
    if now != seen.texts:
        raise _conflict(stored, seen, "its messages were changed by another writer")
    stored.messages = [SessionMessage.from_dict(copy.deepcopy(record)) for record in mine.records]
    stored.last_compaction, stored.leading_messages = None, leading_system(mine.records)
    return True


def _merge_metadata(stored: SessionData, seen: Seen, mine: Held) -> bool:
    wanted = dict(stored.metadata)
    for name in {**seen.metadata, **mine.metadata}:
        before, after, now = (one.get(name, _ABSENT) for one in (seen.metadata, mine.metadata, stored.metadata))
        if _same(before, after) or _same(after, now):
            continue
        if not _same(before, now):
            raise _conflict(stored, seen, f"its metadata {name!r} was set by another writer")
        if after is _ABSENT:
            del wanted[name]
        else:
            wanted[name] = after
    changed = not _same(wanted, stored.metadata)
    stored.metadata = copy.deepcopy(wanted)
    return changed


def _same(one: Any, other: Any) -> bool:
    if one is _ABSENT or other is _ABSENT:
        return one is other
    return exact(one) == exact(other)


def _conflict(stored: SessionData, seen: Seen, why: str) -> RevisionConflictError:
    return RevisionConflictError(
        f"The session {stored.session_id!r} is at revision {stored.revision}, not {seen.revision}: {why}. Nothing was "
        f"written: load it again, then change it.",
        session_id=stored.session_id, expected_revision=seen.revision, revision=stored.revision,
    )
