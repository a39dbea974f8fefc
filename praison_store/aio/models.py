"""Sessions and messages as rows: what the database engines of this package create, find and delete."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..model.message import Content, Record, SessionMessage
from ..model.session import SessionData, SessionInfo
from ..model.session_id import SessionKey


@dataclass
class SessionModel:
    """
    One session without its messages.

    Shape: times are ISO-8601 text in UTC; `revision` is that of the last read, 0 for a new one. `namespace` is the
    user's id where it is part of the session's name, as it is for every session made with a `user_id` here; None takes
    `user_id`.
    """

    session_id: str
    user_id: str | None = None
    context: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    agent_name: str | None = None
    created_at: str = ""
    updated_at: str = ""
    revision: int = 0
    message_count: int = 0
    parent_id: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    namespace: str | None = None

    @property
    def key(self) -> SessionKey:
        """What names the session."""
        return SessionKey(self.session_id, (self.user_id or "") if self.namespace is None else self.namespace)

    @classmethod
    def of(cls, found: SessionInfo | SessionData, namespace: str, message_count: int) -> SessionModel:
        """Return the row of a stored session."""
        names = ("session_id", "user_id", "context", "metadata", "agent_name", "created_at", "updated_at", "revision",
                 "parent_id")
        fields = {name: getattr(found, name) for name in names}
        # A file counts its archive beside the fields we do not know; a row written back must not bring that along.
        fields["extra"] = {name: value for name, value in found.extra.items() if name != "archived_bytes"}
        return cls(**fields, message_count=message_count, namespace=namespace)

    def write_to(self, session: SessionData) -> None:
        """Put the row's fields into a session; the messages and the time of the change stay the session's."""
        for name in ("user_id", "context", "metadata", "agent_name", "parent_id", "extra"):
            setattr(session, name, getattr(self, name))
        session.created_at = self.created_at or session.created_at


@dataclass
class MessageModel:
    """
    One message of a session.

    Shape: `timestamp` is in seconds since 1970, None for now; `message_id` names it, and a new one gets one; `seq`
    counts from 0 in the session as it is read, and is not stored; `extra` keeps every other field.
    """

    session_id: str
    role: str
    content: Content = None
    user_id: str | None = None
    timestamp: float | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    tool_calls: list[Any] | None = None
    tool_call_id: str | None = None
    message_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    seq: int | None = None
    namespace: str | None = None

    @property
    def key(self) -> SessionKey:
        """What names its session."""
        return SessionKey(self.session_id, (self.user_id or "") if self.namespace is None else self.namespace)

    def to_record(self) -> Record:
        """Return the message as a session holds it; it gets an id where it has none."""
        self.message_id = self.message_id or uuid.uuid4().hex
        marks = {"agent_id": self.agent_id, "run_id": self.run_id}
        return {
            **SessionMessage(self.role, self.content, self.timestamp or 0.0, self.metadata, self.tool_calls,
                             self.tool_call_id, self.message_id, self.extra).to_dict(),
            "timestamp": self.timestamp, **{name: value for name, value in marks.items() if value is not None},
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> MessageModel:
        """Return the row of what `rows_of` gave."""
        known = {name: value for name, value in record.items() if name in cls.__dataclass_fields__ and name != "extra"}
        extra = {name: value for name, value in record.items() if name not in cls.__dataclass_fields__}
        return cls(**{"role": "user", **known}, extra=extra)


def rows_of(session: SessionData, namespace: str) -> list[Record]:
    """Return the records of a session's messages, each with what a filter may name of its session."""
    place = {"session_id": session.session_id, "user_id": session.user_id, "namespace": namespace}
    return [{**message.to_dict(), **place, "seq": seq} for seq, message in enumerate(session.messages)]
