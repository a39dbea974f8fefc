"""LlamaIndex's ChatMessage as a message of ours, there and back; what ours has no place for stands beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from io import IOBase
from pathlib import Path
from typing import Any

from ..errors import InvalidMessageError, shown
from ..model.formats import arguments_of, to_openai_chat
from ..model.formats.chat import call_of, function_of
from ..model.formats.parts import data_url, kind_of, of_data_url, parts_of, picture_of, shortest
from ..model.message import Record
from ..model.values import NESTING_LEVELS, storable
from .beside import Group, conversation_of, put_beside
from .extras import missing_extra

try:
    from llama_index.core.base.llms.types import (
        AudioBlock,
        CacheControl,
        CachePoint,
        ChatMessage,
        CitableBlock,
        CitationBlock,
        ContentBlock,
        DocumentBlock,
        ImageBlock,
        MessageRole,
        TextBlock,
        ThinkingBlock,
        ToolCallBlock,
        VideoBlock,
    )
    from llama_index.core.storage.chat_store.base_db import MessageStatus
    from pydantic import AnyUrl, BaseModel
except ModuleNotFoundError as error:
    raise missing_extra(error, "llama-index", "llama_index") from error

# Where a record keeps what LlamaIndex knows of it, and whether LlamaIndex's memory put it away.
FIELD, STATUS = "llama_index", "llama_index_status"
_IS = "$is"
_BLOCKS: dict[str, type[BaseModel]] = {kind.__name__: kind for kind in (
    AudioBlock, CacheControl, CachePoint, CitableBlock, CitationBlock, DocumentBlock, ImageBlock, TextBlock,
    ThinkingBlock, ToolCallBlock, VideoBlock,
)}
_ROLES = {"chatbot": "assistant", "model": "assistant", "function": "tool"}
_KNOWN_ROLES = {role.value for role in MessageRole}


def record_of(message: ChatMessage) -> Record:
    """
    Return a message as ours: texts, pictures and calls in OpenAI's chat form, the rest in `llama_index`.

    Raises:
        InvalidMessageError: It is none, or holds what JSON cannot. A model of another package in `additional_kwargs`
            is stored as the dict it writes itself as, and bytes as bytes.
    """
    if not isinstance(message, ChatMessage) or set(type(message).model_fields) != set(ChatMessage.model_fields):
        raise InvalidMessageError(f"A message is a ChatMessage, not {shown(message)}: pass one.", where="message")
    role = MessageRole(message.role).value
    whole: Record = {"role": role, "blocks": _plain(message.blocks), "kwargs": _plain(message.additional_kwargs)}
    storable(whole, "message")
    record: Record = {"role": _ROLES.get(role, role), "content": shortest(list(_parts(message.blocks)))}
    calls = [call_of(block.tool_call_id, block.tool_name, block.tool_kwargs)
             for block in message.blocks if isinstance(block, ToolCallBlock)]
    call_id = whole["kwargs"].get("tool_call_id")
    if calls:
        record["tool_calls"] = calls
    elif _are_calls(whole["kwargs"].get("tool_calls")):
        record["tool_calls"] = whole["kwargs"]["tool_calls"]
    if record["role"] == "tool" and isinstance(call_id, str) and call_id:
        record["tool_call_id"] = call_id
    said = {name: value for name, value in whole.items() if value and not (name == "role" and value == record["role"])}
    if isinstance(record["content"], str) and [TextBlock] == [type(block) for block in message.blocks]:
        said.pop("blocks")
    return put_beside(FIELD, said, [record], {})[0]


def messages_of(group: Group) -> list[ChatMessage]:
    """Return the messages of a group: what LlamaIndex wrote as it was, what others wrote as it can show it."""
    said = group.said
    if group.exact is not None:
        message = _restored(group.exact, group.records[0])
        if message is not None:
            return [message]
        said = to_openai_chat(group.records)
    return [_of_chat(one) for one in said]


def _groups(records: list[Record]) -> list[Group]:
    return conversation_of(records, FIELD, STATUS)


def said_in(records: list[Record], status: MessageStatus | None = None) -> list[ChatMessage]:
    """Return the messages of records; those of a status, where one is given."""
    return [message for group in _groups(records) if status is None or status_of(group.records[0]) == status
            for message in messages_of(group)]


def status_of(record: Record) -> MessageStatus:
    """Return whether a message was put away."""
    return MessageStatus.ARCHIVED if record.get(STATUS) == MessageStatus.ARCHIVED.value else MessageStatus.ACTIVE


def marked(records: list[Record], status: MessageStatus) -> list[Record]:
    """Return records with a status."""
    if status == MessageStatus.ACTIVE:
        return records
    return [{**record, STATUS: MessageStatus(status).value} for record in records]


def _apart(group: Group) -> list[list[Record]]:
    """Return the records of each message of a group; where messages share one, as LlamaIndex would write them."""
    messages = messages_of(group)
    if len(messages) <= 1:
        return [group.records] * len(messages)
    stamp = {name: group.records[0][name] for name in ("timestamp", STATUS) if name in group.records[0]}
    return [[{**record_of(message), **stamp}] for message in messages]


def _changed(group: Group, chosen: Collection[int], become: Callable[[list[Record]], list[Record]]) -> list[Record]:
    """Return a group's records, those of the chosen messages as they become; others are not touched."""
    if not chosen:
        return group.records
    apart = _apart(group)
    if len(chosen) == len(apart):
        return become(group.records)
    return [record for place, records in enumerate(apart)
            for record in (become(records) if place in chosen else records)]


