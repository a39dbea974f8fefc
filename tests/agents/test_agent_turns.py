"""The small agent: what a turn keeps, what a failure leaves, and who sees it."""

from __future__ import annotations

import asyncio
import multiprocessing
from pathlib import Path
from typing import Any, Literal, Optional

import pytest
from stand_in import remembering

from praison_store import (
    Agent,
    DefaultSessionStore,
    InvalidArgumentError,
    InvalidSessionIdError,
    MissingExtraError,
    ModelCallError,
)
from praison_store import aio as pa
from praison_store.agent.tools import tools_of

Messages = list[dict[str, Any]]
LONGEST_S = 60.0


def store_at(path: Path) -> DefaultSessionStore:
    """Return a store that does not wait for the disk."""
    return DefaultSessionStore(path, durability="process")


def roles(messages: Messages) -> list[str]:
    """Return who said what, in order."""
    return [message["role"] for message in messages]


def test_a_new_agent_of_a_session_remembers(tmp_path: Path) -> None:
    """Goal: the quick start. Method: two agents one after the other, each with a store of its own."""
    for prompt, answer in (("Hello, my name is Alice", "Nice to meet you"), ("What is my name?", "Your name is Alice")):
        agent = Agent("Assistant", llm=remembering, session_id="s", user_id="u", store=store_at(tmp_path))
        assert answer == agent.start(prompt)
    session = store_at(tmp_path).get_session("s")
    assert ("Assistant", "u") == (session.agent_name, session.user_id)
    assert ["user", "assistant"] * 2 == [message.role for message in session.messages]


