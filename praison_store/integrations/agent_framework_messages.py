"""Agent Framework's Message as a message of ours, there and back; what ours has no place for stands beside it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import InvalidMessageError, shown
from ..model.formats.chat import call_of, function_of, json_text
from ..model.formats.parts import kind_of, of_data_url, parts_of, picture_of, shortest
from ..model.message import Record
from ..model.values import storable
from .beside import Group, conversation_of, put_beside, told_in
from .extras import missing_extra

try:
    from agent_framework import Content, Message
except ModuleNotFoundError as error:
    raise missing_extra(error, "agent-framework", "agent_framework") from error

FIELD = "agent_framework"


def record_of(message: Message) -> Record:
    """
    Return a message as ours: texts, pictures, calls and results in OpenAI's chat form, the rest beside them.

    Raises:
        InvalidMessageError: It is none, or would not read back equal. What the framework itself keeps from every
            store (`raw_representation`, the words of an exception) is not stored.
    """
    if not isinstance(message, Message):
        raise InvalidMessageError(f"A message is a Message, not {shown(message)}: pass one.", where="message")
    whole = _whole(message)
    contents: list[Record] = whole["contents"]
    role = str(message.role)
    record: Record = {"role": role, "content": shortest(list(_parts(contents)))}
    results = [content for content in contents if content["type"] == "function_result"]
    calls = [call_of(content.get("call_id"), content.get("name"), content.get("arguments") or "")
             for content in contents if content["type"] == "function_call"]
    if calls:
        record["tool_calls"] = calls
    if len(results) == 1 == len(contents) and results[0].get("call_id"):
        record = {"role": "tool", "content": _result(results[0]), "tool_call_id": results[0]["call_id"]}
    elif results:
        # Several results are parts of a user's message, as Anthropic has them: each adapter knows that form.
        record["role"] = "user"
    if whole["role"] == record["role"]:
        del whole["role"]
    if whole["contents"] == _plain_contents(record):
        del whole["contents"]
    return put_beside(FIELD, whole, [record], {})[0]


def messages_of(records: Sequence[Record]) -> list[Message]:
    """Return records as messages: what the framework wrote as it was, what others wrote as it can show it."""
    return [message for group in conversation_of(records, FIELD) for message in _messages_of(group)]


def said_by(record: Record) -> tuple[Any, ...]:
    """Return what a message says, without what the framework noted about it: two that agree are one, repeated."""
    whole = next(told_in([record], FIELD)).exact or {}
    contents = whole.get("contents", _plain_contents(record))
    return whole.get("role", record["role"]), contents, record.get("tool_calls"), record.get("tool_call_id")


def _whole(message: Message) -> Record:
    """Return a message as the framework writes it, after a look at whether it reads back as it was."""
    found = message.to_dict()
    whole: Record = {name: value for name, value in found.items() if name not in ("type", "additional_properties")}
    if message.additional_properties:
        whole["additional_properties"] = found.get("additional_properties")
    whole = copy.deepcopy(storable(whole, "message"))
    again = Message.from_dict({"type": found["type"], **copy.deepcopy(whole)})
    same = [content.to_dict() for content in again.contents] == [content.to_dict() for content in message.contents]
    told = ("role", "author_name", "message_id", "additional_properties")
    wrong = [name for name in told if getattr(again, name) != getattr(message, name)] + ([] if same else ["contents"])
    if wrong:
        text = f"The message's {wrong[0]} would not read back equal, because Agent Framework writes less of it."
        raise InvalidMessageError(f"{text} Make it of texts, numbers, lists and dicts.", where=f"message.{wrong[0]}")
    # A content without properties is written with an empty dict for them, which says nothing.
    for content in whole["contents"]:
        if content.get("additional_properties") == {}:
            del content["additional_properties"]
    return whole


def _plain_contents(record: Record) -> list[Record]:
    """Return the contents of a message that is nothing but text."""
    content = record.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else []


def _parts(contents: list[Record]) -> Iterator[Record]:
    """Yield what others can read of contents, as parts of OpenAI's chat; results as Anthropic's."""
    for content in contents:
        kind, uri = content["type"], content.get("uri")
        if kind == "text":
            yield {"type": "text", "text": content.get("text") or ""}
        elif kind in ("data", "uri") and isinstance(uri, str):
            if str(content.get("media_type") or "").startswith("image/"):
                yield {"type": "image_url", "image_url": {"url": uri}}
            elif kind == "data":
                yield {"type": "file", "file": {"file_data": uri, "filename": content.get("name") or "document"}}
        elif kind == "function_result":
            yield {"type": "tool_result", "tool_use_id": content.get("call_id"), "content": _result(content)}


def _result(content: Record) -> str:
    result = content.get("result")
    return result if isinstance(result, str) else "" if result is None else json_text(result)


def _messages_of(group: Group) -> list[Message]:
    if group.exact is None:
        return [_of_chat(said) for said in group.said]
    record = group.records[0]
    found: Record = {"type": "message", "role": record["role"], "contents": _plain_contents(record), **group.exact}
    return [Message.from_dict(found)]


def _of_chat(said: Record) -> Message:
    content = said.get("content")
    if said["role"] == "tool":
        text = "\n".join(part["text"] for part in parts_of(content) if kind_of(part) == "text")
        result = Content.from_function_result(str(said.get("tool_call_id") or ""), result=text)
        return Message("tool", [result])
    contents = [one for part in parts_of(content) for one in _content_of(part)]
    for call in said.get("tool_calls") or ():
        function = function_of(call)
        contents.append(Content.from_function_call(
            str(call.get("id") or ""), str(function.get("name") or ""), arguments=function.get("arguments")))
    return Message(str(said["role"]), contents, author_name=said.get("name"))


def _content_of(part: Any) -> list[Content]:
    """Return a part as a content; a part of a kind the framework does not have is left out."""
    if kind_of(part) == "text" and isinstance(part.get("text"), str):
        return [Content.from_text(part["text"])]
    url = picture_of(part) if isinstance(part, Mapping) else None
    if url is None:
        return []
    inline = of_data_url(url)
    media = "image/*" if inline is None else inline[0] or "image/*"
    return [Content("uri" if inline is None else "data", uri=url, media_type=media)]
