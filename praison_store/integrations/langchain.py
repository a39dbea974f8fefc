"""Histories for LangChain: `RunnableWithMessageHistory(chain, PraisonChatMessageHistory)`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from ..aio.threads import in_thread
from ..errors import InvalidMessageError, shown
from ..model.formats import arguments_of, to_openai_chat
from ..model.formats.chat import call_of, function_of
from ..model.formats.parts import kind_of
from ..model.message import Record
from ..model.values import storable
from ..store import DefaultSessionStore
from .extras import missing_extra
from .transcript import Transcript

try:
    from langchain_core.chat_history import BaseChatMessageHistory
    from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage, messages_from_dict
except ModuleNotFoundError as error:
    raise missing_extra(error, "langchain", "langchain_core") from error

# Beside a message of ours: its kind, and what is in LangChain's and not in ours.
_FIELD = "langchain"
_ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool", "function": "function",
          "HumanMessageChunk": "user", "AIMessageChunk": "assistant", "SystemMessageChunk": "system",
          "ToolMessageChunk": "tool", "FunctionMessageChunk": "function"}
_KINDS = {"user": "human", "assistant": "ai", "system": "system", "tool": "tool"}
_CALL = {"type": "tool_call"}


class PraisonChatMessageHistory(BaseChatMessageHistory):
    """
    One conversation of LangChain (its `BaseChatMessageHistory`), usable where its own are.

    Promise: a message comes back equal, whatever its type; several processes may use one history at once, and none
    loses another's messages; messages added together stay together. A conversation written through another adapter, or
    by the store, is read as LangChain's messages.
    Args:
        session_id: where the conversation is kept. store: any store; None is the JSON files of this process.
    Raises:
        InvalidSessionIdError, InvalidArgumentError: An id or a store that cannot be meant.
    Errors: SessionStoreError where a call could not do its work; nothing was changed.
    Not promised: a message past the window where the store's retention is `truncate`, whose user asked for that.
    """

    def __init__(self, session_id: str, store: DefaultSessionStore | None = None) -> None:
        self._transcript = Transcript(session_id, store)
        self.session_id = session_id

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override] # the base's is an attribute that may be read
        """Every message the store keeps, oldest first. Cost: reads the whole session."""
        return to_langchain(self._transcript.records())

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """
        Add messages behind the others, all of them in one write or none.

        Raises:
            InvalidMessageError: One is no message, a RemoveMessage, or would not come back equal.
        """
        self._transcript.append(from_langchain(messages))

    def clear(self) -> None:
        """Take every message away; what else is known of the session stays."""
        self._transcript.change(lambda records: [] if records else None)

    async def aget_messages(self) -> list[BaseMessage]:
        """Await form of `messages`; see there."""
        return await in_thread(lambda: self.messages)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Await form of `add_messages`; see there. A cancellation waits until they are stored."""
        await in_thread(self.add_messages, messages)

    async def aclear(self) -> None:
        """Await form of `clear`; see there."""
        await in_thread(self.clear)


def from_langchain(messages: Sequence[BaseMessage]) -> list[Record]:
    """Return LangChain's messages as messages of ours, one for each. Raises InvalidMessageError."""
    if isinstance(messages, (str, bytes, Mapping, BaseMessage)) or not isinstance(messages, Iterable):
        raise InvalidMessageError(f"messages is a list of messages, not {shown(messages)}.", where="messages")
    return [_record_of(message, f"messages[{index}]") for index, message in enumerate(messages)]


def to_langchain(records: Iterable[Mapping[str, Any]]) -> list[BaseMessage]:
    """Return messages as LangChain's: those that were as they were, others as what they say and call."""
    found: list[BaseMessage] = []
    for ours, group in groupby(records, key=lambda record: isinstance(record.get(_FIELD), Mapping)):
        # Others are put into one form together, because a result must stand behind the message that calls.
        if ours:
            found += map(_message_of, group)
        else:
            found += map(_of_chat, to_openai_chat(group))
    return found


def _record_of(message: Any, where: str) -> Record:
    if not isinstance(message, BaseMessage) or isinstance(message, RemoveMessage):
        raise InvalidMessageError(f"{where} is a message to keep, not {shown(message)}: pass one.", where=where)
    rest: Record = storable(dict(message), where)
    kind, content = rest["type"], rest.pop("content")
    record: Record = {"role": _ROLES.get(kind) or rest.get("role"), "content": content}
    parts = content if isinstance(content, list) else ()
    # Calls that stand in the content already, as Anthropic writes them, are not told twice.
    if rest.get("tool_calls") and not any(kind_of(part) == "tool_use" for part in parts):
        calls = rest.pop("tool_calls")
        record["tool_calls"] = [call_of(call["id"], call["name"], call["args"]) for call in calls]
        more = [{name: call[name] for name in call if name not in ("id", "name", "args")} for call in calls]
        if any(one != _CALL for one in more):
            rest["tool_calls"] = more
    if rest.get("tool_call_id"):
        record["tool_call_id"] = rest.pop("tool_call_id")
    known = type(message).model_fields
    record[_FIELD] = {name: value for name, value in rest.items() if value not in (None, [], {}) or name not in known}
    try:
        same = _message_of(record) == message
    except ValueError:
        same = False  # a type or a field LangChain itself does not read back
    if not same:
        raise InvalidMessageError(
            f"{where} is a {type(message).__name__} that would not read back equal: pass one of LangChain's own types.",
            where=where,
        )
    return record


def _message_of(record: Mapping[str, Any]) -> BaseMessage:
    data = {**record[_FIELD], "content": record["content"]}
    if record.get("tool_calls"):
        more = data.pop("tool_calls", None) or [_CALL] * len(record["tool_calls"])
        data["tool_calls"] = [
            {"name": call["function"]["name"], "args": json.loads(call["function"]["arguments"]), "id": call["id"],
             **one} for call, one in zip(record["tool_calls"], more, strict=True)]
    if record.get("tool_call_id"):
        data["tool_call_id"] = record["tool_call_id"]
    return messages_from_dict([{"type": data["type"], "data": data}])[0]


def _of_chat(message: Mapping[str, Any]) -> BaseMessage:
    """Return a message of OpenAI's chat as LangChain's; a role it has no type for is a ChatMessage's."""
    role, content = message["role"], message.get("content")
    kind = _KINDS.get(role, "chat")
    data: Record = {"content": "" if content is None else content}
    if message.get("name"):
        data["name"] = message["name"]
    if kind == "ai":
        said = {name: message[name] for name in ("refusal", "audio", "function_call") if message.get(name)}
        calls = [
            {"name": function.get("name") or "", "args": arguments_of(function.get("arguments")), "id": call.get("id"),
             "type": "tool_call"}
            for call in message.get("tool_calls") or () for function in (function_of(call),)]
        return AIMessage(**data, additional_kwargs=said, tool_calls=calls)
    if kind == "tool":
        data["tool_call_id"] = message.get("tool_call_id") or ""
    elif kind == "chat":
        data["role"] = role
    return messages_from_dict([{"type": kind, "data": data}])[0]
