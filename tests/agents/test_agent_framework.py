"""Agent Framework on our store: every message as it was, many processes at once, and a real Agent that remembers."""

from __future__ import annotations

import asyncio
import multiprocessing
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent_framework import AgentSession, Content, FileHistoryProvider, FileSessionStore, Message
from hypothesis import given
from hypothesis import strategies as st
from sql_places import postgresql_url
from test_message_forms import CHAT, ITEMS

from praison_store import DefaultSessionStore, InvalidArgumentError, InvalidMessageError, InvalidSessionIdError
from praison_store.engines import from_url
from praison_store.integrations.agent_framework import PraisonHistoryProvider
from praison_store.integrations.agent_framework_messages import FIELD, messages_of, record_of
from praison_store.integrations.openai_agents import PraisonSession
from praison_store.model.formats import from_anthropic, to_anthropic, to_openai_chat
from praison_store.model.message import records_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the framework's SessionStore is an experiment, as it says
    from praison_store.integrations.agent_framework_sessions import PraisonSessionStore

pytestmark = pytest.mark.filterwarnings("ignore::agent_framework._feature_stage.ExperimentalWarning")
LONGEST_S = 120.0
LONG = "a long text, which is not to be stored twice " * 20

CALL = Content.from_function_call("c1", "weather", arguments={"city": "Oslo", "days": [1, 2.5, True, None], "note": LONG})
MESSAGES: list[Message] = [
    Message("system", ["Be brief."]), Message("user", ["hi"], author_name="al", message_id="m1", additional_properties={"a": [1], "$at": {"is": 5}}),
    Message("user", []), Message("user", [""]), Message("assistant", ["one", "two"]),
    Message("assistant", [LONG, Content.from_text_reasoning(text="why"), CALL, Content.from_function_call("c2", "now", arguments='{"raw": 1}'), Content.from_usage({"input_token_count": 1})]),
    Message("tool", [Content.from_function_result("c1", result=LONG), Content.from_function_result("c2", result=[Content.from_text("rain"), Content.from_data(b"abc", "image/png")])]),
    Message("assistant", [Content.from_function_call("c3", "f")]), Message("tool", [Content.from_function_result("c3", result={"a": 1})]),
    Message("user", [Content.from_data(b"\x89PNG", "image/png"), Content.from_uri("https://x/y.png", media_type="image/png"), Content.from_data(b"%PDF", "application/pdf"), Content.from_uri("https://x/z", media_type="audio/wav")]),
    Message("assistant", [Content.from_error(message="no", error_code="5"), Content.from_hosted_file("f1")]),
    Message("assistant", [Content.from_function_approval_request("r1", CALL)]), Message("user", [Content.from_function_approval_response(True, "r1", CALL)]),
    Message("critic", ["a role of its own"]),
]
JSON = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.sampled_from(["$at", "is", "as"]), inner, max_size=3), max_leaves=5)
NAMES = st.text(min_size=1, max_size=3)
DICTS = st.dictionaries(NAMES | st.sampled_from(["$at", "is", "as"]), JSON, max_size=2)
CONTENTS = (st.builds(Content.from_text, st.text(max_size=6), additional_properties=st.none() | DICTS) | st.builds(Content.from_function_call, NAMES, NAMES, arguments=st.none() | DICTS | st.text(max_size=4))
            | st.builds(Content.from_function_result, NAMES, result=st.none() | JSON) | st.builds(Content.from_data, st.binary(max_size=4), st.just("image/png")) | st.builds(Content.from_text_reasoning, text=st.text(max_size=4)))
WRITTEN = st.builds(Message, st.sampled_from(["user", "assistant", "tool", "system", "x"]), st.lists(CONTENTS, max_size=3), author_name=st.none() | NAMES, message_id=st.none() | NAMES, additional_properties=st.none() | DICTS)


def provider_at(path: Path, **options: Any) -> PraisonHistoryProvider:
    """Return a provider with a store of its own that does not wait for the disk."""
    return PraisonHistoryProvider(store=DefaultSessionStore(path, durability="process"), **options)


def plain(messages: list[Message]) -> list[dict[str, Any]]:
    """Return messages as dicts, which can be compared."""
    return [{**message.to_dict(exclude_none=False), "contents": [content.to_dict() for content in message.contents]} for message in messages]


def save(provider: PraisonHistoryProvider | FileHistoryProvider, session_id: Any, *turns: list[Message]) -> list[Message]:
    """Save turns, one after the other, and return all there is."""
    async def main() -> list[Message]:
        for turn in turns:
            await provider.save_messages(session_id, turn)
        return await provider.get_messages(session_id)

    return asyncio.run(main())


