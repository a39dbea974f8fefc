"""What the agent sends to a model's service, and what it makes of the answer: read off the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stand_in import Service, service
from test_message_forms import ITEMS, PICTURE

from praison_store import Agent, DefaultSessionStore, ModelCallError
from praison_store import aio as pa
from praison_store.model.formats import from_anthropic, from_responses

MARK = {"type": "ephemeral"}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """Run a stand-in for both services; the clients' own variables point at it."""
    with service() as running:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{running.url}/v1")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", running.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "none")
        yield running


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"clear in {city}"


def marked(request: dict[str, Any]) -> list[str]:
    """Return the texts of a request's parts that are marked as what may be cached."""
    parts = [*request.get("system", ()), *(part for message in request["messages"] for part in message["content"])]
    return [part.get("text", part["type"]) for part in parts if "cache_control" in part]


@pytest.mark.parametrize("awaited", [False, True])
def test_prompt_caching_marks_the_system_text_and_the_last_stable_message(awaited: bool, model: Service, tmp_path: Path) -> None:
    """Goal: what stays the same is paid once. Method: three turns; marks on the wire, with and without the switch."""
    def ask(caching: bool, session_id: str, prompt: str) -> None:
        if awaited:
            async def run() -> None:
                manager = pa.SessionManager(str(tmp_path))
                config = pa.AgentConfig("a", "Be brief.", llm="claude-sonnet-4", prompt_caching=caching)
                async with pa.Agent(config=config, session_manager=manager, session_id=session_id) as agent:
                    await agent.run_async(prompt)
                await manager.cleanup()

            asyncio.run(run())
        else:
            with Agent("a", "Be brief.", llm="anthropic/claude-sonnet-4", prompt_caching=caching, session_id=session_id,
                       store=DefaultSessionStore(tmp_path)) as agent:
                agent.chat(prompt)

    for prompt in ("one", "two", "three"):
        ask(True, "s", prompt)
    assert ["/v1/messages"] * 3 == model.paths
    assert [["Be brief."], ["Be brief.", "Nice to meet you"], ["Be brief.", "Nice to meet you"]] == list(map(marked, model.asked))
    third = model.asked[2]
    assert {"type": "text", "text": "Be brief.", "cache_control": MARK} == third["system"][-1]
    assert ["user", "assistant", "user", "assistant", "user"] == [message["role"] for message in third["messages"]]
    assert "cache_control" in third["messages"][3]["content"][-1]
    ask(False, "t", "one")
    assert [] == marked(model.asked[-1])


def test_marks_of_others_are_not_sent_twice(model: Service, tmp_path: Path) -> None:
    """Goal: the service takes four marks at most. Method: stored messages that bring theirs, ending in a thought."""
    store = DefaultSessionStore(tmp_path)
    text = {"type": "text", "text": "x", "cache_control": MARK}
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    store.add_messages("s", from_anthropic([{"role": "user", "content": [text] * 5}, {"role": "assistant", "content": [{"type": "text", "text": "y"}, thought]}]))
    with Agent("a", llm="claude-x", prompt_caching=True, session_id="s", store=store) as agent:
        agent.chat("and?")
    assert ["y"] == marked(model.asked[0])
    assert thought == model.asked[0]["messages"][1]["content"][1], "the thought comes back as it was"


