"""LangChain on our store: every message as it was, many processes at once, and a real runnable that remembers."""

from __future__ import annotations

import asyncio
import multiprocessing
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from test_message_forms import ITEMS

from praison_store import DefaultSessionStore, InvalidArgumentError, InvalidMessageError, InvalidSessionIdError
from praison_store.engines.memory import MemoryEngine
from praison_store.engines.sql import SqlEngine
from praison_store.integrations.langchain import PraisonChatMessageHistory
from praison_store.integrations.openai_agents import PraisonSession
from praison_store.integrations.transcript import Transcript
from praison_store.model.formats import from_anthropic

LONGEST_S = 120.0
CALL = {"name": "add", "args": {"a": 1.5, "b": [None, "ü"]}, "id": "c1", "type": "tool_call"}
USAGE: Any = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "input_token_details": {"cache_read": 1}}
MESSAGES: list[BaseMessage] = [
    SystemMessage("Be brief", id="s"),
    HumanMessage("hi", name="alice", id="h", additional_kwargs={"k": {"deep": [1]}}, extra_field=None, other=5),
    HumanMessage([{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:x"}}, "and"]),
    AIMessage("", tool_calls=[CALL], id="a", usage_metadata=USAGE, response_metadata={"model_name": "m", "logprobs": None}),
    AIMessage("", invalid_tool_calls=[{"name": "f", "args": "{", "id": "c2", "error": "no JSON", "type": "invalid_tool_call"}]),
    ToolMessage("2", tool_call_id="c1", artifact={"rows": [1, 2]}, status="error", name="add"),
    ToolMessage([{"type": "text", "text": "2"}], tool_call_id="", id="t"),
    AIMessage([{"type": "text", "text": "x"}, {"type": "tool_use", "id": "c3", "name": "f", "input": {}}],
              tool_calls=[{"name": "f", "args": {}, "id": "c3"}]),
    AIMessage("both", tool_calls=[{"name": "f", "args": {}, "id": None}, CALL]),
    FunctionMessage("3", name="f"), ChatMessage("no", role="critic"), AIMessageChunk("part", id="p"),
    AIMessage(content_blocks=[{"type": "text", "text": "v1"}], response_metadata={"output_version": "v1"}),
    HumanMessage(""),
]


def store_at(path: Path) -> DefaultSessionStore:
    """Return a store that does not wait for the disk."""
    return DefaultSessionStore(path, durability="process")


def history_at(path: Path) -> PraisonChatMessageHistory:
    """Return a history with a store of its own."""
    return PraisonChatMessageHistory("s", store_at(path))


@pytest.mark.parametrize("engine", ["json", "sqlite", "memory"])
def test_every_message_comes_back_equal(engine: str, tmp_path: Path) -> None:
    """Goal: exact, whatever the type, beyond the window too. Method: 14 kinds ten times over, on three engines; then cleared."""
    engines: dict[str, Any] = {"json": lambda: store_at(tmp_path), "memory": lambda: DefaultSessionStore(db=MemoryEngine()),
                               "sqlite": lambda: DefaultSessionStore(db=SqlEngine(f"sqlite:///{tmp_path}/s.db"))}
    history = PraisonChatMessageHistory("s", engines[engine]())
    history.clear()
    assert [] == history.messages
    for _ in range(10):
        history.add_messages(MESSAGES)
    assert MESSAGES * 10 == history.messages
    assert [type(message) for message in MESSAGES * 10] == [type(message) for message in history.messages]
    history.clear()
    assert [] == history.messages


def test_the_awaited_twins_do_the_same(tmp_path: Path) -> None:
    """Goal: usable with asyncio. Method: each twin, and what it left."""
    async def main() -> None:
        await history_at(tmp_path).aadd_messages(MESSAGES)
        assert MESSAGES == await history_at(tmp_path).aget_messages()
        await history_at(tmp_path).aclear()
        assert [] == await history_at(tmp_path).aget_messages()

    asyncio.run(main())


def test_what_it_keeps_is_a_conversation_of_ours(tmp_path: Path) -> None:
    """Goal: another adapter reads it. Method: calls and results as the store shows them, no text told twice."""
    history_at(tmp_path).add_messages(MESSAGES[2:8])
    shown = store_at(tmp_path).get_chat_history("s")
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1.5, "b": [null, "ü"]}'}}
    assert {"role": "assistant", "content": "", "tool_calls": [call]} == shown[1]
    assert {"role": "tool", "content": "2", "tool_call_id": "c1"} == shown[3]
    assert ["user", "assistant", "assistant", "tool", "tool", "assistant"] == [message["role"] for message in shown]
    assert "tool_calls" not in shown[5], "the content has the call already"
    assert 1 == next(tmp_path.glob("*.json")).read_text(encoding="utf-8").count("look")


def test_conversations_of_others_are_read(tmp_path: Path) -> None:
    """Goal: a session may change its framework. Method: sessions of the store, of the OpenAI Agents SDK, of Anthropic's form."""
    store = store_at(tmp_path)
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    store.add_messages("s", [
        {"role": "system", "content": "Be brief"}, {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "content": "2", "tool_call_id": "c1"},
        {"role": "developer", "content": "x"},
    ])
    told = AIMessage("", tool_calls=[{"name": "add", "args": {"a": 1}, "id": "c1", "type": "tool_call"}])
    first = [SystemMessage("Be brief"), HumanMessage("hi"), told, ToolMessage("2", tool_call_id="c1"), ChatMessage("x", role="developer")]
    assert first == history_at(tmp_path).messages
    history_at(tmp_path).add_messages([AIMessage("ours", id="a")])
    store.add_user_message("s", "theirs")
    assert [*first, AIMessage("ours", id="a"), HumanMessage("theirs")] == history_at(tmp_path).messages

    asyncio.run(PraisonSession("sdk", store).add_items(ITEMS))  # type: ignore[arg-type] # any dict
    read = PraisonChatMessageHistory("sdk", store).messages
    answered = {message.tool_call_id for message in read if isinstance(message, ToolMessage)}
    asked = {call["id"] for message in read if isinstance(message, AIMessage) for call in message.tool_calls}
    assert answered
    assert answered <= asked
    Transcript("anthropic", store).append(from_anthropic([
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "…", "signature": "x"},
                                          {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "2"}]},
    ], system="Be brief"))
    assert first[:4] == PraisonChatMessageHistory("anthropic", store).messages