@given(st.lists(WRITTEN, max_size=3))
def test_any_message_comes_back_as_it_was(messages: list[Message]) -> None:
    """Goal: exact, whatever it holds. Method: contents of any text and JSON, the names of our own notes among the keys; as stored."""
    before = plain(messages)
    again = messages_of(records_of([record_of(message) for message in messages], 1.0))
    assert before == plain(again) == plain(messages)
    assert [message.contents for message in messages] == [message.contents for message in again]


@pytest.mark.parametrize("url", ["files", "memory", "sqlite", "postgresql"])
def test_every_kind_comes_back_from_every_engine(url: str, tmp_path: Path) -> None:
    """Goal: exact beyond the window too, and any text for an id. Method: one of each kind, ten times over."""
    urls: dict[str, Callable[[], Any]] = {"memory": lambda: from_url("memory://"), "sqlite": lambda: from_url(f"sqlite:///{tmp_path}/s.db"), "postgresql": lambda: from_url(postgresql_url(tmp_path))}
    store = DefaultSessionStore(tmp_path, durability="process") if url == "files" else DefaultSessionStore(db=urls[url]())
    ours = PraisonHistoryProvider(store=store)
    for number, key in enumerate(("a/b", "a:b", "a%2Fb", " ", "..", "é\n")):
        assert plain(MESSAGES[number:] * 10) == plain(save(ours, key, *[MESSAGES[number:]] * 10))
    assert plain(MESSAGES * 10) == plain(save(ours, "a/b"))
    assert [] == save(ours, "unknown") == save(ours, "unknown", [])
    store.engine.close()


def test_no_long_text_is_stored_twice() -> None:
    """Goal: the notes beside a message are small. Method: the long text of each message that has one."""
    for message in (MESSAGES[5], MESSAGES[6]):
        record = record_of(message)
        assert LONG in str(record)
        assert LONG not in str(record[FIELD])


def test_others_read_what_it_wrote_and_it_reads_what_others_wrote(tmp_path: Path) -> None:
    """Goal: one conversation, whoever wrote it. Method: calls and several results as chat and as Anthropic's; then chat, items and parts."""
    chat = to_openai_chat([record_of(message) for message in MESSAGES[5:7]])
    assert ["c1", "c2"] == [call["id"] for call in chat[0]["tool_calls"]]
    assert [("c1", LONG), ("c2", "rain")] == [(message["tool_call_id"], message["content"]) for message in chat[1:]]
    assert ["tool_result"] * 2 == [part["type"] for part in to_anthropic([record_of(MESSAGES[6])])[1][0]["content"]]
    ours = provider_at(tmp_path)
    store = DefaultSessionStore(tmp_path, durability="process")
    store.add_messages("chat", CHAT[2:4])
    assert plain([Message("assistant", [Content.from_function_call("c1", "f", arguments="{}")]), Message("tool", [Content.from_function_result("c1", result="clear")])]) == plain(save(ours, "chat"))
    asyncio.run(PraisonSession("items", store).add_items(ITEMS))  # type: ignore[arg-type] # any dict
    store.add_messages("parts", from_anthropic([{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]}]))
    for key in ("items", "parts"):
        wanted = to_openai_chat([message.to_dict() for message in store.get_session(key).messages])
        assert wanted
        assert [message["role"] for message in wanted] == [message.role for message in save(ours, key)]
    assert plain([Message("user", [Content.from_uri("data:image/png;base64,AAAA", media_type="image/png")])]) == plain(save(ours, "parts")[1:])


def test_a_message_that_was_edited_says_what_it_says_now(tmp_path: Path) -> None:
    """Goal: our notes hide no edit. Method: a message's parts replaced by a text."""
    ours, store = provider_at(tmp_path), DefaultSessionStore(tmp_path, durability="process")
    save(ours, "s", [MESSAGES[4]])
    record = store.get_session("s").messages[0].to_dict()
    store.set_chat_history("s", [{**record, "content": "[removed]"}])
    assert ["[removed]"] == [message.text for message in save(ours, "s")]


