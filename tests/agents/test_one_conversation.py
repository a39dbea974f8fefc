"""One conversation, many frameworks: what one adapter wrote every other reads, calls and results included."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent_framework import Content, Message
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from pydantic_ai import ModelRequest, ModelResponse, TextPart, ToolCallPart, ToolReturnPart, UserPromptPart
from pydantic_ai.conversation import Conversation

from praison_store import DefaultSessionStore
from praison_store.integrations.agent_framework import PraisonHistoryProvider
from praison_store.integrations.langchain import PraisonChatMessageHistory
from praison_store.integrations.llama_index import PraisonChatStore
from praison_store.integrations.openai_agents import PraisonSession
from praison_store.integrations.praisonai import PraisonStore
from praison_store.integrations.pydantic_ai import PraisonConversationStore
from praison_store.model.formats import from_anthropic, to_anthropic

Turn = tuple[str, str, str, str, str]  # question, call id, city, result, answer


def chat(turn: Turn) -> list[dict[str, Any]]:
    """Return a turn in our own form."""
    question, call_id, city, result, answer = turn
    function = {"name": "weather", "arguments": f'{{"city": "{city}"}}'}
    return [{"role": "user", "content": question}, {"role": "assistant", "content": None, "tool_calls": [{"id": call_id, "type": "function", "function": function}]},
            {"role": "tool", "content": result, "tool_call_id": call_id}, {"role": "assistant", "content": answer}]


def write_openai(store: DefaultSessionStore, turn: Turn) -> None:
    """Write a turn as items of the Responses."""
    question, call_id, city, result, answer = turn
    items: list[Any] = [{"role": "user", "content": question}, {"type": "function_call", "call_id": call_id, "name": "weather", "arguments": f'{{"city": "{city}"}}'},
                        {"type": "function_call_output", "call_id": call_id, "output": result},
                        {"type": "message", "id": f"m{call_id}", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": answer, "annotations": []}]}]
    asyncio.run(PraisonSession("s", store).add_items(items))


def write_langchain(store: DefaultSessionStore, turn: Turn) -> None:
    """Write a turn as LangChain's messages."""
    question, call_id, city, result, answer = turn
    call = {"name": "weather", "args": {"city": city}, "id": call_id, "type": "tool_call"}
    PraisonChatMessageHistory("s", store).add_messages([HumanMessage(question), AIMessage("", tool_calls=[call]), ToolMessage(result, tool_call_id=call_id), AIMessage(answer)])


def write_pydantic(store: DefaultSessionStore, turn: Turn) -> None:
    """Write a turn as Pydantic AI's requests and responses."""
    question, call_id, city, result, answer = turn

    async def main() -> None:
        kept = PraisonConversationStore(store)
        conversation = await kept.load("s") or Conversation(conversation_id="s")
        conversation.messages += [ModelRequest([UserPromptPart(question)]), ModelResponse([ToolCallPart("weather", {"city": city}, tool_call_id=call_id)]),
                    ModelRequest([ToolReturnPart("weather", result, tool_call_id=call_id)]), ModelResponse([TextPart(answer)])]
        await kept.save(conversation)

    asyncio.run(main())


def write_llama(store: DefaultSessionStore, turn: Turn) -> None:
    """Write a turn as LlamaIndex's messages."""
    question, call_id, _city, result, answer = turn
    said = [ChatMessage(role=MessageRole.USER, content=question), ChatMessage(role=MessageRole.ASSISTANT, content=None, additional_kwargs={"tool_calls": chat(turn)[1]["tool_calls"]}),
            ChatMessage(role=MessageRole.TOOL, content=result, additional_kwargs={"tool_call_id": call_id}), ChatMessage(role=MessageRole.ASSISTANT, content=answer)]
    for message in said:
        PraisonChatStore(store).add_message("s", message)


def write_framework(store: DefaultSessionStore, turn: Turn) -> None:
    """Write a turn as Agent Framework's messages."""
    question, call_id, city, result, answer = turn
    asyncio.run(PraisonHistoryProvider(store=store).save_messages("s", [
        Message("user", [question]), Message("assistant", [Content.from_function_call(call_id, "weather", arguments={"city": city})]),
        Message("tool", [Content.from_function_result(call_id, result=result)]), Message("assistant", [answer])]))


