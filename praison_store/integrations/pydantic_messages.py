"""Messages of Pydantic AI, as its own JSON, in our chat form, and what others wrote in its. Pure; no I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ..model.formats import to_openai_chat
from ..model.formats.chat import call_of, function_of, json_text
from ..model.formats.parts import data_url, kind_of, of_data_url, parts_of, shortest
from ..model.message import Record
from ..model.recall import text_of
from ..model.session import said_at


def said_in(message: Mapping[str, Any]) -> list[Record]:
    """
    Return what a message says as messages of ours, one or more.

    Shape: a request is one message for each prompt and result; a response is the assistant's message. What ours has
    no place for (thinking, the service's own tools, settings) is left out.
    """
    parts = [part for part in message.get("parts") or () if isinstance(part, Mapping)]
    if message.get("kind") == "response":
        return [_answer(parts)]
    return [said for part in parts if (said := _prompt(part)) is not None] or [{"role": "user", "content": ""}]


def said_at_s(message: Mapping[str, Any]) -> float:
    """Return when a message was said, in seconds since 1970; 0.0 where it does not tell."""
    times = [part.get("timestamp") for part in message.get("parts") or () if isinstance(part, Mapping)]
    for when in (message.get("timestamp"), *times):
        if isinstance(when, str):
            return datetime.fromisoformat(when).timestamp()
    return 0.0


def messages_of(records: Sequence[Record], names: dict[str, str]) -> list[Record]:
    """
    Return messages that others wrote in Pydantic AI's JSON, one for each as OpenAI's chat has them.

    Args:
        names: the tools of the calls so far, by the call's id; those of these messages are added.
    """
    found = []
    for message in to_openai_chat(records):
        for call in message.get("tool_calls") or ():
            names[str(call.get("id"))] = str(function_of(call).get("name"))
        when = said_at(records[0])
        found.append(_response(message, when) if message["role"] == "assistant" else _request(message, when, names))
    return found


def note_calls(message: Mapping[str, Any], names: dict[str, str]) -> None:
    """Remember the tools a message calls, for results that others wrote."""
    for part in message.get("parts") or ():
        if kind_of_part(part) == "tool-call":
            names[str(part.get("tool_call_id"))] = str(part.get("tool_name"))


def chained_id(before: str | None, message: Mapping[str, Any]) -> str:
    """Return an id for a message that has none: the same as long as it and all before it are the same."""
    raw = json.dumps([before, message], sort_keys=True).encode()
    return f"chat-{hashlib.sha256(raw).hexdigest()[:32]}"


def kind_of_part(part: Any) -> Any:
    """Return the `part_kind` of a part; None for what is none."""
    return part.get("part_kind") if isinstance(part, Mapping) else None


def _answer(parts: Iterable[Mapping[str, Any]]) -> Record:
    texts: list[Record] = []
    calls = []
    for part in parts:
        if kind_of_part(part) == "text" and isinstance(part.get("content"), str):
            texts.append({"type": "text", "text": part["content"]})
        elif kind_of_part(part) == "tool-call":
            calls.append(call_of(part.get("tool_call_id"), part.get("tool_name"), part.get("args") or "{}"))
    content = shortest([text for text in texts if text["text"]])
    said: Record = {"role": "assistant", "content": content if content is not None or calls else ""}
    return {**said, "tool_calls": calls} if calls else said


def _prompt(part: Mapping[str, Any]) -> Record | None:
    kind, content, call_id = kind_of_part(part), part.get("content"), part.get("tool_call_id")
    if kind == "system-prompt":
        return {"role": "system", "content": _text(content)}
    if kind == "user-prompt":
        if not isinstance(content, list):
            return {"role": "user", "content": _text(content)}
        shown = [one for one in map(_chat_part, content) if one is not None]
        return {"role": "user", "content": shown or ""}
    if kind == "tool-return" or (kind == "retry-prompt" and part.get("tool_name") is not None):
        return {"role": "tool", "tool_call_id": call_id, "content": _text(content)} if call_id else None
    return {"role": "user", "content": _text(content)} if kind in ("retry-prompt", "retry-feedback") else None


def _text(content: Any) -> str:
    if content is None:
        return ""
    return content if isinstance(content, str) else json_text(content)


def _chat_part(part: Any) -> Record | None:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    kind = part.get("kind") if isinstance(part, Mapping) else None
    if kind == "text-content" and isinstance(part.get("content"), str):
        return {"type": "text", "text": part["content"]}
    if kind == "image-url":
        return {"type": "image_url", "image_url": {"url": part.get("url")}}
    media = str(part.get("media_type"))
    if kind == "binary" and media.startswith("image/") and isinstance(part.get("data"), str):
        return {"type": "image_url", "image_url": {"url": data_url(media, part["data"])}}
    return None


def _request(message: Record, when: str, names: Mapping[str, str]) -> Record:
    role, content = message["role"], message.get("content")
    part: Record
    if role == "tool":
        call_id = str(message.get("tool_call_id"))
        part = {"part_kind": "tool-return", "tool_name": names.get(call_id, "unknown"), "tool_call_id": call_id,
                "content": text_of(content)}
    elif role in ("system", "developer"):
        part = {"part_kind": "system-prompt", "content": text_of(content)}
    else:
        asked: Any = content if isinstance(content, str) else [_user_part(one) for one in parts_of(content)]
        part = {"part_kind": "user-prompt", "content": asked}
    return {"kind": "request", "parts": [{**part, "timestamp": when}]}


def _user_part(part: Any) -> Any:
    image = part.get("image_url") if kind_of(part) == "image_url" else None
    url = image.get("url") if isinstance(image, Mapping) else None
    if not isinstance(url, str):
        return part["text"] if kind_of(part) == "text" else json_text(part)
    inline = of_data_url(url)
    if inline is None:
        return {"kind": "image-url", "url": url}
    return {"kind": "binary", "media_type": inline[0], "data": inline[1]}


def _response(message: Record, when: str) -> Record:
    content = message.get("content") or message.get("refusal")
    texts = [content] if isinstance(content, str) else [text_of([part]) for part in parts_of(content)]
    parts: list[Record] = [{"part_kind": "text", "content": text} for text in texts if text]
    for call in message.get("tool_calls") or ():
        function = function_of(call)
        parts.append({"part_kind": "tool-call", "tool_name": str(function.get("name")),
                      "args": function.get("arguments"), "tool_call_id": str(call.get("id"))})
    return {"kind": "response", "parts": parts, "timestamp": when}