class Custom(HumanMessage):
    """A message of the caller's own type."""


@pytest.mark.parametrize("bad", [
    RemoveMessage(id="h"), "text", {"role": "user"}, HumanMessage("x", additional_kwargs={"k": {1}}), Custom("x"),
    ToolMessage("x", tool_call_id="c", artifact=object()), HumanMessage("x", extra=float("nan")), ChatMessage("x", role=""),
    AIMessage("", tool_calls=[{"name": "f", "args": {"k": (1, 2)}, "id": "c"}]), HumanMessage("\ud800"),
])
def test_D6_what_would_not_come_back_is_refused_whole(bad: Any, tmp_path: Path) -> None:
    """Goal: nothing half stored. Method: a good message in front of each bad one."""
    with pytest.raises(InvalidMessageError):
        history_at(tmp_path).add_messages([HumanMessage("x"), bad])
    assert [] == history_at(tmp_path).messages


def test_an_id_a_store_or_messages_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    """Goal: the mistake is told where it is made. Method: each, wrong."""
    with pytest.raises(InvalidSessionIdError):
        PraisonChatMessageHistory("", DefaultSessionStore(tmp_path))
    with pytest.raises(InvalidArgumentError):
        PraisonChatMessageHistory("s", store=5)  # type: ignore[arg-type] # the point of the test
    with pytest.raises(InvalidMessageError):
        history_at(tmp_path).add_messages("text")  # type: ignore[arg-type] # the point of the test


def add_pairs(path: Path, number: int) -> None:
    """Add questions with their answers, as one of several processes."""
    history = history_at(path)
    for turn in range(20):
        history.add_messages([HumanMessage(f"{number}-{turn}"), AIMessage(f"{number}-{turn}")])


def test_D3_many_processes_share_a_history(tmp_path: Path) -> None:
    """Goal: every message, each pair together. Method: 2 processes add 20 pairs each."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=add_pairs, args=(tmp_path, number)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(LONGEST_S)
        assert 0 == worker.exitcode
    said = [message.content for message in history_at(tmp_path).messages]
    assert said[::2] == said[1::2]
    assert {f"{number}-{turn}" for number in range(2) for turn in range(20)} == set(map(str, said))
    assert 80 == len(said)


RUN = """
import sys
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from stand_in import remembering
from praison_store.integrations.langchain import PraisonChatMessageHistory

model = RunnableLambda(lambda messages: AIMessage(remembering([{"content": message.content} for message in messages])))
for name, kind in (("OURS", PraisonChatMessageHistory), ("THEIRS", lambda session_id: InMemoryChatMessageHistory())):
    chat = RunnableWithMessageHistory(model, kind)
    print(name, chat.invoke(sys.argv[1], {"configurable": {"session_id": "s"}}).content)
"""


def test_a_real_runnable_remembers_in_another_process(tmp_path: Path) -> None:
    """Goal: the documented example. Method: two processes; LangChain's own history forgets in the second."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": ":".join([str(Path(__file__).parent), *sys.path])}
    wanted = (("My name is Alice", "OURS Nice to meet you", "THEIRS Nice to meet you"),
              ("What is my name?", "OURS Your name is Alice", "THEIRS You did not tell me"))
    for prompt, *answers in wanted:
        done = subprocess.run([sys.executable, "-c", RUN, prompt], env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False, cwd=tmp_path)
        assert 0 == done.returncode, done.stderr[-2000:]
        assert answers == done.stdout.splitlines()
    kept = PraisonChatMessageHistory("s", DefaultSessionStore(tmp_path / ".praison" / "sessions")).messages
    assert ["My name is Alice", "Nice to meet you", "What is my name?", "Your name is Alice"] == [message.content for message in kept]


def test_it_is_a_history_of_langchain(tmp_path: Path) -> None:
    """Goal: it goes where LangChain's own goes. Method: the calls of the base class on both, and what they show."""
    shown = []
    with pytest.warns(DeprecationWarning, match="InMemoryChatMessageHistory"):
        theirs = InMemoryChatMessageHistory()
    for history in (history_at(tmp_path), theirs):
        history.add_user_message("hi")
        history.add_ai_message(AIMessage("hello"))
        history.add_message(SystemMessage("x"))
        shown.append((history.messages, str(history)))
    assert shown[0] == shown[1]
