"""Messages of Strands Agents (Bedrock's converse form) as messages of ours, and the same ones back. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from strands.types.session import SessionMessage

from ..errors import InvalidMessageError, shown
from ..model.formats import arguments_of, to_openai_chat
from ..model.formats.chat import call_of, function_of, json_text
from ..model.formats.parts import data_url, of_data_url, parts_of, picture_of
from ..model.message import Record
from ..model.session import said_at
from ..model.values import storable
from .beside import Told, put_beside, said_in_parts, told_in

FIELD = "strands"
_ENCODED = "__bytes_encoded__"


class Numbered(NamedTuple):
    """
    One message of an agent as it is listed.

    Shape: `told` is what it was stored as; None for a message of another origin, which is then `foreign`.
    """

    message_id: int
    told: Told | None
    foreign: Record | None = None


def records_of_message(message: SessionMessage) -> list[Record]:
    """
    Return a message as messages of ours: one for each tool's result, and one for all else.

    Shape: what an agent is shown is what stands there, so that a text that was redacted is not read by others; the
    original, and the message as it is, stand beside the first of them, under FIELD.
    Raises:
        InvalidMessageError: It is no message of Strands', or would not read back equal.
    """
    whole = storable(message.to_dict(), "message")
    original, redacted = whole["message"], whole["redact_message"]
    said = original if redacted is None else redacted
    if not isinstance(said, Mapping) or not isinstance(said.get("role"), str) or not _is_blocks(said.get("content")):
        text = f"message is a dict with role and a list of content blocks, not {shown(said)}: pass one."
        raise InvalidMessageError(text, where="message")
    tracked = original.get("tracking_id") if isinstance(original, Mapping) else None
    marks = {name: whole[name] for name in ("message_id", "created_at", "updated_at")}
    exact = {"message": original, **({} if redacted is None else {"redact_message": redacted})}
    return put_beside(FIELD, exact, _said_in(said), {**marks, "tracking_id": tracked} if tracked else marks)


def numbered(records: Sequence[Record]) -> list[Numbered]:
    """
    Return what records hold as messages in the order they were stored, each with an id greater than the last one's.

    Shape: a message of Strands' has the id it was stored with, unless messages of another origin stand before it.
    """
    found: list[Numbered] = []
    for told in told_in(records, FIELD):
        free = found[-1].message_id + 1 if found else 0
        if told.exact is None:
            found += _foreign(told.records, free)
        else:
            found.append(Numbered(max(told.marks["message_id"], free), told))
    return found


def count_of_foreign(records: Sequence[Record]) -> int:
    """Return how many messages `numbered` makes of messages of another origin that follow each other."""
    return len(list(_foreign(records, 0)))


def message_of(entry: Numbered) -> SessionMessage:
    """Return a message as it was stored, with the id it is listed under."""
    if entry.told is None:
        return SessionMessage.from_dict({**(entry.foreign or {}), "message_id": entry.message_id})
    exact, times = entry.told.exact or {}, {name: entry.told.marks[name] for name in ("created_at", "updated_at")}
    return SessionMessage.from_dict({**exact, **times, "message_id": entry.message_id})


def tracking_id_of(entry: Numbered) -> str | None:
    """Return the id Strands gave the message itself; None where there is none."""
    tracked = entry.told.marks.get("tracking_id") if entry.told else None
    return tracked if isinstance(tracked, str) else None


def _is_blocks(content: Any) -> bool:
    return isinstance(content, list) and all(isinstance(block, Mapping) for block in content)


def _said_in(message: Mapping[str, Any]) -> list[Record]:
    """Return what a message's blocks say; a kind ours have no place for says nothing."""
    parts: list[Record] = []
    calls, results = [], []
    for block in message["content"]:
        call, result = block.get("toolUse"), block.get("toolResult")
        if isinstance(call, Mapping) and "input" in call and _is_text(call, "toolUseId", "name"):
            calls.append(call_of(call["toolUseId"], call["name"], json_text(call["input"])))
        elif isinstance(result, Mapping) and _is_text(result, "toolUseId") and _is_blocks(result.get("content")):
            results.append((result["toolUseId"], [part for inner in result["content"] for part in _part_of(inner)]))
        else:
            parts += _part_of(block)
    return said_in_parts(message["role"], parts, calls, results)


def _part_of(block: Mapping[str, Any]) -> list[Record]:
    if _is_text(block, "text"):
        return [{"type": "text", "text": block["text"]}]
    if set(block) == {"json"}:
        return [{"type": "text", "text": json_text(block["json"])}]
    image = block.get("image")
    source = image.get("source") if isinstance(image, Mapping) else None
    data = source.get("bytes") if isinstance(source, Mapping) else None
    if isinstance(image, Mapping) and isinstance(data, Mapping) and set(data) == {_ENCODED, "data"} \
            and _is_text(data, "data") and _is_text(image, "format"):
        return [{"type": "image_url", "image_url": {"url": data_url(f"image/{image['format']}", data["data"])}}]
    return []


def _foreign(records: Sequence[Record], first_id: int) -> Iterator[Numbered]:
    """Yield messages of another origin; results that follow each other are one message, as Bedrock wants them."""
    at = said_at(records[0]) if records else ""
    messages: list[Record] = []
    for message in to_openai_chat(records):
        role, content = message["role"], message.get("content")
        if role in ("system", "developer"):
            continue  # an agent has a system prompt of its own
        if role == "tool":
            result = {"toolUseId": str(message.get("tool_call_id")), "status": "success", "content": _blocks(content)}
            if not (messages and "toolResult" in messages[-1]["content"][-1]):
                messages.append({"role": "user", "content": []})
            messages[-1]["content"].append({"toolResult": result})
            continue
        calls = [_use(call) for call in message.get("tool_calls") or ()]
        said = [*_blocks(content), *calls]
        if said:
            messages.append({"role": "assistant" if role == "assistant" else "user", "content": said})
    for message_id, message in enumerate(messages, first_id):
        yield Numbered(message_id, None, {"message": message, "created_at": at, "updated_at": at})


def _use(call: Mapping[str, Any]) -> Record:
    function = function_of(call)
    return {"toolUse": {"toolUseId": str(call.get("id")), "name": str(function.get("name")),
                        "input": arguments_of(function.get("arguments"))}}


def _blocks(content: Any) -> list[Record]:
    blocks: list[Record] = []
    for part in parts_of(content):
        url = of_data_url(picture_of(part))
        if url is not None and url[0].startswith("image/"):
            blocks.append({"image": {"format": url[0].removeprefix("image/"), **_source(url[1])}})
        else:
            blocks.append({"text": part["text"]} if _is_text(part, "text") else {"json": part})
    return blocks


def _source(base64_text: str) -> Record:
    return {"source": {"bytes": {_ENCODED: True, "data": base64_text}}}


def _is_text(values: Mapping[str, Any], *names: str) -> bool:
    return all(isinstance(values.get(name), str) and values[name] for name in names)