def edited(
    records: list[Record], choose: Callable[[list[MessageStatus]], Collection[int]],
    become: Callable[[list[Record]], list[Record]],
) -> tuple[list[Record] | None, list[ChatMessage]]:
    """Return records with the messages chosen by their place as they become, None where none is; and those messages."""
    groups = _groups(records)
    said = [messages_of(group) for group in groups]
    held = zip(groups, said, strict=True)
    chosen = set(choose([status_of(group.records[0]) for group, ones in held for _ in ones]))
    taken: list[ChatMessage] = []
    changed: list[Record] = []
    first = 0
    for group, ones in zip(groups, said, strict=True):
        here = {place for place in range(len(ones)) if first + place in chosen}
        taken.extend(ones[place] for place in sorted(here))
        changed += _changed(group, here, become)
        first += len(ones)
    return changed if chosen else None, taken


def inserted(records: list[Record], place: int, record: Record) -> list[Record]:
    """Return records with one more in front of the message at a place."""
    groups = _groups(records)
    counts = [len(messages_of(group)) for group in groups]
    place = max(0, place + sum(counts)) if place < 0 else place
    inserted: list[Record] = []
    for index, (group, count) in enumerate(zip(groups, counts, strict=True)):
        if 0 <= place < count:
            apart = _apart(group) if place else [group.records]
            before = [one for part in apart[:place] for one in part]
            after = [one for part in apart[place:] for one in part]
            return [*inserted, *before, record, *after, *(one for rest in groups[index + 1 :] for one in rest.records)]
        inserted += group.records
        place -= count
    return [*inserted, record]


def _are_calls(calls: Any) -> bool:
    return bool(calls) and isinstance(calls, list) and all(
        isinstance(call, Mapping) and isinstance(call.get("function"), Mapping) for call in calls)


def _plain(value: Any, level: int = 0) -> Any:
    """Return a value as JSON holds it; what is neither that nor known stays, and is refused where it is stored."""
    if level > NESTING_LEVELS:
        return value
    if isinstance(value, list):
        return [_plain(item, level + 1) for item in value]
    if isinstance(value, dict):
        plain = {name: _plain(item, level + 1) for name, item in value.items()}
        return {_IS: "dict", "value": plain} if _IS in value else plain
    if isinstance(value, bytes):
        return {_IS: "bytes", "value": value.decode("latin-1")}  # each byte is one of its letters
    if isinstance(value, IOBase):
        return _plain(_base64_of(value))
    if isinstance(value, Path):
        return {_IS: "path", "value": str(value)}
    if isinstance(value, AnyUrl):
        return {_IS: "url", "value": str(value)}
    if not isinstance(value, BaseModel):
        return value
    if _BLOCKS.get(type(value).__name__) is not type(value):
        return _plain(value.model_dump(), level + 1)
    fields = ((name, getattr(value, name)) for name in type(value).model_fields)
    said = {name: _plain(item, level + 1) for name, item in fields if item is not None}
    return {_IS: type(value).__name__, "value": said}


