"""A slow and plain account of what a window may be, written from the rules alone, to compare the real one with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]
Pair = tuple[int, int]


def calls_in(message: Message) -> list[Any]:
    """Return the ids of the calls a message makes, in either style."""
    ids = [call["id"] for call in message.get("tool_calls", [])]
    if isinstance(message["content"], list):
        ids += [part["id"] for part in message["content"] if part["type"] == "tool_use"]
    return ids


def answers_in(message: Message) -> list[Any]:
    """Return the ids a message answers, in either style; None stands for a tool message that names none."""
    ids: list[Any] = []
    if isinstance(message["content"], list):
        ids += [part["tool_use_id"] for part in message["content"] if part["type"] == "tool_result"]
    if "tool_call_id" in message:
        ids.append(message["tool_call_id"])
    if not ids and message["role"] == "tool":
        ids.append(None)
    return ids


def pairs(messages: Sequence[Message]) -> list[Pair]:
    """
    Return (call, result) indexes of everything that belongs together.

    A result belongs to the latest earlier call of its id. One whose id no call has, to the call in front of it with
    nothing but results between. Else to none.
    """
    found = []
    for result, message in enumerate(messages):
        for answered in answers_in(message):
            callers = [i for i in range(result) if answered is not None and answered in calls_in(messages[i])]
            if callers:
                found.append((callers[-1], result))
                continue
            before = result - 1
            while before >= 0 and not calls_in(messages[before]) and answers_in(messages[before]):
                before -= 1
            if before >= 0 and calls_in(messages[before]):
                found.append((before, result))
    return found


def may_cut(messages: Sequence[Message], place: int) -> bool:
    """Tell whether a cut in front of `place` leaves every call with its results."""
    return not any(call < place <= result for call, result in pairs(messages))


def systems_in_front(messages: Sequence[Message]) -> int:
    """Return how many messages of the role system stand in front."""
    return next((i for i, message in enumerate(messages) if message["role"] != "system"), len(messages))


def window(messages: Sequence[Message], limit: int, leading: int | None = None) -> tuple[int, int]:
    """Return (leading, start) of the longest window within `limit`, else of the newest exchange alone."""
    if len(messages) <= limit:
        return 0, 0
    leading = min(systems_in_front(messages) if leading is None else leading, limit - 1)
    places = [place for place in range(leading, len(messages)) if place == leading or may_cut(messages, place)]
    fitting = [place for place in places if leading + len(messages) - place <= limit]
    return leading, (fitting[0] if fitting else places[-1])


class Conversation:
    """
    What a store has to show after each write, kept as plain lists.

    Shape: `kept` is what the file holds, `archived` what left it, `everything` all that was ever said.
    """

    def __init__(self, limit: int, slack: int) -> None:
        self.limit, self.slack = limit, slack
        self.everything: list[Message] = []
        self.kept: list[Message] = []
        self.archived: list[Message] = []
        self.leading: int | None = None  # fixed when the first message leaves: what led the conversation then

    def say(self, messages: Sequence[Message]) -> None:
        """Add a turn and let go of what no longer fits."""
        self.everything += messages
        self.kept += messages
        if len(self.kept) > self.limit + self.slack:
            leading, start = window(self.kept, self.limit, self.leading)
            if start > leading:
                self.leading = leading if self.leading is None else self.leading
            self.archived += self.kept[leading:start]
            self.kept = self.kept[:leading] + self.kept[start:]

    def shown(self, newest: int | None = None) -> list[Message]:
        """Return what a read shows."""
        leading, start = window(self.kept, min(newest or self.limit, self.limit), self.leading)
        return self.kept[:leading] + self.kept[start:]

    def left(self) -> list[Message]:
        """Return what is no longer shown, oldest first."""
        leading, start = window(self.kept, self.limit, self.leading)
        return self.archived + self.kept[leading:start]
