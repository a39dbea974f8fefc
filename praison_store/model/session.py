"""A session as people use it: `SessionData`, its summary `SessionInfo`, and the checkpoint a compaction leaves."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

from ..errors import InvalidArgumentError, shown
from . import arguments
from .exchanges import exchange_start, in_order, leading_system, newest_window
from .message import Record, SessionMessage
from .values import storable


def iso_utc(now_s: float) -> str:
    """Return a time in seconds since 1970 as ISO-8601 text in UTC to the microsecond, as PraisonAI writes it."""
    second, microsecond = divmod(int(now_s * 1_000_000), 1_000_000)
    return f"{_iso_second(second)}.{microsecond:06d}+00:00"


@lru_cache(maxsize=4)
def _iso_second(second: int) -> str:
    # Every write has its time, and most fall into the second of the one before: a calendar is not asked twice.
    return datetime.fromtimestamp(second, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")


def time_text(value: Any) -> str:
    """Return a time of any file as text: ISO-8601 where a number is seconds since 1970, empty for None."""
    if not isinstance(value, (int, float)):
        return value or ""
    try:
        return iso_utc(value)
    except (ValueError, OverflowError, OSError):
        return str(value)  # no time a calendar has


def said_at(record: Mapping[str, Any]) -> str:
    """Return when a message was said, as ISO-8601 text; 1970 where it tells no time a calendar has."""
    try:
        return iso_utc(float(record.get("timestamp") or 0.0))
    except (TypeError, ValueError, OverflowError, OSError):
        return iso_utc(0.0)


def _stamp() -> str:
    return iso_utc(time.time())


@dataclass
class CompactionCheckpoint:
    """
    A summary that stands for the first `message_index` messages of the window.

    Source: the fields of `last_compaction` in PraisonAI's files, so that both stores read each other's.
    """

    summary: str
    message_index: int = 0
    role: str = "system"
    tokens_before: int = 0
    tokens_after: int = 0
    timestamp: float = 0.0
    metadata: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> Record:
        """Return the checkpoint as it stands in a file."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CompactionCheckpoint:
        """Return the checkpoint of a file's record; missing fields get their default."""
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        return cls(**{"summary": "", **known})

    def after_cut(self, leading: int, start: int) -> CompactionCheckpoint:
        """Return the checkpoint of a window that keeps `[:leading]` and `[start:]` of its messages."""
        index = self.message_index
        return replace(self, message_index=index - (start - leading) if index > start else min(index, leading))


def new_checkpoint(
    summary: str, role: str, tokens_before: int, tokens_after: int, now_s: float, metadata: dict[str, Any] | None
) -> CompactionCheckpoint:
    """
    Return a checkpoint for the end of a window, checked so that it reads back equal (D6).

    Raises:
        InvalidArgumentError, InvalidMessageError: A field cannot be meant or not be stored. Nothing was written.
    """
    arguments.at_least(tokens_before, "tokens_before", 0)
    arguments.at_least(tokens_after, "tokens_after", 0)
    if not arguments.text(role, "role"):
        raise InvalidArgumentError("role is text of at least one character, such as 'system': pass one.")
    if metadata is not None and not isinstance(metadata, dict):
        raise InvalidArgumentError(f"metadata is a dict, not {shown(metadata)}: pass one, or None.")
    stored = storable(metadata or {}, "metadata")
    return CompactionCheckpoint(summary, 0, str.__str__(role), tokens_before, tokens_after, now_s, stored)