def _base64_of(stream: Any) -> bytes:
    """Return what a block's open file holds, as the block itself would keep its bytes."""
    import base64  # few messages hold an open file

    stream.seek(0)
    return base64.b64encode(stream.read())


def _value_of(plain: Any) -> Any:
    """Return the value `_plain` was given. Raises KeyError for a kind of block this version does not have."""
    if isinstance(plain, list):
        return [_value_of(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    kind, value = plain.get(_IS), plain.get("value")
    if kind is None or kind == "dict":
        return {name: _value_of(item) for name, item in (value if kind and value else plain).items()}
    if kind in ("bytes", "path", "url"):
        text = str(value)
        return text.encode("latin-1") if kind == "bytes" else Path(text) if kind == "path" else AnyUrl(text)
    # Without its checks, which would look for a file that is gone since, and encode what is encoded.
    return _BLOCKS[kind].model_construct(**{name: _value_of(item) for name, item in (value or {}).items()})


def _restored(whole: Record, record: Record) -> ChatMessage | None:
    blocks = whole.get("blocks")
    if blocks is None:
        blocks = [] if record.get("content") is None else [
            {_IS: "TextBlock", "value": {"text": record["content"]}}]
    try:
        return ChatMessage.model_construct(
            role=MessageRole(whole.get("role", record["role"])), blocks=_value_of(blocks),
            additional_kwargs=_value_of(whole.get("kwargs", {})))
    except (KeyError, ValueError):
        return None  # written by a LlamaIndex that has more kinds of blocks or roles: what it says is still shown


def _parts(blocks: Sequence[Any]) -> Iterator[Record]:
    """Yield what others can read of blocks, as parts of OpenAI's chat."""
    for block in blocks:
        if isinstance(block, TextBlock):
            yield {"type": "text", "text": block.text}
        elif isinstance(block, ImageBlock) and (block.url or isinstance(block.image, bytes)):
            url = data_url(block.image_mimetype or "image/png", block.image.decode("latin-1")) \
                if isinstance(block.image, bytes) else str(block.url)
            yield {"type": "image_url", "image_url": {"url": url, **({"detail": block.detail} if block.detail else {})}}
        elif isinstance(block, AudioBlock) and isinstance(block.audio, bytes):
            sound = {"data": block.audio.decode("latin-1"), "format": block.format or "wav"}
            yield {"type": "input_audio", "input_audio": sound}
        elif isinstance(block, DocumentBlock) and isinstance(block.data, bytes):
            data = data_url(block.document_mimetype or "application/pdf", block.data.decode("latin-1"))
            yield {"type": "file", "file": {"file_data": data, "filename": block.title or "document"}}
        elif isinstance(block, (CitableBlock, CitationBlock)):
            yield from _parts(block.nested_blocks)


def _of_chat(said: Record) -> ChatMessage:
    role = said["role"] if said["role"] in _KNOWN_ROLES else "user"
    blocks: list[ContentBlock] = [block for part in parts_of(said.get("content")) for block in _block_of(part)]
    for call in said.get("tool_calls") or ():
        function = function_of(call)
        blocks.append(ToolCallBlock(tool_call_id=call.get("id"), tool_name=function.get("name") or "",
                                    tool_kwargs=arguments_of(function.get("arguments"))))
    kwargs = {name: said[name] for name in ("tool_call_id", "name") if said.get(name)}
    return ChatMessage(role=MessageRole(role), blocks=blocks, additional_kwargs=kwargs)


def _block_of(part: Any) -> list[ContentBlock]:
    """Return a part as a block; a part of a kind that LlamaIndex does not have is left out."""
    if kind_of(part) == "text" and isinstance(part.get("text"), str):
        return [TextBlock(text=part["text"])]
    url = picture_of(part) if isinstance(part, Mapping) else None
    if url is None:
        return []
    image = part.get("image_url")
    detail = image.get("detail") if isinstance(image, Mapping) else None
    inline = of_data_url(url)
    if inline is not None:
        return [ImageBlock.model_construct(image=inline[1].encode("latin-1", "replace"),
                                           image_mimetype=inline[0] or None, detail=detail)]
    return [ImageBlock.model_construct(url=url, detail=detail)]
