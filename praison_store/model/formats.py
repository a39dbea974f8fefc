"""
Messages in the forms model services take, there and back. Pure; no I/O.

Ours is OpenAI's chat form: role, content, `tool_calls`, `tool_call_id`. Anthropic's keeps the system text apart, a call
as a `tool_use` part of the assistant's message, and results as `tool_result` parts of the user's.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .message import Record
from .recall import text_of

_CACHED: Record = {"type": "ephemeral"}


def to_openai_chat(messages: Iterable[Mapping[str, Any]]) -> list[Record]:
    """Return messages as OpenAI's chat completions take them: role, content and tool fields, and nothing else."""
    sent = []
    for message in messages:
        one: Record = {"role": message.get("role", "user"), "content": message.get("content", "")}
        one.update((name, message[name]) for name in ("tool_calls", "tool_call_id", "name") if message.get(name))
        sent.append(copy.deepcopy(one))
    return sent


def from_openai_chat(message: Mapping[str, Any]) -> Record:
    """Return what a chat completion answered as a message of ours; fields that say nothing are left out."""
    said: Record = {"role": message.get("role", "assistant"), "content": message.get("content")}
    said.update((name, value) for name, value in copy.deepcopy(dict(message)).items()
                if name not in said and value not in (None, []))
    return said


def to_anthropic(messages: Iterable[Mapping[str, Any]], *, caching: bool = False) -> tuple[list[Record], list[Record]]:
    """
    Return messages as Anthropic's take them: the parts of the system text, and the messages.

    Args:
        caching: mark the end of the system text, and of the last message but the newest, as what may be cached.
    Shape: messages of one role that follow each other become one, as the service wants them.
    """
    system: list[Record] = []
    sent: list[Record] = []
    for message in messages:
        role = message.get("role", "user")
        if role in ("system", "developer"):
            system += _parts(message.get("content"))
            continue
        parts = _anthropic_parts(message)
        wanted = "assistant" if role == "assistant" else "user"
        if sent and sent[-1]["role"] == wanted:
            sent[-1]["content"] += parts
        elif parts:
            sent.append({"role": wanted, "content": parts})
    if caching:
        for stable in (system[-1:], sent[-2]["content"][-1:] if len(sent) > 1 else []):
            for part in stable:
                part["cache_control"] = dict(_CACHED)
    return system, sent


def from_anthropic(messages: Iterable[Mapping[str, Any]], system: Any = None) -> list[Record]:
    """Return Anthropic's messages, and its system text, as messages of ours; what has no form of ours stays a part."""
    found: list[Record] = []
    if system:
        found.append({"role": "system", "content": system if isinstance(system, str) else text_of(system)})
    for message in messages:
        found += _of_anthropic(str(message.get("role", "user")), message.get("content"))
    return found


def _of_anthropic(role: str, content: Any) -> list[Record]:
    if not isinstance(content, list):
        return [{"role": role, "content": content}]
    results = [_result(part) for part in content if _kind(part) == "tool_result"]
    calls = [_call(part) for part in content if _kind(part) == "tool_use"]
    others = [_without_mark(part) for part in content if _kind(part) not in ("tool_result", "tool_use")]
    said: Record = {"role": role, "content": _joined(others)}
    if calls:
        said["tool_calls"] = calls
    return [*results, said] if others or calls else results


def _joined(parts: list[Any]) -> Any:
    if not parts:
        return None
    only_text = len(parts) == 1 and _kind(parts[0]) == "text" and set(parts[0]) == {"type", "text"}
    return parts[0]["text"] if only_text else parts


def _kind(part: Any) -> Any:
    return part.get("type") if isinstance(part, Mapping) else None


def _without_mark(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    return {name: copy.deepcopy(value) for name, value in part.items() if name != "cache_control"}


def _call(part: Mapping[str, Any]) -> Record:
    arguments = json.dumps(part.get("input", {}), ensure_ascii=False)
    return {"id": part.get("id"), "type": "function", "function": {"name": part.get("name"), "arguments": arguments}}


def _result(part: Mapping[str, Any]) -> Record:
    content = part.get("content")
    said: Record = {"role": "tool", "tool_call_id": part.get("tool_use_id"), "content": _joined(content)
                    if isinstance(content, list) else content}
    return {**said, "is_error": True} if part.get("is_error") else said


def _anthropic_parts(message: Mapping[str, Any]) -> list[Record]:
    content = message.get("content")
    if message.get("role") == "tool":
        result: Record = {"type": "tool_result", "tool_use_id": message.get("tool_call_id"),
                          "content": content if isinstance(content, str) else _parts(content)}
        return [{**result, "is_error": True} if message.get("is_error") else result]
    return [*_parts(content), *(_use(call) for call in message.get("tool_calls") or ())]


def _use(call: Mapping[str, Any]) -> Record:
    function = call.get("function") or call
    return {"type": "tool_use", "id": call.get("id"), "name": function.get("name"),
            "input": arguments_of(function.get("arguments"))}


def arguments_of(arguments: Any) -> Record:
    """Return the arguments of a tool's call, which models give as JSON text; what is none becomes `{"input": text}`."""
    if isinstance(arguments, Mapping):
        return dict(arguments)
    try:
        read = json.loads(arguments or "{}")
    except (TypeError, ValueError, RecursionError):
        return {"input": arguments}
    return read if isinstance(read, dict) else {"input": read}


def _parts(content: Any) -> list[Record]:
    """Return a content as a list of parts; empty text is no part, because the service refuses it."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    if not isinstance(content, Sequence):
        return []
    return [{"type": "text", "text": part} if isinstance(part, str) else copy.deepcopy(dict(part)) for part in content]
