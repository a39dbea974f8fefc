"""OpenAI's Responses: each item is one message of ours, and comes back as it was. Pure; no I/O."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from ..message import Record
from ..recall import text_of
from .chat import call_of, calls_of, function_of
from .parts import calls_in, each, kind_of, responses_part, sent_as

# Beside a message of ours, where an item was: what is in the item and not in the message; or the item, where a message
# of ours only hints at it.
REST, ITEM = "openai_rest", "openai_item"


def from_responses(items: Iterable[Mapping[str, Any]]) -> list[Record]:
    """
    Return items as messages of ours, one for each.

    Shape: a call is an assistant's message with one of `tool_calls`, its result a tool's; an item that is neither said
    nor called (reasoning, a search) is an assistant's message without words.
    Raises:
        InvalidMessageError: One of them is no dict.
    """
    return [_of_item(item) for item in each(items)]


def to_responses(messages: Iterable[Mapping[str, Any]]) -> list[Record]:
    """Return messages as items: those that were items as they were, others as what they say and call."""
    return [item for message in messages for item in _items_of(message)]


def _of_item(item: Mapping[str, Any]) -> Record:
    whole = dict(item)
    kind, call_id = whole.get("type", "message"), whole.get("call_id")
    said, output = whole.get("content"), whole.get("output")
    if kind == "message" and _is_text(whole.get("role")) and isinstance(said, (str, list)):
        return {"role": whole["role"], "content": said, REST: _without(whole, "role", "content")}
    if not _is_text(call_id):
        return {"role": "assistant", "content": "", ITEM: whole}
    if kind == "function_call" and all(type(whole.get(name)) is str for name in ("name", "arguments")):
        calls = [call_of(call_id, whole["name"], whole["arguments"])]
        return {"role": "assistant", "content": None, "tool_calls": calls,
                REST: _without(whole, "call_id", "name", "arguments")}
    if kind == "function_call_output" and isinstance(output, (str, list)):
        return {"role": "tool", "content": output, "tool_call_id": call_id, REST: _without(whole, "call_id", "output")}
    if str(kind).endswith("_output"):
        return {"role": "tool", "content": output if type(output) is str else "", "tool_call_id": call_id, ITEM: whole}
    asked = whole.get("input") or whole.get("action") or {}
    return {"role": "assistant", "content": None, "tool_calls": [call_of(call_id, whole.get("name") or kind, asked)],
            ITEM: whole}


def _items_of(message: Mapping[str, Any]) -> list[Record]:
    if isinstance(item := message.get(ITEM), Mapping):
        return [copy.deepcopy(dict(item))]
    if not isinstance(rest := message.get(REST), Mapping):
        return _foreign_items(message)
    rest, content = copy.deepcopy(dict(rest)), copy.deepcopy(message.get("content"))
    if message.get("tool_calls"):
        return [{**rest, **_called(message["tool_calls"][0])}]
    if message.get("tool_call_id"):
        return [{**rest, "call_id": message["tool_call_id"], "output": content}]
    return [{**rest, "role": message["role"], "content": content}]


def _foreign_items(message: Mapping[str, Any]) -> list[Record]:
    role, content = message.get("role", "user"), message.get("content")
    results = [part for part in content if kind_of(part) == "tool_result"] if isinstance(content, list) else []
    others = [part for part in content if kind_of(part) not in ("tool_result", "tool_use")] \
        if isinstance(content, list) else content
    if role == "tool":
        return [_output(message.get("tool_call_id"), content)]
    # What an assistant said is sent as text: its parts are not those of a user.
    said = text_of(others) if role == "assistant" else sent_as(others, responses_part)
    asked = [*calls_of(message.get("tool_calls")),
             *(call_of(part.get("id"), part.get("name"), part.get("input", {})) for part in calls_in(message))]
    return [
        *(_output(part.get("tool_use_id"), part.get("content")) for part in results),
        *([{"role": role, "content": said}] if said else []),
        *({"type": "function_call", **_called(call)} for call in asked),
    ]


def _output(call_id: Any, content: Any) -> Record:
    only_text = not isinstance(content, list) or all(kind_of(part) == "text" for part in content)
    output = text_of(content) if only_text else sent_as(content, responses_part)
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def _called(call: Mapping[str, Any]) -> Record:
    function = function_of(call)
    return {"call_id": call.get("id"), "name": function.get("name"), "arguments": function.get("arguments")}


def _without(item: Record, *names: str) -> Record:
    return {name: value for name, value in item.items() if name not in names}


def _is_text(value: Any) -> bool:
    return type(value) is str and bool(value)