@pytest.mark.parametrize("text", ["my pin is 1234", "compare foo;base64, with " + "bar " * 9, "data:text/plain;base64,", "data:image/png;base64," + "MTIz" * 9])
def test_an_edit_of_any_text_is_what_is_said(text: str, tmp_path: Path) -> None:
    """Goal: no note tells what was redacted. Method: texts short, long and nearly base64, beside the same in a property."""
    ours, store = provider_at(tmp_path), DefaultSessionStore(tmp_path, durability="process")
    message = Message("user", [text], additional_properties={"kind": text, "list": [{"a": text}]})
    assert plain([message]) == plain(save(ours, "s", [message]))
    store.set_chat_history("s", [{**store.get_session("s").messages[0].to_dict(), "content": "no"}])
    assert plain([Message("user", ["no"])]) == plain(save(ours, "s"))


TURN = [Message("user", ["ok"]), Message("assistant", ["Done."])]


def test_a_turn_that_repeats_an_earlier_one_is_kept(tmp_path: Path) -> None:
    """Goal: nothing said is lost. Method: the same turn twice and three times; the framework's own provider takes it for one handed over again."""
    assert plain(TURN * 3) == plain(save(provider_at(tmp_path), "s", TURN, TURN, TURN))
    calls = [TURN[0], Message("assistant", [CALL]), Message("tool", [Content.from_function_result("c1", result="x")]), TURN[1]]
    assert plain(calls * 2) == plain(save(provider_at(tmp_path), "calls", calls, calls))
    assert plain([TURN[0], *TURN]) == plain(save(provider_at(tmp_path), "unanswered", TURN[:1], TURN))
    theirs = FileHistoryProvider(tmp_path / "theirs")
    assert len(save(theirs, "s", TURN, TURN, TURN)) < len(TURN * 3), "the comparison is void"


def test_what_is_handed_over_again_is_stored_once(tmp_path: Path) -> None:
    """Goal: a client that sends the whole conversation does not double it. Method: all of it, and its end, with a new turn behind."""
    first, second, third = [[Message("user", [f"q{number}"]), Message("assistant", [f"a{number}"])] for number in range(3)]
    for name in ("ours", "theirs"):
        provider = provider_at(tmp_path) if name == "ours" else FileHistoryProvider(tmp_path / "theirs")
        assert plain([*first, *second]) == plain(save(provider, "whole", first, [*first, *second]))
        assert plain([*first, *second, *third]) == plain(save(provider, "whole", [*first, *second, *third]))
        assert plain([*first, *second, *third]) == plain(save(provider, "end", first, second, [*second, *third]))


@pytest.mark.parametrize("bad", [
    "text", None, {"role": "user"}, Message("user", ["x"], additional_properties={"a": {1}}), Message("user", ["x"], additional_properties={"a": float("nan")}), Message("user", ["\ud800"]),
    Message("user", ["x"], additional_properties={"a": object()}), Message("user", ["x"], additional_properties={"a": 2**70}), Message("", ["x"]), Message("user", [Content.from_function_call("c", "f", arguments={"a": {1}})])])
def test_D6_what_would_not_read_back_equal_is_refused(bad: Any, tmp_path: Path) -> None:
    """Goal: nothing half stored. Method: a good message in front of each bad one."""
    ours = provider_at(tmp_path)
    with pytest.raises(InvalidMessageError):
        save(ours, "s", [Message("user", ["x"]), bad])
    with pytest.raises(InvalidMessageError):
        save(ours, "s", "text")  # type: ignore[arg-type] # the point of the test
    assert [] == save(ours, "s")


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    """Goal: the mistake is told where it is made. Method: each, wrong."""
    for key in ("", None, 5, "\ud800"):
        with pytest.raises(InvalidSessionIdError):
            save(provider_at(tmp_path), key, TURN)
        with pytest.raises(InvalidSessionIdError):
            asyncio.run(PraisonSessionStore(DefaultSessionStore(tmp_path)).get(key))  # type: ignore[arg-type] # the same
    for wrong in (lambda: PraisonHistoryProvider(store=5), lambda: PraisonHistoryProvider(namespace=5), lambda: PraisonSessionStore(5)):  # type: ignore[arg-type] # the same
        with pytest.raises(InvalidArgumentError):
            wrong()


def test_providers_in_namespaces_are_kept_apart(tmp_path: Path) -> None:
    """Goal: an audit trail is not the history. Method: names that would be one if they were joined; then what compaction left out."""
    places = [("", "a/b/c"), ("a", "b/c"), ("a/b", "c")]
    for namespace, key in places:
        save(provider_at(tmp_path, namespace=namespace), key, [Message("user", [f"{namespace} {key}"])])
    for namespace, key in places:
        assert [f"{namespace} {key}"] == [message.text for message in save(provider_at(tmp_path, namespace=namespace), key)]
    left_out = [Message("user", ["old"], additional_properties={"_excluded": True}), Message("user", ["new"])]
    assert 2 == len(save(provider_at(tmp_path), "s", left_out))
    assert ["new"] == [message.text for message in save(provider_at(tmp_path, skip_excluded=True), "s")]


