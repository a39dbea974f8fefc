"""Anthropic's messages: the system text apart, a call a part of the assistant's message, a result one of the user's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..message import Record
from .chat import arguments_of, call_of, calls_of, function_of
from .parts import PRIVATE, anthropic_part, each, kind_of, parts_of, shortest

_CACHED: Record = {"type": "ephemeral"}


def to_anthropic(messages: Iterable[Mapping[str, Any]], *, caching: bool = False) -> tuple[list[Record], list[Record]]:
    """
    Return messages as Anthropic's take them: the parts of the system text, and the messages.

    Args:
        caching: mark the end of the system text, and of the last message but the newest, as what may be cached.
    Shape: messages of one role that follow each other become one, and a text its one part, which to the service are
    the same.
    """
    system: list[Record] = []
    sent: list[Record] = []
    for message in messages:
        role = message.get("role", "user")
        if role in ("system", "developer"):
            system += _parts_of(message.get("content"))
            continue
        parts = _anthropic_parts(message)
        wanted = "assistant" if role == "assistant" else "user"
        if sent and sent[-1]["role"] == wanted:
            sent[-1]["content"] = _joined(sent[-1]["content"], parts)
        elif parts:
            sent.append({"role": wanted, "content": parts})
    if caching:
        _mark(system, sent)
    return system, sent


def from_anthropic(messages: Iterable[Mapping[str, Any]], system: Any = None) -> list[Record]:
    """
    Return Anthropic's messages, and its system text, as messages of ours; `to_anthropic` gives them back.

    Shape: each result is a tool's message, and calls are the assistant's `tool_calls`; what stands in another order, or
    holds more than ours has a place for, stays a part of the content.
    Raises:
        InvalidMessageError: One of them is no dict.
    """
    found: list[Record] = [{"role": "system", "content": system}] if system else []
    for message in each(messages):
        found += _of_anthropic(str(message.get("role", "user")), message.get("content"))
    return found


def _joined(first: list[Record], second: list[Record]) -> list[Record]:
    """Return the parts of two messages as one's; the service wants results in front of what else a user said."""
    front = next((index for index, part in enumerate(first) if kind_of(part) != "tool_result"), len(first))
    results = [part for part in second if kind_of(part) == "tool_result"]
    return [*first[:front], *results, *first[front:], *(part for part in second if kind_of(part) != "tool_result")]


def _mark(system: list[Record], sent: list[Record]) -> None:
    """Mark what stays the same until the next turn, and nothing else: the service takes four marks at most."""
    stable = sent[-2]["content"] if len(sent) > 1 else []
    for parts in (system, *(message["content"] for message in sent)):
        for part in parts:
            part.pop("cache_control", None)
    for parts in (system, [part for part in stable if kind_of(part) not in PRIVATE]):
        if parts:
            parts[-1]["cache_control"] = dict(_CACHED)


def _of_anthropic(role: str, content: Any) -> list[Record]:
    if not isinstance(content, list) or not _is_in_order(role, content):
        return [{"role": role, "content": content}]
    results = [_result(part) for part in content if kind_of(part) == "tool_result"]
    calls = [call_of(part["id"], part["name"], part["input"]) for part in content if kind_of(part) == "tool_use"]
    others = [part for part in content if kind_of(part) not in ("tool_result", "tool_use")]
    said: Record = {"role": role, "content": shortest(others)}
    if calls:
        said["tool_calls"] = calls
    return [*results, said] if others or calls else results


def _is_in_order(role: str, parts: list[Any]) -> bool:
    """Tell whether results come first and calls last, and all of them hold nothing but what ours do."""
    places = [{"tool_result": 0, "tool_use": 2}.get(kind_of(part), 1) for part in parts]
    fits = all((role == "user" and {"type", "tool_use_id"} <= set(part) <= _RESULT) if place == 0
               else (role == "assistant" and set(part) == _CALL and isinstance(part["input"], Mapping)) if place == 2
               else isinstance(part, Mapping) for part, place in zip(parts, places, strict=True))
    return fits and places == sorted(places)


_RESULT, _CALL = {"type", "tool_use_id", "content", "is_error"}, {"type", "id", "name", "input"}


def _result(part: Mapping[str, Any]) -> Record:
    said: Record = {"role": "tool", "tool_call_id": part["tool_use_id"], "content": part.get("content")}
    return {**said, "is_error": part["is_error"]} if "is_error" in part else said


def _anthropic_parts(message: Mapping[str, Any]) -> list[Record]:
    content = message.get("content")
    if message.get("role") != "tool":
        parts = _parts_of(content)
        there = [part.get("id") for part in parts if kind_of(part) == "tool_use"]
        return [*parts, *(_use(call) for call in calls_of(message.get("tool_calls")) if call.get("id") not in there)]
    result: Record = {"type": "tool_result", "tool_use_id": message.get("tool_call_id")}
    if content is not None:
        result["content"] = content if isinstance(content, str) else _parts_of(content)
    return [{**result, "is_error": message["is_error"]} if "is_error" in message else result]


def _parts_of(content: Any) -> list[Record]:
    return [anthropic_part(part) if isinstance(part, Mapping) else part for part in parts_of(content)]


def _use(call: Mapping[str, Any]) -> Record:
    function = function_of(call)
    return {"type": "tool_use", "id": call.get("id"), "name": function.get("name"),
            "input": arguments_of(function.get("arguments"))}
