"""Find where a conversation may be cut: never between a tool call and its results (D9). Pure; no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

Messages = Sequence[Mapping[str, Any]]
T = TypeVar("T")


def call_ids(message: Mapping[str, Any]) -> list[Any]:
    """Return the ids of the tool calls a message makes, as OpenAI (`tool_calls`) or Anthropic parts write them."""
    calls = message.get("tool_calls")
    ids = [call.get("id") for call in calls if isinstance(call, Mapping)] if isinstance(calls, list) else []
    return ids + _part_fields(message, "tool_use", "id")


def result_ids(message: Mapping[str, Any]) -> list[Any]:
    """Return the ids of the calls a message answers; [None] for a tool message that does not say which."""
    ids = _part_fields(message, "tool_result", "tool_use_id")
    if message.get("tool_call_id") is not None:
        ids.append(message["tool_call_id"])
    return ids or ([None] if message.get("role") == "tool" else [])


def _part_fields(message: Mapping[str, Any], kind: str, name: str) -> list[Any]:
    content = message.get("content")
    if not isinstance(content, list):
        return []
    return [part.get(name) for part in content if isinstance(part, Mapping) and part.get("type") == kind]


def exchange_marks(messages: Messages) -> bytearray:
    """
    Return one byte for each position 0..len: 1 where a cut in front of it would part a call from a result.

    A result belongs to the latest call of its id; one whose id is unknown, to the call it directly follows.
    A result without any call is a message like another. What a model thought belongs to what it did next.
    """
    reach: dict[int, int] = {}
    caller: dict[Any, int] = {}
    open_call: int | None = None
    for index, message in enumerate(messages):
        calls, results = call_ids(message), result_ids(message)
        for answered in results:
            source = caller.get(_hashable(answered), open_call) if answered is not None else open_call
            if source is not None:
                reach[source] = index
        if calls or message.get("tool_calls"):
            caller.update((_hashable(call), index) for call in calls if call is not None)
            open_call = index
        elif not results:
            open_call = None
    marks = bytearray(len(messages) + 1)
    covered = 0
    for source, last in sorted(reach.items()):
        first = max(source + 1, covered + 1)
        if last >= first:
            marks[first : last + 1] = b"\1" * (last + 1 - first)
            covered = last
    for index, message in enumerate(messages[:-1]):
        item = message.get("openai_item")
        if isinstance(item, Mapping) and item.get("type") == "reasoning":
            marks[index + 1] = 1
    return marks


def _hashable(call_id: Any) -> Any:
    return call_id if isinstance(call_id, (str, int)) else repr(call_id)


def leading_system(messages: Messages) -> int:
    """Return how many messages at the start have the role `system`."""
    for index, message in enumerate(messages):
        if message.get("role") != "system":
            return index
    return len(messages)


def in_order(messages: Sequence[T], archived: Sequence[T], leading: int) -> list[T]:
    """Return all messages as they were said: what was archived stood behind the leading system messages."""
    return [*messages[:leading], *archived, *messages[leading:]]


def newest_window(messages: Messages, limit: int, leading: int | None = None) -> tuple[int, int]:
    """
    Choose the newest messages to keep.

    Args:
        limit: 1 or more messages.
        leading: how many system messages led the conversation, where earlier cuts may have brought others behind
            them; None counts them.
    Returns:
        (leading, start): keep `messages[:leading] + messages[start:]`; (0, 0) keeps all. At most `limit` messages,
        except that the newest exchange is kept whole even where it alone is longer.
    Cost: one pass over the messages.
    """
    count = len(messages)
    if count <= limit:
        return 0, 0
    leading = min(leading_system(messages) if leading is None else leading, limit - 1)
    marks = exchange_marks(messages)
    wanted = count - (limit - leading)
    for start in range(wanted, count):
        if not marks[start]:
            return leading, start
    for start in range(wanted - 1, leading, -1):
        if not marks[start]:
            return leading, start
    return leading, leading


def exchange_start(messages: Messages, index: int) -> int:
    """Return `index`, or the call's place where `index` stands between a call and its results."""
    marks = exchange_marks(messages)
    index = min(index, len(messages))
    while index > 0 and marks[index]:
        index -= 1
    return index


def whole_exchanges(messages: Messages, start: int, stop: int, anchor: int) -> tuple[int, int]:
    """Shrink `start..stop` so that neither edge cuts an exchange; the exchange at `anchor` is kept whole."""
    marks = exchange_marks(messages)
    first, last = anchor, anchor + 1
    while first > 0 and marks[first]:
        first -= 1
    while last < len(messages) and marks[last]:
        last += 1
    start, stop = min(start, first), max(stop, last)
    while start < first and marks[start]:
        start += 1
    while stop > last and marks[stop]:
        stop -= 1
    return start, stop