@dataclass
class SessionData:
    """
    One session: its messages and what is known about it.

    Shape: times are ISO-8601 text in UTC; `revision` grows by one with every write (0: never written); `context` is
    the application's own state; `parent_id` is the session this one was forked from; `extra` keeps every field this
    version does not know. `messages` is the window a read shows, oldest first; `leading_messages` of them are the
    system messages that led the conversation, counted when the first message left (None before: count them).
    Source: field names follow the PraisonAI session format.
    """

    session_id: str
    messages: list[SessionMessage] = field(default_factory=list)
    created_at: str = field(default_factory=_stamp)
    updated_at: str = field(default_factory=_stamp)
    agent_name: str | None = None
    user_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    parent_id: str | None = None
    revision: int = 0
    last_compaction: CompactionCheckpoint | None = None
    leading_messages: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def get_chat_history(self, max_messages: int | None = None) -> list[Record]:
        """Return the newest `max_messages` as a model API takes them, oldest first; None or 0 returns all."""
        session = self.newest(max_messages) if max_messages else self
        return [message.to_llm_message() for message in session.messages]

    def get_working_history(self, max_messages: int | None = None) -> list[Record]:
        """Return the last checkpoint's summary and what came after it; without a checkpoint, the chat history."""
        checkpoint = self.last_compaction
        if checkpoint is None:
            return self.get_chat_history(max_messages)
        summary = {"role": checkpoint.role, "content": checkpoint.summary}
        if max_messages == 1:
            return [summary]
        index = exchange_start([message.to_dict() for message in self.messages], checkpoint.message_index)
        after = type(self)(self.session_id, self.messages[index:])
        return [summary, *after.get_chat_history(max_messages - 1 if max_messages else None)]

    def newest(self, max_messages: int) -> SessionData:
        """Return the session with its newest messages only; no tool exchange is cut (D9)."""
        leading, start = self._cut(max_messages)
        if start == leading:
            return self
        checkpoint = self.last_compaction.after_cut(leading, start) if self.last_compaction else None
        messages = self.messages[:leading] + self.messages[start:]
        return replace(self, messages=messages, last_compaction=checkpoint, leading_messages=leading)

    def past(self, max_messages: int | None) -> list[SessionMessage]:
        """Return the messages `newest` leaves out, oldest first."""
        leading, start = self._cut(max_messages) if max_messages else (0, 0)
        return self.messages[leading:start]

    def _cut(self, max_messages: int) -> tuple[int, int]:
        return newest_window([message.to_dict() for message in self.messages], max_messages, self.leading_messages)

    def transcript(self, archived: Sequence[Record]) -> tuple[list[Record], range]:
        """Return every message as a record, in the order they were said, and which of them are the archived ones."""
        records = [message.to_dict() for message in self.messages]
        leading = self.leading_messages
        if leading is None:
            leading = leading_system(records) if archived else 0
        return in_order(records, archived, leading), range(leading, leading + len(archived))

    def header(self) -> Record:
        """Return every field but the messages, as it stands in a file."""
        data: Record = {
            "session_id": self.session_id,
            "agent_name": self.agent_name,
            "user_id": self.user_id,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "revision": self.revision,
        }
        if self.parent_id is not None:
            data["parent_id"] = self.parent_id
        if self.context:
            data["context"] = self.context
        if self.leading_messages is not None:
            data["leading_messages"] = self.leading_messages
        if self.last_compaction is not None:
            data["last_compaction"] = self.last_compaction.to_dict()
        data.update(self.extra)
        data["metadata"] = self.metadata
        return data

    def to_dict(self) -> Record:
        """Return the whole session as plain dicts; `from_dict` gives it back."""
        return {**self.header(), "messages": [message.to_dict() for message in self.messages]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SessionData:
        """
        Return the session of a record; unknown fields go to `extra`, missing times are empty text.

        Source: PraisonAI's files have no `revision`; they count as written once for each message.
        """
        messages = [SessionMessage.from_dict(message) for message in data.get("messages") or []]
        compaction = data.get("last_compaction")
        return cls(
            session_id=data.get("session_id") or "",
            messages=messages,
            created_at=time_text(data.get("created_at")),
            updated_at=time_text(data.get("updated_at")),
            agent_name=data.get("agent_name"),
            user_id=data.get("user_id"),
            metadata=data.get("metadata") or {},
            context=data.get("context") or {},
            parent_id=data.get("parent_id"),
            revision=len(messages) if data.get("revision") is None else data["revision"],
            last_compaction=CompactionCheckpoint.from_dict(compaction) if isinstance(compaction, Mapping) else None,
            leading_messages=data.get("leading_messages"),
            extra={name: value for name, value in data.items() if name not in _KNOWN},
        )


_TEXT, _NUMBER, _DICT = (str, type(None)), (int, float), (dict, type(None))
_KINDS: dict[str, tuple[type, ...]] = {
    "session_id": _TEXT, "agent_name": _TEXT, "user_id": _TEXT, "parent_id": _TEXT,
    "created_at": (*_TEXT, *_NUMBER), "updated_at": (*_TEXT, *_NUMBER),
    "metadata": _DICT, "context": _DICT, "last_compaction": _DICT,
    "revision": (int, type(None)), "message_count": (int, type(None)), "archived_bytes": (int, type(None)),
    "leading_messages": (int, type(None)), "archived_messages": (list, type(None)),
}
_CHECKPOINT_KINDS = {"summary": str, "message_index": int, "role": str, "metadata": dict}


def wrong_fields(data: Mapping[str, Any]) -> list[str]:
    """Return the names of a session's fields whose value is of a kind they cannot have."""
    wrong = []
    for name, kinds in _KINDS.items():
        value = data.get(name)
        negative = type(value) is int and value < 0
        if not isinstance(value, kinds) or isinstance(value, bool) or negative:
            wrong.append(name)
    checkpoint = data.get("last_compaction")
    if isinstance(checkpoint, Mapping):
        kinds_fit = all(isinstance(checkpoint.get(name, kind()), kind) for name, kind in _CHECKPOINT_KINDS.items())
        if not kinds_fit or checkpoint.get("message_index", 0) < 0:
            wrong.append("last_compaction")
    return wrong


_KNOWN = frozenset(SessionData.__dataclass_fields__) - {"extra"} | {"message_count"}


@dataclass
class SessionInfo:
    """A session without its messages: `message_count` of the window, `size_bytes` of its file; the rest as there."""

    session_id: str
    message_count: int
    size_bytes: int
    created_at: str = ""
    updated_at: str = ""
    agent_name: str | None = None
    user_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    parent_id: str | None = None
    revision: int = 0
    extra: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    namespace: str = ""

    @classmethod
    def from_header(
        cls, header: Mapping[str, Any], message_count: int, size_bytes: int, namespace: str = ""
    ) -> SessionInfo:
        """Return the summary of a file's header; `message_count` is counted by the caller."""
        session = SessionData.from_dict({**header, "messages": []})
        return cls(
            session.session_id,
            message_count,
            size_bytes,
            session.created_at,
            session.updated_at,
            session.agent_name,
            session.user_id,
            session.metadata,
            session.parent_id,
            session.revision or message_count,
            session.extra,
            session.context,
            namespace,
        )

    def record(self) -> Record:
        """Return the fields a filter may name: those of this class, with `extra` beside them."""
        return {**self.extra, **vars(self)}

    def to_dict(self, *, most_messages: int | None = None) -> Record:
        """
        Return one row of `list_sessions`; it counts no more than `most_messages`, which is what a read shows.

        Source: the keys PraisonAI's rows have (`id`, `title`, `model`, `parent_session_id`, ...), and ours.
        """
        row: Record = {"id": self.session_id, **vars(self)}
        row["message_count"] = min(self.message_count, most_messages or self.message_count)
        del row["extra"]
        for name in ("title", "agent_id", "source", "agent_key", "parent_session_id", "model", "total_tokens", "cost"):
            row[name] = self.extra.get(name) or self.metadata.get(name)
        row["parent_id"] = self.parent_id or self.metadata.get("parent_id")
        return row


@dataclass
class SessionSummary:
    """One row of `recent`: when is ISO-8601 text."""

    session_id: str
    title: str
    when: str
    message_count: int = 0

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> SessionSummary:
        """Return the summary of a row of `list_sessions`."""
        title = row["title"] or row["agent_name"] or row["session_id"]
        return cls(row["session_id"], title, row["updated_at"] or row["created_at"], row["message_count"])


@dataclass
class SessionHit:
    """
    One session found by `search`.

    Shape: `messages` are rows `{index, role, content, timestamp, archived}` around the best match, whose place is
    `anchor_index`; indexes count archived messages first and are what `window` takes. `bookends` holds the first
    and last two turns under `opening` and `closing`.
    """

    session_id: str
    title: str
    when: str
    snippet: str
    score: float
    anchor_index: int
    messages: list[Record] = field(default_factory=list)
    bookends: dict[str, list[Record]] = field(default_factory=dict)