@pytest.mark.parametrize("ask", ["start", "chat", "run"])
def test_without_an_id_only_the_agent_itself_remembers(ask: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: the last two rows of the matrix. Method: one agent twice, then another; the disk stays empty."""
    monkeypatch.setenv("HOME", str(tmp_path))
    agent = Agent("Assistant", llm=remembering)
    getattr(agent, ask)("Hello, my name is Alice")
    assert "Your name is Alice" == getattr(agent, ask)("What is my name?")
    assert "You did not tell me" == getattr(Agent("Assistant", llm=remembering), ask)("What is my name?")
    assert [] == list(tmp_path.iterdir())


def test_the_model_is_told_the_instructions_which_are_not_stored(tmp_path: Path) -> None:
    """Goal: instructions may change between runs. Method: what the model gets, and what the store has."""
    got: list[Messages] = []

    def model(messages: Messages) -> str:
        got.append(messages)
        return "yes"

    Agent("a", "Be brief.", llm=model, session_id="s", store=store_at(tmp_path)).chat("Well?")
    Agent("a", "Be long.", llm=model, session_id="s", store=store_at(tmp_path)).chat("And?")
    assert [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Well?"}] == got[0]
    assert ["system", "user", "assistant", "user"] == roles(got[1])
    assert "Be long." == got[1][0]["content"]
    assert ["user", "assistant"] * 2 == roles(store_at(tmp_path).get_chat_history("s"))


def weather(city: str, days: int = 1) -> dict[str, Any]:
    """Tell the weather of a city."""
    return {"city": city, "days": days, "sky": "clear"}


def failing(city: str) -> str:
    """Fail."""
    raise ValueError(f"no such city: {city}")


def call(name: str, arguments: str, call_id: str = "c1") -> dict[str, Any]:
    """Return an assistant's message that calls a tool."""
    return {"role": "assistant", "content": None,
            "tool_calls": [{"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}]}


def test_a_turn_with_tools_is_one_write_of_whole_exchanges(tmp_path: Path) -> None:
    """Goal: nobody sees half a turn. Method: count revisions over a turn with three calls, one failing, one unknown."""
    answers = iter([call("weather", '{"city": "Oslo"}', "c1"), call("failing", '{"city": "X"}', "c2"),
                    call("nothing", "{}", "c3"), "Clear skies"])
    store = store_at(tmp_path)
    agent = Agent("a", llm=lambda _messages: next(answers), session_id="s", tools=[weather, failing], store=store)
    store.set_agent_info("s", "a")
    assert "Clear skies" == agent.chat("What is the weather in Oslo?")
    session = store.get_session("s")
    assert 2 == session.revision
    assert ["user", *["assistant", "tool"] * 3, "assistant"] == [message.role for message in session.messages]
    results = [message.content for message in session.messages if message.role == "tool"]
    assert '{"city": "Oslo", "days": 1, "sky": "clear"}' == results[0]
    assert "ValueError: no such city: X" == results[1]
    assert "There is no tool 'nothing'" in str(results[2])


@pytest.mark.parametrize("bad", [ConnectionError("no route"), None, 5, {"role": "user", "content": "x"}, {"role": "assistant"},
                                 float("nan")])
def test_a_model_that_fails_leaves_what_was_said(bad: Any, tmp_path: Path) -> None:
    """Goal: the user need not say it again. Method: errors and answers that are none, after a tool was called."""
    steps = iter([call("weather", '{"city": "Oslo"}'), bad, "at last"])

    def model(_messages: Messages) -> Any:
        step = next(steps)
        if isinstance(step, Exception):
            raise step
        return step

    agent = Agent("a", llm=model, session_id="s", tools=[weather], store=store_at(tmp_path))
    with pytest.raises(ModelCallError, match="What was said is kept") as told:
        agent.chat("Well?")
    assert told.value.__cause__ is not None
    assert ["user", "assistant", "tool"] == roles(agent.history)
    assert "at last" == agent.chat("And now?")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_end_while_the_model_thinks_keeps_what_was_said(kind: type[BaseException], tmp_path: Path) -> None:
    """Goal: nothing typed is lost. Method: Ctrl-C, and an exit, out of the model."""
    def model(_messages: Messages) -> str:
        raise kind

    agent = Agent("a", llm=model, session_id="s", store=store_at(tmp_path))
    with pytest.raises(kind):
        agent.chat("Well?")
    assert [{"role": "user", "content": "Well?"}] == agent.history


def test_a_model_that_only_calls_tools_is_stopped(tmp_path: Path) -> None:
    """Goal: no endless turn. Method: the same call again and again."""
    agent = Agent("a", llm=lambda _messages: call("weather", "{}"), session_id="s", tools=[weather], store=store_at(tmp_path))
    with pytest.raises(ModelCallError, match="without an answer"):
        agent.chat("Well?")
    assert "user" == agent.history[0]["role"]


@pytest.mark.parametrize("arguments", [
    {"name": 5}, {"instructions": 5}, {"llm": 5}, {"llm": ""}, {"session_id": 5}, {"tools": [5]}, {"tools": [weather, weather]},
    {"tools": [lambda: 1]}, {"db": "memory://", "store": 1}, {"store": 1}, {"db": object(), "session_id": "s"},
])
def test_what_cannot_be_meant_is_refused_at_once(arguments: dict[str, Any]) -> None:
    """Goal: an error where the mistake is. Method: each argument, wrong."""
    with pytest.raises(InvalidArgumentError):
        Agent(**{"llm": remembering, **arguments})


def test_a_bad_prompt_or_id_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    """Goal: the same for what is said. Method: prompts that are no text, an id that names nothing."""
    asked: list[Messages] = []
    agent = Agent("a", llm=lambda messages: asked.append(messages) or "x", session_id="s", store=store_at(tmp_path))
    for bad in ("", None, 5, b"x"):
        with pytest.raises(InvalidArgumentError):
            agent.chat(bad)  # type: ignore[arg-type] # the point of the test
    with pytest.raises(InvalidSessionIdError):
        Agent("a", llm=remembering, session_id="", store=store_at(tmp_path))
    assert [] == asked


def test_a_model_without_its_client_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: the next step in the error. Method: hide each client."""
    import sys
    for package, model in (("openai", "gpt-4o"), ("anthropic", "claude-sonnet")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtraError, match=rf"praison_store\[{package}\]"):
            Agent("a", llm=model)


def converse(path: Path, name: str, turns: int) -> None:
    """Take turns with a tool each, as one of several processes."""
    def model(messages: Messages) -> Any:
        return f"{name} done" if messages[-1]["role"] == "tool" else call("weather", '{"city": "Oslo"}', f"{name}-{len(messages)}")

    agent = Agent(name, llm=model, session_id="s", tools=[weather], store=DefaultSessionStore(path, durability="process", retention="keep_all", lock_timeout=LONGEST_S))
    for number in range(turns):
        agent.chat(f"{name} {number}")


def test_D3_agents_of_one_session_in_many_processes_interleave_whole_turns(tmp_path: Path) -> None:
    """Goal: every turn whole, in order, none lost. Method: 8 processes take 5 turns of four messages each."""
    context = multiprocessing.get_context("spawn")
    names = [f"agent{number}" for number in range(8)]
    workers = [context.Process(target=converse, args=(tmp_path, name, 5)) for name in names]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(LONGEST_S)
        assert 0 == worker.exitcode
    with DefaultSessionStore(tmp_path, max_messages=1000) as store:
        messages = store.get_chat_history("s")
    assert 8 * 5 * 4 == len(messages)
    said: dict[str, list[int]] = {name: [] for name in names}
    for start in range(0, len(messages), 4):
        turn = messages[start : start + 4]
        assert ["user", "assistant", "tool", "assistant"] == roles(turn)
        name, number = turn[0]["content"].split()
        assert f"{name} done" == turn[3]["content"]
        assert turn[1]["tool_calls"][0]["id"] == turn[2]["tool_call_id"]
        said[name].append(int(number))
    assert {name: list(range(5)) for name in names} == said


def test_the_agent_for_asyncio_keeps_a_failed_turn_and_takes_turns(tmp_path: Path) -> None:
    """Goal: the same promises awaited. Method: twenty runs at once on one session, then a model that fails."""
    async def model(messages: Messages) -> str:
        await asyncio.sleep(0)
        return f"after {len(messages)}"

    def broken(_messages: Messages) -> str:
        raise ConnectionError("no route")

    async def main() -> None:
        manager = pa.SessionManager(str(tmp_path))
        config = pa.AgentConfig("a", llm=model)
        await asyncio.gather(*(pa.Agent(config=config, session_manager=manager, session_id="s").run_async(f"{number}")
                               for number in range(20)))
        history = await manager.get_history(session_id="s")
        assert ["user", "assistant"] * 20 == roles(history)
        assert [f"after {2 * number + 1}" for number in range(20)] == [one["content"] for one in history[1::2]]
        assert 20 == len(await manager.get_runs(session_id="s"))
        agent = pa.Agent(config=pa.AgentConfig("a", llm=broken), session_manager=manager, session_id="s")
        with pytest.raises(ModelCallError):
            await agent.run_async("lost?")
        assert "lost?" == (await manager.get_history(session_id="s"))[-1]["content"]
        await manager.cleanup()

    asyncio.run(main())


def test_a_tool_that_fails_oddly_fails_no_turn(tmp_path: Path) -> None:
    """Goal: a tool's trouble is an answer. Method: StopIteration, half a surrogate, a value that cannot be shown; both agents."""
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError

    def stop() -> str:
        return next(iter(()))

    def surrogate() -> str:
        return "name-\udcff"

    def unshown() -> Odd:
        return Odd()

    tools = [stop, surrogate, unshown]
    for awaited in (False, True):
        answers = iter([call(tool.__name__, "{}", tool.__name__) for tool in tools] + [{"role": "assistant", "content": "done", "message_id": "m"}])

        def model(_messages: Messages, answers: Any = answers) -> Any:
            return next(answers)

        if awaited:
            async def run(model: Any = model) -> str:
                config = pa.AgentConfig("a", llm=model, tools=tools)
                async with asyncio.timeout(30):
                    return await pa.Agent(config=config).run_async("Well?")

            assert "done" == asyncio.run(run())
        else:
            agent = Agent("a", llm=model, tools=tools, session_id="s", store=store_at(tmp_path))
            assert "done" == agent.chat("Well?")
            results = [str(one["content"]) for one in agent.history if one["role"] == "tool"]
            assert "StopIteration" in results[0]
            assert ["name-?", "a Odd that cannot be shown"] == results[1:]


def test_an_answer_with_an_id_seen_before_is_kept_all_the_same(tmp_path: Path) -> None:
    """Goal: a cached answer is an answer. Method: the same message twice, through the agent for asyncio."""

    async def main() -> None:
        manager = pa.SessionManager(str(tmp_path))
        config = pa.AgentConfig("a", llm=lambda _messages: {"role": "assistant", "content": "x", "message_id": "m"})
        agent = pa.Agent(config=config, session_manager=manager, session_id="s")
        for _ in range(2):
            await agent.run_async("Well?")
        assert ["user", "assistant"] * 2 == roles(await manager.get_history(session_id="s"))
        await manager.cleanup()

    asyncio.run(main())


async def slow(city: str) -> str:
    """Wait."""
    return city


def by_place(city: str, /) -> str:
    """Take what no model can pass."""
    return city


@pytest.mark.parametrize("arguments", [{"tools": [slow]}, {"llm": slow}, {"tools": [max]}, {"tools": [by_place]}])
def test_what_this_agent_cannot_call_is_refused(arguments: dict[str, Any]) -> None:
    """Goal: the mistake is told where it is made. Method: coroutine functions, and one without a signature."""
    with pytest.raises(InvalidArgumentError):
        Agent(**{"llm": remembering, **arguments})


def ask_much(names: list[int], mode: Literal["a", "b"], more: Optional[str] = None, other: int | str = 1, odd: object = None) -> str:  # noqa: UP045 - both spellings are told
    """Ask."""
    return ""


def test_a_tools_hints_are_told_as_json_schema() -> None:
    """Goal: a model knows what to pass. Method: lists, options, choices, either-or, and what JSON has no form of."""
    parameters = tools_of([ask_much], awaited=False)["ask_much"].parameters
    assert {"names": {"type": "array", "items": {"type": "integer"}}, "mode": {"enum": ["a", "b"]}, "more": {"type": "string"},
            "other": {"anyOf": [{"type": "integer"}, {"type": "string"}]}, "odd": {}} == parameters["properties"]
    assert ["names", "mode"] == parameters["required"]


def test_models_that_think_keep_no_store_from_its_work(tmp_path: Path) -> None:
    """Goal: threads of its own. Method: more thinking models than the loop's executor has threads; a read in between."""
    import threading
    from concurrent.futures import ThreadPoolExecutor

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        manager, thinks, begun = pa.SessionManager(str(tmp_path)), threading.Event(), threading.Semaphore(0)

        def model(_messages: Messages) -> str:
            begun.release()
            assert thinks.wait(LONGEST_S)
            return "x"

        agents = [pa.Agent(config=pa.AgentConfig("a", llm=model), session_manager=manager, session_id=f"s{number}") for number in range(2)]
        runs = [asyncio.create_task(agent.run_async("Well?")) for agent in agents]
        while begun._value < 2:
            await asyncio.sleep(0.001)
        async with asyncio.timeout(LONGEST_S):
            assert [] == await manager.get_history(session_id="other")
        thinks.set()
        await asyncio.gather(*runs)
        for agent in agents:
            await agent.close()
        await manager.cleanup()

    asyncio.run(main())


def test_a_model_and_a_save_that_both_fail_are_both_told(tmp_path: Path) -> None:
    """Goal: no failure hides another. Method: a model that fails after it made the session impossible to save."""
    async def main() -> None:
        manager = pa.SessionManager(str(tmp_path))
        place = tmp_path / "s.json"

        def model(_messages: Messages) -> str:
            place.unlink()
            place.mkdir()
            raise ZeroDivisionError

        config = pa.AgentConfig("a", llm=model)
        with pytest.raises(Exception) as told:
            await pa.Agent(config=config, session_manager=manager, session_id="s").run_async("Well?")
        chain, error = [], told.value
        while error is not None:
            chain.append(type(error).__name__)
            error = error.__cause__  # type: ignore[assignment] # the chain ends in None
        assert "ZeroDivisionError" in chain
        assert "ModelCallError" != chain[0]

    asyncio.run(main())
