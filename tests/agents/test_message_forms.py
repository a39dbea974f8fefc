"""Messages in other services' forms: what goes in comes out, and what one stored another reads."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from praison_store.model.exchanges import newest_window
from praison_store.model.formats import (
    from_anthropic,
    from_openai_chat,
    from_responses,
    to_anthropic,
    to_openai_chat,
    to_responses,
)
from praison_store.model.formats.parts import parts_of
from praison_store.model.message import records_of

Message = dict[str, Any]
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
ITEMS: list[Message] = [
    {"role": "user", "content": "hi"},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"}]},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "why"}], "encrypted_content": "x"},
    {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": '{"city": "Oslo"}', "status": "completed"},
    {"type": "function_call", "call_id": "c2", "name": "weather", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "clear"},
    {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "rain"}]},
    {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [{"type": "output_text", "text": "Clear.", "annotations": [], "logprobs": []}]},
    {"type": "computer_call", "call_id": "c3", "id": "cu_1", "action": {"type": "click", "x": 1, "y": 2}, "pending_safety_checks": [], "status": "completed"},
    {"type": "computer_call_output", "call_id": "c3", "output": {"type": "computer_screenshot", "image_url": "u"}},
    {"type": "custom_tool_call", "call_id": "c4", "name": "sh", "input": "ls"},
    {"type": "custom_tool_call_output", "call_id": "c4", "output": "a b"},
    {"type": "web_search_call", "id": "ws_1", "status": "completed"},
    {"type": "item_reference", "id": "x"},
    {"type": "compaction", "encrypted_content": "zzz"},
]
JSON = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6)
NAMES = st.sampled_from(["type", "role", "content", "call_id", "name", "arguments", "output", "input", "id", "status"])
KINDS = st.sampled_from(["message", "function_call", "function_call_output", "reasoning", "custom_tool_call_output", "user", ""])


@given(st.dictionaries(NAMES | st.text(max_size=4), JSON | KINDS, max_size=6))
def test_any_item_of_the_responses_comes_back_as_it_was(item: Message) -> None:
    """Goal: whatever its type. Method: dicts of any JSON under the names items use; stored in between."""
    before = copy.deepcopy(item)
    assert [before] == to_responses(records_of(from_responses([item]), 1.0))
    assert before == item


def test_every_kind_of_item_comes_back_as_it_was() -> None:
    """Goal: the kinds there are. Method: one of each, through a record as it is stored."""
    assert ITEMS == to_responses(records_of(from_responses(ITEMS), 1.0))


def parts(role: str) -> st.SearchStrategy[Message]:
    """Return parts of an Anthropic message, as the service takes them."""
    texts = st.builds(lambda text: {"type": "text", "text": text}, st.text(min_size=1, max_size=5))
    uses = st.builds(lambda name, value: {"type": "tool_use", "id": f"t{name}", "name": name, "input": value}, st.sampled_from("abc"), st.dictionaries(st.text(max_size=3), JSON, max_size=2))
    results = st.builds(lambda name, content, more: {"type": "tool_result", "tool_use_id": f"t{name}", **content, **more}, st.sampled_from("abc"),
                        st.sampled_from([{}, {"content": "x"}, {"content": ""}, {"content": [{"type": "text", "text": "y"}, PICTURE]}]),
                        st.sampled_from([{}, {"is_error": True}, {"is_error": False}, {"cache_control": {"type": "ephemeral"}}]))
    others = st.sampled_from([PICTURE, {"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "q", "cache_control": {"type": "ephemeral"}}])
    return texts | others | (uses if role == "assistant" else results)


TALKS = st.lists(st.sampled_from(["user", "assistant"]).flatmap(
    lambda role: st.builds(lambda content: {"role": role, "content": content}, st.text(min_size=1, max_size=5) | st.lists(parts(role), min_size=1, max_size=5))), max_size=5)


def joined(messages: list[Message]) -> list[Message]:
    """Return messages as the service understands them: texts as parts, neighbours of one role as one, their results in front."""
    whole: list[Message] = []
    for message in messages:
        if whole and whole[-1]["role"] == message["role"]:
            before, parts = whole[-1]["content"], parts_of(message["content"])
            front = next((index for index, part in enumerate(before) if part["type"] != "tool_result"), len(before))
            results = [part for part in parts if part["type"] == "tool_result"]
            before[front:] = [*results, *before[front:], *(part for part in parts if part["type"] != "tool_result")]
        else:
            whole.append({"role": message["role"], "content": parts_of(message["content"])})
    return whole


@given(TALKS, st.none() | st.just("Be brief.") | st.just([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]))
def test_any_anthropic_conversation_comes_back_as_it_was(messages: list[Message], system: Any) -> None:
    """Goal: nothing lost, nothing moved. Method: parts in any order; stored in between."""
    before = copy.deepcopy(messages)
    assert (parts_of(system), joined(messages)) == to_anthropic(records_of(from_anthropic(messages, system), 1.0))
    assert before == messages


CHAT: list[Message] = [
    {"role": "developer", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}}], "name": "al"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
    {"role": "tool", "content": "clear", "tool_call_id": "c1"}, {"role": "assistant", "content": "no", "refusal": "I will not"},
]


def test_chat_comes_back_as_it_was() -> None:
    """Goal: ours is this form. Method: each kind of message, through a record as it is stored."""
    assert CHAT == to_openai_chat(records_of([from_openai_chat(message) for message in CHAT], 1.0))


def valid_chat(messages: list[Message]) -> None:
    """Fail where OpenAI would: each call is answered by the messages that follow it, and each result has its call."""
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
        else:
            assert set() == waiting
        waiting |= {call["id"] for call in message.get("tool_calls") or ()}
        assert message.get("content") is not None or message.get("tool_calls")
        assert {"input_text", "output_text", "input_image", "image", "tool_use", "tool_result", "thinking"}.isdisjoint(
            part["type"] for part in (message["content"] if isinstance(message["content"], list) else ()))
    assert set() == waiting


def valid_anthropic(messages: list[Message]) -> None:
    """Fail where Anthropic would: roles take turns, and the results of a message's calls stand first in the next."""
    asked: set[str] = set()
    for index, message in enumerate(messages):
        assert ("user", "assistant")[index % 2] == message["role"]
        results = [part["tool_use_id"] for part in message["content"] if part["type"] == "tool_result"]
        assert asked == set(results)
        assert ["tool_result"] * len(results) == [part["type"] for part in message["content"][: len(results)]]
        asked = {part["id"] for part in message["content"] if part["type"] == "tool_use"}