def test_a_session_comes_back_as_it_was_set(tmp_path: Path) -> None:
    """Goal: usable where FileSessionStore is. Method: the same calls on both; another store on the same files reads; what cannot be kept is refused."""
    async def main() -> None:
        session = AgentSession(session_id="inner", service_session_id="svc")
        session.state = {"p": {"messages": [Message("user", ["hi"])], "n": 1.5}, "metadata": None}
        for store, again in ((PraisonSessionStore(DefaultSessionStore(tmp_path)), PraisonSessionStore(DefaultSessionStore(tmp_path))), (FileSessionStore(tmp_path / "t"), FileSessionStore(tmp_path / "t"))):
            assert await store.get("s/1") is None
            await store.set("s/1", session)
            found = await again.get("s/1")
            assert found is not None
            assert session.to_dict() == found.to_dict()
            assert isinstance(found.state["p"]["messages"][0], Message)
            found.state["p"]["n"] = 2
            assert session.to_dict() == (await store.get("s/1") or found).to_dict()
            await store.set("s/1", AgentSession(session_id="other"))
            assert AgentSession(session_id="other").to_dict() == (await again.get("s/1") or session).to_dict()
            await store.delete("s/1")
            await store.delete("s/1")
            assert await again.get("s/1") is None
        ours = PraisonSessionStore(DefaultSessionStore(tmp_path))
        session.state["bad"] = object()
        with pytest.warns(RuntimeWarning, match="unsupported"), pytest.raises(InvalidMessageError):
            await ours.set("s", session)
        with pytest.raises(InvalidArgumentError):
            await ours.set("s", "session")  # type: ignore[arg-type] # the point of the test
        assert await ours.get("s") is None

    asyncio.run(main())


def converse(path: Path, number: int) -> None:
    """Save turns, and hand the whole conversation over again, as one of several processes."""
    ours = provider_at(path)
    for turn in range(10):
        said = [Message("user", [f"{number}-{turn}"]), Message("assistant", [f"{number}-{turn}"])]
        save(ours, "s", [*said, *said])
        so_far = save(ours, f"own {number}")
        save(ours, f"own {number}", [*so_far, *said])


def test_D3_many_processes_share_a_session(tmp_path: Path) -> None:
    """Goal: every message, each pair together. Method: 2 processes save two turns at a time, and hand their own conversations over whole."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=converse, args=(tmp_path, number)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(LONGEST_S)
        assert 0 == worker.exitcode
    said = [message.text for message in save(provider_at(tmp_path), "s")]
    assert said[::4] == said[1::4] == said[2::4] == said[3::4]
    assert sorted(f"{number}-{turn}" for number in range(2) for turn in range(10)) == sorted(said[::4])
    for number in range(2):
        assert [f"{number}-{turn}" for turn in range(10) for _ in range(2)] == [message.text for message in save(provider_at(tmp_path), f"own {number}")]


RUN = """
import asyncio, sys
from agent_framework import Agent, BaseChatClient, ChatResponse, Message
from praison_store.integrations.agent_framework import PraisonHistoryProvider
from stand_in import remembering

class Listening(BaseChatClient):
    async def _inner_get_response(self, *, messages, stream, options, **kwargs):
        said = remembering([{"content": message.text} for message in messages])
        return ChatResponse(messages=[Message("assistant", [said])])

async def main():
    agent = Agent(client=Listening(), context_providers=[PraisonHistoryProvider()])
    answer = await agent.run(sys.argv[1], session=agent.create_session(session_id="s"))
    print("ANSWER", answer.text)

asyncio.run(main())
"""


def test_a_real_agent_remembers_in_another_process(tmp_path: Path) -> None:
    """Goal: the documented example. Method: three processes, the last says what the first one said; then what our store holds."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    for prompt, answer in (("My name is Alice", "Nice to meet you"), ("What is my name?", "Your name is Alice"), ("What is my name?", "Your name is Alice")):
        done = subprocess.run([sys.executable, "-c", RUN, prompt], env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False, cwd=tmp_path)
        assert 0 == done.returncode, done.stderr[-2000:]
        assert f"ANSWER {answer}" in done.stdout
    history = DefaultSessionStore(tmp_path / ".praison" / "sessions").get_chat_history("s")
    assert ["My name is Alice", "Nice to meet you", *["What is my name?", "Your name is Alice"] * 2] == [message["content"] for message in history]
