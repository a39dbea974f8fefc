"""
What is asked, called and kept in one turn: a generator of steps, driven with or without `await`. No I/O.

A step that fails is thrown back into the generator, which keeps what was said before it tells the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidArgumentError, InvalidMessageError, ModelCallError, shown
from ..model.formats import arguments_of, from_openai_chat
from ..model.message import Record, new_record, records_of
from ..model.recall import text_of
from .tools import Tool, shown_whole

MOST_ROUNDS = 20


@dataclass(frozen=True)
class Ask:
    """Ask the model; what it answers, text or an assistant message, is sent back."""

    messages: list[Record]
    tools: Sequence[Tool]


@dataclass(frozen=True)
class Use:
    """Call a tool; the text of its result is sent back."""

    tool: Tool
    arguments: Record


@dataclass(frozen=True)
class Keep:
    """Store messages behind those that are there, all in one write."""

    messages: list[Record]


Turn = Generator[Ask | Use | Keep, Any, str]


def taken(
    instructions: str | None, history: Sequence[Record], prompt: str, tools: Mapping[str, Tool],
    clock: Callable[[], float],
) -> Turn:
    """
    Take a turn; return the text of its answer.

    Raises:
        InvalidArgumentError, InvalidMessageError: The prompt is no text UTF-8 holds. Nothing was asked or kept.
        ModelCallError: The model failed, or called tools without end. What was said until then is kept.
    """
    if not isinstance(prompt, str) or not prompt:
        raise InvalidArgumentError(f"A prompt is text of at least one character, not {shown(prompt)}: pass some.")
    said = [new_record("user", prompt, clock())]
    before = [*([{"role": "system", "content": instructions}] if instructions else []), *history]
    try:
        for _ in range(MOST_ROUNDS):
            answer = _answer((yield Ask([*before, *said], tuple(tools.values()))), clock())
            if not answer.get("tool_calls"):
                break
            results = []
            for call in answer["tool_calls"]:
                results.append((yield from _result(call, tools, clock)))
            said += [answer, *results]
        else:
            raise ModelCallError(f"The model called tools {MOST_ROUNDS} times without an answer: see what they return.")
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        yield Keep(said)
        if isinstance(error, (ModelCallError, KeyboardInterrupt, SystemExit)):
            raise
        raise ModelCallError(
            f"The model did not answer ({type(error).__name__}: {error}). What was said is kept: mend the cause, then "
            f"ask again.") from error
    yield Keep([*said, answer])
    return text_of(answer.get("content"))


def _answer(reply: object, now_s: float) -> Record:
    """Return the message of what a model gave back. Raises InvalidMessageError, InvalidArgumentError."""
    if isinstance(reply, str):
        return new_record("assistant", reply, now_s)
    if not isinstance(reply, Mapping):
        raise InvalidArgumentError(f"llm returns text or a dict with role and content, not {shown(reply)}.")
    records_of([reply], now_s, new=True)  # refuses one that says nothing
    message = from_openai_chat(reply)
    if message["role"] != "assistant":
        raise InvalidMessageError(f"llm answers as assistant, not as {shown(message['role'])}.", where="role")
    return records_of([message], now_s, new=True)[0]


def _result(call: Any, tools: Mapping[str, Tool], clock: Callable[[], float]) -> Generator[Use, Any, Record]:
    """Return the message of a call's result; what a tool raises is told to the model, which may do without."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(call.get("id"), str):
        raise InvalidMessageError(f"A tool call has an id and a function, {shown(call)} has not.", where="tool_calls")
    tool = tools.get(str(function.get("name")))
    if tool is None:
        text = f"There is no tool {function.get('name')!r}: those there are: {', '.join(tools) or 'none'}."
    else:
        try:
            text = yield Use(tool, arguments_of(function.get("arguments")))
        except Exception as error:  # noqa: BLE001 - a tool is foreign code, and its failure is an answer
            text = f"{type(error).__name__}: {shown_whole(error)}"
    # Text from outside, a file's name for one, may hold what no UTF-8 does.
    text = text.encode("utf-8", "replace").decode()
    return new_record("tool", text, clock(), tool_call_id=call["id"])
