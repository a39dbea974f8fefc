"""Parts of a content: text and pictures, as each service writes them. Pure; no I/O."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...errors import InvalidMessageError, shown
from ..message import Record

_TEXTS = ("text", "input_text", "output_text")
# What a model thought for itself: no other model takes it.
PRIVATE = ("thinking", "redacted_thinking")

_STANDARD = str.maketrans("-_", "+/")


def each(messages: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    """Yield messages. Raises InvalidMessageError where one is no dict."""
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping):
            where = f"messages[{index}]"
            raise InvalidMessageError(f"{where} is a dict, not {shown(message)}: pass one.", where=where)
        yield message


def kind_of(part: Any) -> Any:
    """Return the `type` of a part; None for what is no part."""
    return part.get("type") if isinstance(part, Mapping) else None


def part_of(value: Any) -> Any:
    """Return a part: as it is, or the text of what is none; a text part without a text has an empty one."""
    if isinstance(value, Mapping):
        lacks = kind_of(value) in _TEXTS and not isinstance(value.get("text"), str)
        return {**value, "text": ""} if lacks else value
    return {"type": "text", "text": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}


def parts_of(content: Any) -> list[Any]:
    """Return a content as a list of parts of their own; empty text is no part, because services refuse it."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    if not isinstance(content, Sequence):
        return []
    return [part_of(copy.deepcopy(part)) for part in content]


def calls_in(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the calls that stand as parts in a message's content, without those its `tool_calls` name already."""
    known = [call.get("id") for call in message.get("tool_calls") or () if isinstance(call, Mapping)]
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    return [part for part in parts if kind_of(part) == "tool_use" and part.get("id") not in known]


def shortest(parts: list[Any]) -> Any:
    """Return parts as the content of a message: a text where there is nothing else, None where there is nothing."""
    only_text = len(parts) == 1 and kind_of(parts[0]) == "text" and set(parts[0]) == {"type", "text"}
    return (parts[0]["text"] if only_text else parts) if parts else None


def sent_as(content: Any, form: Callable[[Mapping[str, Any]], Record]) -> Any:
    """Return a content with its parts in a service's form; a text stays one."""
    if not isinstance(content, list):
        return content
    return [form(part) if isinstance(part, Mapping) else part for part in parts_of(content)
            if kind_of(part) not in PRIVATE]


def chat_part(part: Mapping[str, Any]) -> Record:
    """Return a text or picture as OpenAI's chat takes it; another part as it is."""
    if kind_of(part) in _TEXTS and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    url = picture_of(part)
    if url is None or kind_of(part) == "image_url":
        return dict(part)
    detail = {"detail": part["detail"]} if part.get("detail") else {}
    return {"type": "image_url", "image_url": {"url": url, **detail}}


def responses_part(part: Mapping[str, Any]) -> Record:
    """Return a text or picture of a user's as OpenAI's Responses take it; another part as it is."""
    if kind_of(part) == "text" and isinstance(part.get("text"), str):
        return {"type": "input_text", "text": part["text"]}
    url = picture_of(part)
    if url is None or kind_of(part) == "input_image":
        return dict(part)
    image = part.get("image_url")
    detail = image.get("detail") if isinstance(image, Mapping) else None
    return {"type": "input_image", "image_url": url, "detail": detail or "auto"}


def anthropic_part(part: Mapping[str, Any]) -> Record:
    """Return a text or picture as Anthropic's messages take it; another part as it is."""
    if kind_of(part) in ("input_text", "output_text"):
        return {"type": "text", "text": part.get("text", "")}
    url = picture_of(part)
    if url is None or kind_of(part) == "image":
        return dict(part)
    head, comma, data = url.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        return {"type": "image", "source": {"type": "url", "url": url}}
    media = head.removeprefix("data:").removesuffix(";base64")
    return {"type": "image", "source": {"type": "base64", "media_type": media, "data": data}}


def data_url(media_type: Any, base64_text: str) -> str:
    """Return the URL that holds data itself, in the alphabet of URLs of data; the text may be of either."""
    return f"data:{media_type};base64,{base64_text.translate(_STANDARD)}"


def of_data_url(url: Any) -> tuple[str, str] | None:
    """Return the media type and the base64 text of a URL that holds data itself; None for another."""
    head, comma, data = url.partition(",") if isinstance(url, str) else ("", "", "")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return None
    return head.removeprefix("data:").removesuffix(";base64"), data


def picture_of(part: Mapping[str, Any]) -> str | None:
    """Return the URL of a picture, `data:` where it stands in the part itself; None where it is none, or a file."""
    if kind_of(part) in ("image_url", "input_image"):
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, Mapping) else image
        return url if isinstance(url, str) else None
    source = part.get("source") if kind_of(part) == "image" else None
    if not isinstance(source, Mapping):
        return None
    if source.get("type") == "base64":
        return f"data:{source.get('media_type')};base64,{source.get('data')}"
    url = source.get("url")
    return url if isinstance(url, str) else None
