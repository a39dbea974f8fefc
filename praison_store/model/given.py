"""Keep a message that may have any keys, and give it back as it was given. Pure; no I/O."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..errors import InvalidMessageError, shown
from .message import Record, records_of
from .values import exact, storable

# The record's field that says how the message was given, where its other fields do not.
GIVEN = "as_given"
_FILLED_IN = ("content", "timestamp", "metadata", "message_id")


def record_of(message: object, now_s: float, where: str = "message") -> Record:
    """
    Return the record of a message given as a dict; `as_given` returns an equal dict.

    Shape: a time becomes seconds since 1970: ISO-8601 text is understood, local time where it names no zone; for other
    text it is `now_s`. Every record has a `message_id`, by which a write that is repeated is stored once.
    Raises:
        InvalidMessageError: No dict, no role, no content, or a value that would not read back equal.
    """
    if not isinstance(message, Mapping):
        text = f"{where} is a dict with role and content, not {shown(message)}: pass one."
        raise InvalidMessageError(text, where=where)
    plain: Record = storable(dict(message), where)
    time_s = _seconds(plain.get("timestamp"), now_s)
    usual = {name: value for name, value in plain.items() if name not in (GIVEN, "timestamp", "")}
    for name, kind in (("metadata", dict), ("tool_calls", list), ("tool_call_id", str), ("message_id", str)):
        if name in usual and not (isinstance(usual[name], kind) and usual[name]):
            del usual[name]  # kept below as it was given, where readers of other doors do not stumble over it
    [record] = records_of([{**usual, "timestamp": time_s}], now_s, new=True)
    record.setdefault("message_id", secrets.token_hex(16))
    record = copy.deepcopy(record)
    others = {name: value for name, value in plain.items() if name not in record or not same(record[name], value)}
    absent = [name for name in _FILLED_IN if name in record and name not in plain]
    if others or absent:
        record[GIVEN] = {"absent": absent, "values": copy.deepcopy(others)}
    return record


def as_given(record: Mapping[str, Any]) -> Record:
    """Return a record's message as it was given; a copy. One another door stored is its record."""
    message = copy.deepcopy(dict(record))
    given = message.pop(GIVEN, None)
    if not isinstance(given, dict) or set(given) != {"absent", "values"}:
        return message if given is None else {**message, GIVEN: given}
    for name in given["absent"]:
        message.pop(name, None)
    return {**message, **given["values"]}


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are the same in JSON."""
    return exact(one) == exact(other)


def _seconds(value: Any, now_s: float) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except (ValueError, OverflowError, OSError):
            return now_s
    return now_s
