"""One message of a session: its shape for people (`SessionMessage`) and for the file (a record, a plain dict)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidMessageError, shown
from .values import storable

Record = dict[str, Any]
Content = str | list[Any] | None

_FIELDS = ("role", "content", "timestamp", "metadata", "tool_calls", "tool_call_id", "message_id")


@dataclass
class SessionMessage:
    """
    One message: who said what and when.

    Shape: `timestamp` is in seconds since 1970 UTC; `content` is text, a list of parts, or None; `tool_calls` is a
    list of dicts; `extra` keeps every field this version does not know.
    Source: field names follow the PraisonAI session format. A message built by hand is stamped when it is built.
    """

    role: str
    content: Content
    timestamp: float = field(default_factory=time.time)
    metadata: dict[str, Any] = field(default_factory=dict)
    tool_calls: list[Any] | None = None
    tool_call_id: str | None = None
    message_id: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> Record:
        """Return the record as it stands in a file; absent tool fields and ids are left out."""
        data: Record = {
            "role": self.role,
            "content": self.content,
            "timestamp": self.timestamp,
            "metadata": self.metadata,
        }
        for name in ("tool_calls", "tool_call_id", "message_id"):
            value = getattr(self, name)
            if value is not None:
                data[name] = value
        data.update(self.extra)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SessionMessage:
        """Return the message of a record; a field that is missing gets its empty value, time 0.0 for unknown."""
        return cls(
            role=data.get("role", "user"),
            content=data.get("content", ""),
            timestamp=data.get("timestamp", 0.0),
            metadata=data.get("metadata") or {},
            tool_calls=data.get("tool_calls"),
            tool_call_id=data.get("tool_call_id"),
            message_id=data.get("message_id"),
            extra={name: value for name, value in data.items() if name not in _FIELDS},
        )

    def to_llm_message(self) -> Record:
        """Return what a model API takes: role, content, and tool fields where present."""
        return llm_message(self.to_dict())


def llm_message(record: Mapping[str, Any]) -> Record:
    """Return role and content of a record, and its tool fields where present."""
    message: Record = {"role": record.get("role", "user"), "content": record.get("content", "")}
    if record.get("tool_calls"):
        message["tool_calls"] = record["tool_calls"]
    if record.get("tool_call_id") is not None:
        message["tool_call_id"] = record["tool_call_id"]
    return message


def new_record(
    role: str,
    content: Content,
    now_s: float,
    metadata: dict[str, Any] | None = None,
    tool_calls: list[Any] | None = None,
    tool_call_id: str | None = None,
    message_id: str | None = None,
    *,
    foreign: bool = False,
) -> Record:
    """
    Return the record of a new message, checked so that it reads back equal (D6).

    Args:
        foreign: see `storable`; for messages that another store holds already.
    Raises:
        InvalidMessageError: A field has the wrong type or holds what JSON cannot. Nothing was written.
    """
    if type(role) is not str or not role.isascii() or not role:
        role = _text(role, "role", foreign)
    if content is not None and not (type(content) is str and content.isascii()):
        content = _content(content, foreign)
    record: Record = {"role": role, "content": content, "timestamp": now_s, "metadata": {}}
    if metadata:
        if not isinstance(metadata, dict):
            raise _wrong("metadata", metadata, "a dict")
        record["metadata"] = storable(metadata, "metadata", foreign=foreign)
    if tool_calls:
        if not isinstance(tool_calls, list):
            raise _wrong("tool_calls", tool_calls, "a list of dicts")
        record["tool_calls"] = storable(tool_calls, "tool_calls", foreign=foreign)
    if tool_call_id is not None:
        record["tool_call_id"] = _text(tool_call_id, "tool_call_id", foreign)
    if message_id is not None:
        record["message_id"] = _text(message_id, "message_id", foreign)
    return record


def records_of(
    messages: Sequence[SessionMessage | Mapping[str, Any]], now_s: float, *, new: bool = False,
    foreign: bool = False,
) -> list[Record]:
    """
    Return the checked records of messages given as dicts or SessionMessage; `now_s` stamps those without a time.

    Args:
        new: refuse a dict without content and tool calls, because its content is likely misspelt.
    Raises:
        InvalidMessageError: One of them is not a message. Says which; nothing was written.
    """
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Sequence):
        raise _wrong("messages", messages, "a list of dicts or SessionMessage")
    records = [_record_of(message, index, now_s, foreign) for index, message in enumerate(messages)]
    for index, message in enumerate(messages):
        if new and isinstance(message, Mapping) and "content" not in message and not message.get("tool_calls"):
            fields = ", ".join(map(shown, message))
            text = f"messages[{index}] has no content, only {fields}: add it; None says that there is none."
            raise InvalidMessageError(text, where=f"messages[{index}]")
    return records


def _record_of(
    message: SessionMessage | Mapping[str, Any], index: int, now_s: float, foreign: bool
) -> Record:
    data = message.to_dict() if isinstance(message, SessionMessage) else message
    if not isinstance(data, Mapping):
        raise _wrong(f"messages[{index}]", message, "a dict or SessionMessage")
    if "role" not in data:
        where = f"messages[{index}]"
        raise InvalidMessageError(f"{where} has no role: add one, such as 'user'.", where=where)
    fields = {name: data[name] for name in _FIELDS if name in data and name not in ("role", "content", "timestamp")}
    time_s = _timestamp(data.get("timestamp"), now_s)
    record = new_record(data["role"], data.get("content"), time_s, **fields, foreign=foreign)
    for name, value in data.items():
        if name not in _FIELDS:
            where = f"messages[{index}].{name}"
            record[_text(name, where, foreign)] = storable(value, where, foreign=foreign)
    return record


def _timestamp(value: Any, now_s: float) -> float:
    if value is None:
        return now_s
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong("timestamp", value, "seconds since 1970 as a number")
    number: float = storable(value, "timestamp")
    return number


def _content(value: Any, foreign: bool) -> Content:
    if not isinstance(value, (str, list)):
        raise _wrong("content", value, "text, a list of parts, or None")
    content: Content = storable(value, "content", foreign=foreign)
    return content


def _text(value: Any, name: str, foreign: bool) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(name, value, "text of at least one character")
    text: str = storable(value, name, foreign=foreign)
    return text


def _wrong(name: str, value: Any, wanted: str) -> InvalidMessageError:
    return InvalidMessageError(f"{name} is {wanted}, not {shown(value)} ({type(value).__name__}).", where=name)
