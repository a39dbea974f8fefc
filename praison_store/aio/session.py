"""A live session: read once, changed freely in memory, and written as the changes that were made to it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..codec import values
from ..errors import InvalidArgumentError, InvalidMessageError, shown
from ..model.exchanges import newest_window
from ..model.message import Content, Record, SessionMessage, new_record, records_of
from ..model.session import SessionData
from ..model.session_id import SessionKey
from ..model.values import storable
from .changes import Changes, changed_names, snapshot, text_of

METRICS = "metrics"
_DICTS = ("context", "metadata", METRICS)


@dataclass(frozen=True)
class _Seen:
    """What the session was when it was read: a snapshot of each message, and JSON of each name of each dict."""

    revision: int
    messages: list[bytes | None]
    dicts: dict[str, dict[str, bytes]]
    user_id: str | None
    agent_name: str | None
    created_at: str


class Session:
    """
    One session in memory.

    Shape: `context`, `metadata` and `metrics` are plain dicts, `messages` a list of SessionMessage; change them as you
    like. `metrics["last_activity"]` is in seconds since 1970 and follows every message and every visit. `created_at`
    and `updated_at` are ISO-8601 text in UTC, `revision` is that of the last read or write.
    """

    def __init__(self, data: SessionData, namespace: str = "") -> None:
        self.session_id, self.namespace = data.session_id, namespace
        self.is_deleted = False
        self.refresh(data)

    def __repr__(self) -> str:
        return f"<Session {self.session_id!r}, {len(self.messages)} messages, revision {self.revision}>"

    @property
    def key(self) -> SessionKey:
        """What names the session: its id, and its user where that is part of the name."""
        return SessionKey(self.session_id, self.namespace)

    @property
    def last_activity_s(self) -> float:
        """When it was last used, in seconds since 1970; 0.0 where somebody put no number there."""
        value = self.metrics.get("last_activity")
        return float(value) if isinstance(value, (int, float)) else 0.0

    def add_message(
        self, role: str | Mapping[str, Any], content: Content = None, metadata: dict[str, Any] | None = None, *,
        tool_calls: list[Any] | None = None, tool_call_id: str | None = None, message_id: str | None = None,
    ) -> SessionMessage:
        """
        Add a message behind the others, as role and content or as one dict; it is stored when the session is saved.

        Raises:
            InvalidMessageError: It would not read back equal. Nothing was added.
        """
        now_s = self.touch()
        if isinstance(role, Mapping):
            record = records_of([role], now_s, new=True)[0]
        else:
            record = new_record(role, content, now_s, metadata, tool_calls, tool_call_id, message_id)
        # A name of its own, so that a save that is tried again knows what the first try stored.
        record.setdefault("message_id", uuid.uuid4().hex)
        message = SessionMessage.from_dict(values.loads(values.dumps(record)))  # the caller's dicts stay the caller's
        self.messages.append(message)
        return message

    def add_user_message(self, content: Content, metadata: dict[str, Any] | None = None) -> SessionMessage:
        """Add what the user said; see `add_message`."""
        return self.add_message("user", content, metadata)

    def add_assistant_message(self, content: Content, metadata: dict[str, Any] | None = None) -> SessionMessage:
        """Add what the assistant said; see `add_message`."""
        return self.add_message("assistant", content, metadata)

    def get_chat_history(self, max_messages: int | None = None) -> list[Record]:
        """Return the newest messages as a model API takes them, oldest first; None or 0 returns all."""
        messages = self.messages
        if max_messages:
            leading, start = newest_window([message.to_dict() for message in messages], max_messages)
            messages = messages[:leading] + messages[start:]
        return [message.to_llm_message() for message in messages]

    def clear_messages(self) -> None:
        """Remove every message; stored when the session is saved."""
        self.messages.clear()
        self.touch()

    def touch(self) -> float:
        """Note that the session is used now; return the time."""
        now_s = time.time()
        self.metrics["last_activity"] = now_s
        return now_s

    def to_dict(self) -> Record:
        """Return the session as plain data."""
        return {
            "session_id": self.session_id, "user_id": self.user_id, "agent_name": self.agent_name,
            "created_at": self.created_at, "updated_at": self.updated_at, "revision": self.revision,
            "context": self.context, "metadata": self.metadata, METRICS: self.metrics,
            "messages": [message.to_dict() for message in self.messages],
        }

    def refresh(self, data: SessionData) -> None:
        """Become what was read; what was changed since the last read or write is forgotten."""
        self.user_id, self.agent_name = data.user_id, data.agent_name
        self.created_at, self.updated_at, self.revision = data.created_at, data.updated_at, data.revision
        self.messages, self.context, self.metadata = data.messages, data.context, data.metadata
        stored = data.extra.get(METRICS)
        self.metrics: dict[str, Any] = dict(stored) if isinstance(stored, Mapping) else {}
        dicts = {name: _texts(getattr(self, name)) for name in _DICTS}
        seen = list(map(snapshot, self.messages))
        self._seen = _Seen(data.revision, seen, dicts, data.user_id, data.agent_name, data.created_at)
        self.touch()

    def changes(self) -> Changes:
        """
        Return what was changed since the last read or write, checked so that it reads back equal.

        Raises:
            InvalidMessageError, InvalidArgumentError: Something in it cannot be stored; says where it is.
        """
        seen = self._seen
        set_values: dict[str, dict[str, Any]] = {}
        dropped: dict[str, set[str]] = {}
        for name in _DICTS:
            ours = getattr(self, name)
            if not isinstance(ours, dict):
                raise InvalidArgumentError(f"session.{name} is a dict, not {shown(ours)}: put a dict there.")
            names, dropped[name] = changed_names(seen.dicts[name], _texts(ours))
            if name == METRICS:
                names -= {"last_activity"}  # updated_at tells it, and a visit alone writes nothing
                dropped[name] -= {"last_activity"}
            set_values[name] = storable({one: ours[one] for one in names}, name)
        appended, replaced = self._changed_messages()
        fields = {name: getattr(self, name) for name in ("user_id", "agent_name")
                  if getattr(self, name) != getattr(seen, name)}
        return Changes(
            revision=seen.revision, created_at=seen.created_at, seen=seen.dicts, seen_messages=seen.messages,
            values=set_values, dropped=dropped, appended=appended, replaced=replaced, fields=fields,
        )

    def saved(self, changes: Changes, revision: int) -> None:
        """Take changes for stored, at a revision; what was changed since they were taken is still to be saved."""
        seen = self._seen
        dicts = {name: {**{one: text for one, text in seen.dicts[name].items() if one not in changes.dropped[name]},
                        **_texts(changes.values[name])} for name in _DICTS}
        stored = [*(changes.replaced or []), *changes.appended]
        messages = seen.messages if changes.replaced is None else []
        messages = messages + [snapshot(SessionMessage.from_dict(record)) for record in stored]
        # When a session that was new is stored, only its engine knows when that was.
        fields = {"user_id": seen.user_id, "agent_name": seen.agent_name,
                  "created_at": seen.created_at if seen.revision else "", **changes.fields}
        # Where others wrote too, the old revision stays: the next save then looks at each message before it edits one.
        self.revision = revision if revision == seen.revision + 1 or not seen.revision else seen.revision
        self._seen = _Seen(self.revision, messages, dicts, **fields)

    def _changed_messages(self) -> tuple[list[Record], list[Record] | None]:
        """Return the records behind those that were seen, and the whole list where one of those is another now."""
        now_s, seen = time.time(), self._seen.messages
        for message in self.messages:
            if not isinstance(message, SessionMessage):
                raise InvalidMessageError(
                    f"session.messages holds {shown(message)}, which is no SessionMessage: use "
                    f"session.add_message(...).", where="messages",
                )
        if list(map(snapshot, self.messages[: len(seen)])) == seen:
            return records_of(self.messages[len(seen) :], now_s), None
        known = set(seen)
        # What stood there may be more than a new message may hold, and was accepted by who wrote it.
        return [], [message.to_dict() if snapshot(message) in known else records_of([message], now_s)[0]
                    for message in self.messages]


def _texts(dictionary: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: text_of(value) for name, value in dictionary.items()}