ANTHROPIC: list[Message] = [
    {"role": "user", "content": [{"type": "text", "text": "look"}, PICTURE]},
    {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "I ask."}, {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}, {"type": "tool_use", "id": "t2", "name": "g", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "one"}, {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "two"}]}, {"type": "text", "text": "go on"}]},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t3", "name": "f", "input": {}}, {"type": "text", "text": "then"}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t3", "content": "three", "cache_control": {"type": "ephemeral"}}]},
    {"role": "assistant", "content": "done"},
]
STORED = {"chat": [from_openai_chat(message) for message in CHAT], "responses": from_responses(ITEMS), "anthropic": from_anthropic(ANTHROPIC, "Be brief.")}


@pytest.mark.parametrize("origin", list(STORED))
def test_what_one_service_stored_another_takes(origin: str) -> None:
    """Goal: one conversation, many services. Method: each origin to each form, against the services' own rules."""
    records = records_of(STORED[origin], 1.0)
    valid_chat(to_openai_chat(records))
    valid_anthropic(to_anthropic(records)[1])
    calls = [item["call_id"] for item in to_responses(records) if str(item.get("type")).endswith("_call") and "call_id" in item]
    outputs = [item["call_id"] for item in to_responses(records) if str(item.get("type")).endswith("_output")]
    assert sorted(calls) == sorted(outputs) != []


def test_the_words_and_pictures_are_the_same_in_each_form() -> None:
    """Goal: conversion drops nothing said. Method: count texts and pictures in each."""
    records = records_of(STORED["anthropic"], 1.0)
    for sent in (to_openai_chat(records), to_responses(records), to_anthropic(records)[1]):
        text = repr(sent)
        assert [True] * 8 == [word in text for word in ("look", "I ask.", "one", "two", "go on", "three", "then", "done")]
        assert "AAAA" in text