def write_anthropic(store: DefaultSessionStore, turn: Turn) -> None:
    """Write a turn as Anthropic's messages."""
    question, call_id, city, result, answer = turn
    store.add_messages("s", from_anthropic([
        {"role": "user", "content": question}, {"role": "assistant", "content": [{"type": "tool_use", "id": call_id, "name": "weather", "input": {"city": city}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call_id, "content": result}]}, {"role": "assistant", "content": answer}]))


WRITERS: dict[str, Callable[[DefaultSessionStore, Turn], object]] = {
    "ours": lambda store, turn: store.add_messages("s", chat(turn)), "openai_agents": write_openai, "langchain": write_langchain, "pydantic_ai": write_pydantic,
    "llama_index": write_llama, "agent_framework": write_framework, "anthropic": write_anthropic,
}


async def conversation(store: DefaultSessionStore) -> Any:
    """Read what Pydantic AI gives its model."""
    loaded = await PraisonConversationStore(store).load("s")
    assert loaded is not None
    return loaded.messages


READERS: dict[str, Callable[[DefaultSessionStore], Any]] = {
    "ours": lambda store: store.get_chat_history("s"), "openai_agents": lambda store: asyncio.run(PraisonSession("s", store).get_items()),
    "langchain": lambda store: PraisonChatMessageHistory("s", store).messages, "llama_index": lambda store: PraisonChatStore(store).get_messages("s"),
    "agent_framework": lambda store: [message.to_dict() for message in asyncio.run(PraisonHistoryProvider(store=store).get_messages("s"))],
    "pydantic_ai": lambda store: asyncio.run(conversation(store)), "praisonai": lambda store: PraisonStore(db=store.engine, max_messages=1000).get_chat_history("s"),
    "anthropic": lambda store: to_anthropic(message.to_dict() for message in store.get_session("s").messages)[1],
}


@pytest.mark.parametrize("reader", list(READERS))
def test_every_adapter_reads_what_every_other_wrote(reader: str, tmp_path: Path) -> None:
    """Goal: nothing is lost between frameworks. Method: each writes a turn with a tool behind the others'; where each word stands."""
    store = DefaultSessionStore(tmp_path, durability="process", max_messages=1000)
    turns = {name: (f"{name}-question", f"{name}-call", f"{name}-city", f"{name}-result", f"{name}-answer") for name in WRITERS}
    for name, write in WRITERS.items():
        write(store, turns[name])
    read = repr(READERS[reader](store))
    words = [f"{name}-{word}" for name in WRITERS for word in ("question", "city", "result", "answer")]
    places = [read.find(word) for word in words]
    assert [] == [word for word, place in zip(words, places, strict=True) if place < 0]
    assert sorted(places) == places
    assert all(f"{name}-call" in read for name in WRITERS)


@pytest.mark.parametrize("reader", list(READERS))
def test_every_adapter_reads_what_others_seldom_write(reader: str, tmp_path: Path) -> None:
    """Goal: one odd message hides no conversation. Method: a custom tool's call, and times that no calendar has."""
    store = DefaultSessionStore(tmp_path, durability="process", max_messages=1000)
    call = {"id": "the-call", "type": "custom", "custom": {"name": "shell", "input": "the-input"}}
    store.add_messages("s", [
        {"role": "user", "content": "the-question", "timestamp": 1.7e18},
        {"role": "assistant", "content": None, "tool_calls": [call], "timestamp": -1e300},
        {"role": "tool", "content": "the-result", "tool_call_id": "the-call", "timestamp": 0.0},
        {"role": "assistant", "content": "the-answer", "timestamp": 1e15},
    ])
    read = repr(READERS[reader](store))
    places = [read.find(word) for word in ("the-question", "the-input", "the-result", "the-answer")]
    assert 0 <= min(places)
    assert sorted(places) == places
