"""Conversations with tool exchanges of every kind: nested, interleaved, answered late, never, twice, or by nobody."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

IDS = ("a", "b", "c")
ids = st.sampled_from(IDS)


def said(role: str, text: str = "") -> dict[str, Any]:
    """Return a message without tools."""
    return {"role": role, "content": text}


def calling(*call_ids: str) -> dict[str, Any]:
    """Return an assistant's message that calls tools, as OpenAI writes it."""
    return {"role": "assistant", "content": None, "tool_calls": [{"id": name, "type": "function"} for name in call_ids]}


def answering(call_id: str | None) -> dict[str, Any]:
    """Return a tool's result, as OpenAI writes it; without an id for None."""
    return {"role": "tool", "content": "r", **({} if call_id is None else {"tool_call_id": call_id})}


def using(*call_ids: str) -> dict[str, Any]:
    """Return an assistant's message that calls tools, as Anthropic writes it."""
    return {"role": "assistant", "content": [{"type": "tool_use", "id": name, "name": "t"} for name in call_ids]}


def resulting(*call_ids: str) -> dict[str, Any]:
    """Return a user's message with results, as Anthropic writes it."""
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": name} for name in call_ids]}


def numbered(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages, each with a field of its own, so that equal ones can be told apart."""
    return [{**message, "metadata": {"n": number}} for number, message in enumerate(messages)]


_call_ids = st.lists(ids, min_size=1, max_size=3, unique=True)
plain = st.sampled_from(["user", "assistant"]).map(said)
talk = st.one_of(plain, st.sampled_from(["a tool", "tool_calls", '{"type":"tool_use"}']).map(lambda t: said("user", t)))
tools = st.one_of(
    _call_ids.map(lambda names: calling(*names)),
    ids.map(answering),
    st.just(answering(None)),
    st.just(answering("nobody's")),
    _call_ids.map(lambda names: using(*names)),
    _call_ids.map(lambda names: resulting(*names)),
)
free = st.lists(st.one_of(plain, talk, tools, st.just(said("system"))), min_size=1, max_size=24).map(numbered)


@st.composite
def orderly(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw a conversation as agents hold it: leading system messages, turns, calls answered before the next turn."""
    messages = [said("system") for _ in range(draw(st.integers(0, 3)))]
    for _ in range(draw(st.integers(1, 6))):
        messages += [said("user")] * draw(st.integers(0, 2))
        if draw(st.booleans()):
            call_ids = draw(_call_ids)
            if draw(st.booleans()):
                messages += [calling(*call_ids), *map(answering, draw(st.permutations(call_ids)))]
            else:
                messages += [using(*call_ids), resulting(*call_ids)]
        if draw(st.integers(0, 4)) == 0:
            messages.append(said("system", "a reminder"))
        messages.append(said("assistant"))
    return numbered(messages)
