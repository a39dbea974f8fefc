"""OpenAI's chat completions, whose form is ours; what came in another form is put into this one. Pure; no I/O."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..message import Record
from ..recall import text_of
from .parts import calls_in, chat_part, kind_of, part_of, parts_of, sent_as, shortest

# A message the service may take beside role and content.
_FIELDS = ("tool_calls", "tool_call_id", "name", "refusal", "audio", "function_call")


def to_openai_chat(messages: Iterable[Mapping[str, Any]]) -> list[Record]:
    """
    Return messages as OpenAI's chat completions take them: role, content and tool fields, and nothing else.

    Shape: the calls of messages that follow each other become one message's, because their results must come next;
    an assistant's message that says and calls nothing here (a thought, another service's own item) is left out; one
    part of text is the text. What is no part or call, however it got there, is sent as text, or not at all, so that
    one odd message keeps nobody from a conversation.
    """
    sent: list[Record] = []
    for message in messages:
        for one in _parted(message):
            last = sent[-1] if sent else {}
            if one["role"] == "assistant" == last.get("role") and last.get("tool_calls"):
                _join(last, one)
            else:
                sent.append(one)
    return sent


def from_openai_chat(message: Mapping[str, Any]) -> Record:
    """Return what a chat completion answered as a message of ours; fields that say nothing are left out."""
    said: Record = {"role": message.get("role", "assistant"), "content": message.get("content")}
    said.update((name, value) for name, value in copy.deepcopy(dict(message)).items()
                if name not in said and value not in (None, []))
    return said


def arguments_of(arguments: Any) -> Record:
    """Return the arguments of a tool's call, which models give as JSON text; what is none becomes `{"input": text}`."""
    if isinstance(arguments, Mapping):
        return dict(arguments)
    try:
        read = json.loads(arguments or "{}")
    except (TypeError, ValueError, RecursionError):
        return {"input": arguments}
    return read if isinstance(read, dict) else {"input": read}


def json_text(value: Any) -> str:
    """Return a value as JSON text; what points at such a text needs all of them to be the same byte for byte."""
    return json.dumps(value, ensure_ascii=False)


def call_of(call_id: Any, name: Any, arguments: Any) -> Record:
    """Return a tool's call; arguments that are no text yet are written as JSON."""
    text = arguments if isinstance(arguments, str) else json_text(arguments)
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}}


def _parted(message: Mapping[str, Any]) -> list[Record]:
    """Return the messages of one whose parts may hold calls and results, as Anthropic writes them."""
    content = message.get("content", "")
    one: Record = {"role": message.get("role", "user"), "content": content}
    one.update((name, copy.deepcopy(message[name])) for name in _FIELDS if message.get(name))
    if "tool_calls" in one:
        one["tool_calls"] = calls_of(one["tool_calls"])
    parts = content if isinstance(content, list) else []
    results = [{"role": "tool", "tool_call_id": part.get("tool_use_id"), "content": text_or(part.get("content"))}
               for part in parts if kind_of(part) == "tool_result"]
    calls = [call_of(part.get("id"), part.get("name"), part.get("input", {})) for part in calls_in(message)]
    if calls:
        one["tool_calls"] = [*one.get("tool_calls", ()), *calls]
    if isinstance(content, list):
        others = [part_of(part) for part in content if kind_of(part) not in ("tool_result", "tool_use")]
        one["content"] = shortest(sent_as(others, chat_part)) or (None if one.get("tool_calls") else "")
    if one["content"] or one.get("tool_calls") or not (results or one["role"] == "assistant"):
        return [*results, one]
    # An answer without words is none, unless the service itself says why: a refusal, or what was said aloud.
    return [*results, one] if any(one.get(name) for name in ("refusal", "audio", "function_call")) else results


def calls_of(calls: Any) -> list[Record]:
    """Return calls with an id, a name and arguments as text; what has no function is left as it is, if it is a call."""
    found = []
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            name, call_id, arguments = function.get("name"), call.get("id"), function.get("arguments")
            whole = call_of("" if call_id is None else str(call_id), str(name or "unnamed"),
                            "{}" if arguments is None else arguments)
            found.append({**call, **whole, "type": call.get("type", "function"), "function": {
                **function, **whole["function"]}})
        elif isinstance(call, Mapping) and isinstance(call.get("custom"), Mapping):
            found.append(dict(call))
    return found


def function_of(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the name and arguments of a call; a custom tool's input is an argument of that name."""
    custom = call.get("custom")
    if isinstance(custom, Mapping):
        return {"name": custom.get("name"), "arguments": json.dumps({"input": custom.get("input")}, ensure_ascii=False)}
    function = call.get("function")
    return function if isinstance(function, Mapping) else call


def text_or(content: Any) -> Any:
    """Return a result's content as text where it is nothing but text."""
    if not isinstance(content, list):
        return content
    parts = [part_of(part) for part in content]
    only_texts = all(kind_of(part) == "text" for part in parts)
    return text_of(parts) if only_texts else sent_as(parts, chat_part)


def _join(first: Record, second: Record) -> None:
    if second.get("tool_calls"):
        first["tool_calls"] = [*first["tool_calls"], *second["tool_calls"]]
    if not first["content"]:
        first["content"] = second["content"]
    elif second["content"]:
        first["content"] = [*parts_of(first["content"]), *parts_of(second["content"])]