@pytest.mark.parametrize("name", ["gpt-4o-mini", "claude-sonnet-4"])
def test_a_tool_is_offered_called_and_answered(name: str, model: Service, tmp_path: Path) -> None:
    """Goal: each service's own form. Method: a call, then words; what the second request holds, what is stored."""
    if name.startswith("claude"):
        model.script = [lambda _request: [{"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Oslo"}}],
                        lambda _request: [{"type": "text", "text": "Clear."}]]
    else:
        function = {"name": "weather", "arguments": '{"city": "Oslo"}'}
        model.script = [lambda _request: {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
                        lambda _request: {"role": "assistant", "content": "Clear."}]
    store = DefaultSessionStore(tmp_path)
    with Agent("a", llm=name, tools=[weather], session_id="s", store=store) as agent:
        assert "Clear." == agent.chat("Weather in Oslo?")
    first, second = model.asked
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    if name.startswith("claude"):
        assert [{"name": "weather", "description": "Tell the weather of a city.", "input_schema": schema}] == first["tools"]
        assert [{"type": "tool_result", "tool_use_id": "c1", "content": "clear in Oslo"}] == second["messages"][2]["content"]
        assert {"city": "Oslo"} == second["messages"][1]["content"][0]["input"]
    else:
        assert {"name": "weather", "description": "Tell the weather of a city.", "parameters": schema} == first["tools"][0]["function"]
        assert {"role": "tool", "tool_call_id": "c1", "content": "clear in Oslo"} == second["messages"][2]
    assert ["user", "assistant", "tool", "assistant"] == [one["role"] for one in store.get_chat_history("s")]


@pytest.mark.parametrize(("name", "status"), [("gpt-4o-mini", 500), ("claude-sonnet-4", 529), ("gpt-4o-mini", 401)])
def test_a_service_that_fails_leaves_what_was_said(name: str, status: int, model: Service, tmp_path: Path) -> None:
    """Goal: the error is told, the prompt is kept. Method: each service fails with its statuses; then it answers."""
    model.script = [lambda _request: status] * 3
    store = DefaultSessionStore(tmp_path)
    agent = Agent("a", llm=name, session_id="s", store=store)
    with pytest.raises(ModelCallError, match="What was said is kept"):
        agent.chat("My name is Alice")
    assert [{"role": "user", "content": "My name is Alice"}] == store.get_chat_history("s")
    model.script = []
    assert "Your name is Alice" == agent.chat("What is my name?")
    agent.close()


@pytest.mark.parametrize("name", ["gpt-4o-mini", "claude-sonnet-4", "callable"])
def test_what_other_frameworks_stored_a_model_is_sent_in_its_form(name: str, model: Service, tmp_path: Path) -> None:
    """Goal: one conversation, many frameworks. Method: items of the Responses and Anthropic's parts, then a turn."""
    heard: list[Any] = []
    store = DefaultSessionStore(tmp_path, max_messages=1000)
    store.add_messages("s", from_responses(ITEMS))
    store.add_messages("s", from_anthropic([{"role": "user", "content": [{"type": "text", "text": "see"}, PICTURE]}, {"role": "assistant", "content": "I see."}]))
    llm: Any = (lambda messages: heard.extend(messages) or "x") if name == "callable" else name
    with Agent("a", llm=llm, session_id="s", store=store) as agent:
        agent.chat("And?")
    sent = heard or model.asked[0]["messages"]
    kinds = {part.get("type") for message in sent if isinstance(message["content"], list) for part in message["content"]}
    allowed = {"text", "tool_use", "tool_result", "image"} if name.startswith("claude") else {"text", "image_url"}
    assert kinds <= allowed
    assert all(message["content"] or message.get("tool_calls") or message["role"] == "tool" for message in sent)
    assert "And?" in str(sent[-1]["content"])
    assert 2 == str(sent).count("AAAA")


def test_an_agent_for_asyncio_works_in_one_event_loop_after_another(model: Service) -> None:
    """Goal: `asyncio.run` twice with one agent. Method: two loops; a client of a closed loop would fail."""
    agent = pa.Agent(config=pa.AgentConfig("a", llm="gpt-4o-mini"))

    async def ask(prompt: str) -> str:
        async with agent:
            return await agent.run_async(prompt)

    assert "Nice to meet you" == asyncio.run(ask("My name is Alice"))
    assert "Your name is Alice" == asyncio.run(ask("What is my name?"))


@pytest.mark.parametrize("name", ["gpt-4o-mini", "claude-sonnet-4"])
def test_an_answer_that_was_cut_is_not_taken_for_a_whole_one(name: str, model: Service, tmp_path: Path) -> None:
    """Goal: nothing fails silently. Method: each service says that it ran out of tokens."""
    model.ends = ("length", "max_tokens")
    store = DefaultSessionStore(tmp_path)
    with Agent("a", llm=name, session_id="s", store=store) as agent, pytest.raises(ModelCallError, match="cut"):
        agent.chat("Tell me everything")
    assert [{"role": "user", "content": "Tell me everything"}] == store.get_chat_history("s")