@pytest.mark.parametrize("origin", list(STORED))
def test_D9_a_window_of_a_stored_conversation_is_valid_in_each_form(origin: str) -> None:
    """Goal: tool exchanges stay whole. Method: every length of window, checked as the services would."""
    records = records_of(STORED[origin], 1.0)
    for limit in range(1, len(records) + 1):
        leading, start = newest_window(records, limit)
        valid_chat(to_openai_chat(records[:leading] + records[start:]))


def test_a_call_that_stands_twice_is_sent_once() -> None:
    """Goal: what some frameworks write as a part and as a call is one call. Method: one message to each form."""
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    talk = [{"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}], "tool_calls": [call]},
            {"role": "tool", "content": "x", "tool_call_id": "t1"}]
    assert [call] == to_openai_chat(talk)[0]["tool_calls"]
    assert ["function_call", "function_call_output"] == [item["type"] for item in to_responses(talk)]
    assert ["tool_use"] == [part["type"] for part in to_anthropic(talk)[1][0]["content"]]


@pytest.mark.parametrize("silent", [
    {"role": "assistant", "content": ""}, {"role": "assistant", "content": None}, {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}]},
    {"role": "assistant", "content": [], "claude_agent_sdk": {}},
])
def test_an_answer_without_words_or_calls_is_not_sent(silent: Message) -> None:
    """Goal: services refuse it. Method: what adapters store of thoughts, between two messages; a refusal is words."""
    talk = [{"role": "user", "content": "a"}, silent, {"role": "user", "content": "b"}]
    assert ["a", "b"] == [message["content"] for message in to_openai_chat(talk)]
    refused = {"role": "assistant", "content": None, "refusal": "no"}
    assert "no" == to_openai_chat([refused])[0]["refusal"]


def test_results_beside_calls_are_both_sent() -> None:
    """Goal: no result without its call. Method: one message that holds a result part and makes a call."""
    call = {"id": "t2", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    sent = to_openai_chat([{"role": "assistant", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "x"}], "tool_calls": [call]}])
    assert ["tool", "assistant"] == [message["role"] for message in sent]
    assert [call] == sent[1]["tool_calls"]


def test_results_stand_in_front_of_what_else_a_user_said() -> None:
    """Goal: as Anthropic wants them. Method: a word between a call and its result."""
    talk = [{"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]}, {"role": "user", "content": "wait"}, {"role": "tool", "content": "x", "tool_call_id": "t1"}]
    assert ["tool_result", "text"] == [part["type"] for part in to_anthropic(talk)[1][1]["content"]]


@pytest.mark.parametrize("odd", [
    {"role": "user", "content": [{"type": "text"}]}, {"role": "user", "content": [["a"], 1.5, None, "b"]}, {"role": "assistant", "content": "x", "tool_calls": [1.5, "x"]},
    {"role": "assistant", "content": None, "tool_calls": [{"id": 5, "function": {"name": None, "arguments": {"a": 1}}}]}, {"role": "assistant", "content": "x", "tool_calls": "no list"},
    {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": None}]}, {"role": "user", "content": [{"type": "tool_result", "content": [["a"]]}]},
])
def test_an_odd_message_is_sent_as_well_as_can_be(odd: Message) -> None:
    """Goal: one message of a stranger keeps nobody from a conversation. Method: what stores take and services do not write, to each form."""
    for sent in (to_openai_chat([odd]), to_anthropic([odd])[1], to_responses([odd])):
        for message in sent:
            content = message.get("content")
            assert all(isinstance(part, dict) for part in content) if isinstance(content, list) else True
    for message in to_openai_chat([odd]):
        for call in message.get("tool_calls", ()):
            assert [str, str, str] == [type(call["id"]), type(call["function"]["name"]), type(call["function"]["arguments"])]


def test_a_custom_tools_call_is_a_call_in_each_form() -> None:
    """Goal: OpenAI's second kind of call. Method: to chat as it is, to the others as a function with an input."""
    call = {"id": "c", "type": "custom", "custom": {"name": "sh", "input": "ls"}}
    talk = [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c", "content": "a"}]
    assert [call] == to_openai_chat(talk)[0]["tool_calls"]
    assert ("sh", {"input": "ls"}) == (to_anthropic(talk)[1][0]["content"][0]["name"], to_anthropic(talk)[1][0]["content"][0]["input"])
    assert ("sh", '{"input": "ls"}') == (to_responses(talk)[0]["name"], to_responses(talk)[0]["arguments"])
