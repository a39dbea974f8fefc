"""Google's ADK on our store: every event equal, writers that never go stale, and a real Runner that remembers."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.adk.auth.auth_credential import AuthCredential, AuthCredentialTypes
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events.event import Event
from google.adk.events.event_actions import EventActions, EventCompaction
from google.adk.sessions import InMemorySessionService, Session
from google.adk.sessions.base_session_service import BaseSessionService, GetSessionConfig
from google.adk.sessions.sqlite_session_service import SqliteSessionService
from google.genai import types
from test_message_forms import ITEMS

from praison_store import Agent, DefaultSessionStore, InvalidArgumentError, InvalidMessageError, InvalidSessionIdError
from praison_store.engines.sql import SqlEngine
from praison_store.integrations.google_adk import PraisonSessionService, session_key
from praison_store.integrations.transcript import Transcript
from praison_store.model import portable
from praison_store.model.formats import from_anthropic, from_responses, to_openai_chat

LONGEST_S = 120.0
NAMES: Any = {"app_name": "app", "user_id": "alice", "session_id": "s1"}
PNG = bytes(range(256))


def content(*parts: types.Part, role: str = "model") -> types.Content:
    """Return a content of parts."""
    return types.Content(role=role, parts=list(parts))


def said(text: str, author: str = "user", **options: Any) -> Event:
    """Return an event in which somebody says something."""
    return Event(author=author, invocation_id="i", content=content(types.Part(text=text)), **options)


def call(call_id: str | None, name: str = "weather", **arguments: Any) -> types.Part:
    """Return the part of a function's call."""
    return types.Part(function_call=types.FunctionCall(id=call_id, name=name, args=arguments))


def response(call_id: str | None, answer: dict[str, Any] | None, name: str = "weather") -> types.Part:
    """Return the part of a function's response."""
    return types.Part(function_response=types.FunctionResponse(id=call_id, name=name, response=answer))


EVENTS: list[Event] = [
    said("Weather in Paris and Rome? ☂"),
    Event(author="helper", invocation_id="i", content=content(
        types.Part(text="Let me think", thought=True, thought_signature=b"\xff\xfe"), types.Part(text="I look."),
        call("c1", city="Paris", days=1.5, nothing=None), call("c2", city="Rome"), call(None, "no_id")),
        long_running_tool_ids={"c1", "c2"}, partial=False, turn_complete=True),
    Event(author="helper", invocation_id="i", content=content(
        response("c1", {"result": "rain"}), response("c2", {"sky": {"clouds": [1, 2, None]}}), response("c3", None),
        response("c4", {}), response("c5", {"result": ""}), response(None, {"result": 5}), role="user"),
        actions=EventActions(state_delta={"seen": {"a": None}, "app:n": 1, "user:n": [1]}, artifact_delta={"f": 2})),
    Event(author="helper", content=content(types.Part(text=""), types.Part(text="Rain"), types.Part(text=" and sun"))),
    Event(author="user", content=content(types.Part(text="And this?"), types.Part(
        inline_data=types.Blob(mime_type="image/png", data=PNG, display_name="p")), types.Part(
        inline_data=types.Blob(mime_type="audio/wav", data=PNG)), types.Part(
        file_data=types.FileData(file_uri="gs://a/b", mime_type="image/png")), role="user")),
    Event(author="helper", content=content(types.Part(executable_code=types.ExecutableCode(
        code="1+1", language=types.Language.PYTHON)), types.Part(code_execution_result=types.CodeExecutionResult(
            outcome=types.Outcome.OUTCOME_OK, output="2")))),
    Event(author="helper", content=types.Content(role="model", parts=[])),
    Event(author="helper", content=types.Content(role="model")),
    Event(author="helper", actions=EventActions(state_delta={"x": 1}, transfer_to_agent="b", escalate=True, route=["a", 1])),
    Event(author="helper", actions=EventActions(compaction=EventCompaction(
        start_timestamp=1.0, end_timestamp=2.0, compacted_content=content(types.Part(text="short"))))),
    Event(author="helper", error_code="E", error_message="m", branch="a.b", custom_metadata={"k": None, "f": 0.1 + 0.2},
          usage_metadata=types.GenerateContentResponseUsageMetadata(prompt_token_count=3),
          grounding_metadata=types.GroundingMetadata(web_search_queries=["q"]), finish_reason=types.FinishReason.STOP),
    Event(author="helper", actions=EventActions(agent_state={"a": 1}, end_of_agent=True), output={"any": [1]}),
]


def service_at(path: Path) -> PraisonSessionService:
    """Return a service with a store of its own that does not wait for the disk."""
    return PraisonSessionService(DefaultSessionStore(path, durability="process"))


async def seen_by(service: BaseSessionService, **config: Any) -> Session:
    """Return the session as it is stored."""
    found = await service.get_session(**NAMES, config=GetSessionConfig(**config) if config else None)
    assert found is not None
    return found


@contextmanager
def services_of(engine: str, path: Path) -> Iterator[list[PraisonSessionService]]:
    """Run with two services that share the place of one kind of engine."""
    from sql_places import postgresql_url
    url = postgresql_url(path) if engine == "postgresql" else f"sqlite:///{path}/s.db"
    engines: list[SqlEngine] = [] if engine == "json" else [SqlEngine(url), SqlEngine(url)]
    yield [service_at(path), service_at(path)] if engine == "json" else [PraisonSessionService(DefaultSessionStore(db=one)) for one in engines]
    for one in engines:
        one.close()


@pytest.mark.parametrize("engine", ["json", "sqlite", "postgresql"])
def test_every_event_comes_back_equal(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: exact, beyond the window too. Method: 12 kinds of events eleven times over, compared as models, by another service."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "contract"))

    async def main(ours: PraisonSessionService, others: PraisonSessionService) -> None:
        session = await ours.create_session(**NAMES, state={"mine": 1, "app:a": 2, "user:u": 3, "temp:t": 4})
        assert {"mine": 1, "app:a": 2, "user:u": 3} == session.state
        wanted = []
        for turn in range(11):
            for kind in EVENTS:
                event = kind.model_copy(update={"id": f"{kind.id}-{turn}"}, deep=True)
                assert event is await ours.append_event(session, event)
                wanted.append(event.model_copy(deep=True))
        assert wanted == session.events
        found = await seen_by(others)
        assert wanted == found.events
        assert {"mine": 1, "app:a": 2, "user:u": 3, "seen": {"a": None}, "app:n": 1, "user:n": [1], "x": 1} == found.state
        assert session.state == found.state
        assert wanted[-1].timestamp == found.last_update_time == session.last_update_time

    with services_of(engine, tmp_path) as services:
        asyncio.run(main(*services))


def test_what_was_said_is_read_as_chat(tmp_path: Path) -> None:
    """Goal: other adapters read the talk. Method: the events' records as OpenAI's chat takes them, and our own Agent."""
    async def main() -> None:
        session = await service_at(tmp_path).create_session(**NAMES)
        for event in EVENTS:
            await service_at(tmp_path).append_event(session, event.model_copy(deep=True))

    asyncio.run(main())
    store = DefaultSessionStore(tmp_path)
    key = session_key("app", "alice", "s1")
    talk = to_openai_chat(Transcript(key, store).records())
    assert ["user", "assistant", *["tool"] * 6, "assistant", "user"] == [message["role"] for message in talk]
    assert "I look." == talk[1]["content"]
    assert ["Paris", "Rome"] == [json.loads(one["function"]["arguments"])["city"] for one in talk[1]["tool_calls"][:2]]
    assert ["rain", '{"sky": {"clouds": [1, 2, null]}}'] == [message["content"] for message in talk[2:4]]
    assert ["c1", "c2", "c3", "c4", "c5", "weather"] == [message["tool_call_id"] for message in talk[2:8]]
    assert talk[-1]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,AAECAwQ")
    assert "Weather in Paris and Rome? ☂" == store.engine.history(key, None)[0]["content"]
    raw = next(tmp_path.glob("@google*/s1.json")).read_bytes()
    assert 1 == raw.count("Weather in Paris and Rome? ☂".encode())


def test_sessions_of_other_origin_are_read_as_events(tmp_path: Path) -> None:
    """Goal: a talk begun elsewhere goes on. Method: chat, Responses items and Anthropic's parts under an ADK key, read as events."""
    store = DefaultSessionStore(tmp_path, durability="process")
    chat = [{"role": "system", "content": "Be brief"}, {"role": "user", "content": [{"type": "text", "text": "Rain?"}, {
        "type": "image_url", "image_url": {"url": "data:image/png;base64,+/8="}}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "sky", "arguments": '{"a": 1}'}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "wet"}, {"role": "assistant", "content": "Yes"}]
    parts = [{"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "sky", "input": {"b": 2}}]},
             {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "dry"}]}]
    for session_id, records in (("chat", chat), ("items", from_responses(ITEMS)), ("parts", from_anthropic(parts))):
        Transcript(session_key("app", "alice", session_id), store).append(records)

    async def main() -> None:
        service = PraisonSessionService(store)
        names: Any = {"app_name": "app", "user_id": "alice"}
        found = [await service.get_session(session_id=one, **names) for one in ("chat", "items", "parts")]
        assert all(found)
        rain, called, answered, yes = found[0].events  # type: ignore[union-attr] # it is there
        assert ("user", "Rain?", b"\xfb\xff") == (rain.author, rain.content.parts[0].text, rain.content.parts[1].inline_data.data)
        assert [("c1", "sky", {"a": 1})] == [(one.id, one.name, one.args) for one in called.get_function_calls()]
        assert [("c1", "sky", {"result": "wet"})] == [(one.id, one.name, one.response) for one in answered.get_function_responses()]
        assert ("assistant", "Yes") == (yes.author, yes.content.parts[0].text)
        calls = {one.id for event in found[1].events for one in event.get_function_calls()}  # type: ignore[union-attr] # the same
        assert {item["call_id"] for item in ITEMS if item.get("type") == "function_call"} <= calls
        assert [{"result": "dry"}] == [one.response for event in found[2].events for one in event.get_function_responses()]  # type: ignore[union-attr] # the same
        await service.append_event(found[0], said("And now?"))  # type: ignore[arg-type] # the same
        store.engine.append(session_key("app", "alice", "chat"), [{"role": "user", "content": "between", "timestamp": 1.0, "metadata": {}}], now_s=1.0, policy=store._policy)
        await service.append_event(found[0], said("Then?"))  # type: ignore[arg-type] # the same
        again = await service.get_session(session_id="chat", **names)
        assert ["And now?", "between", "Then?"] == [event.content.parts[0].text for event in again.events[-3:]]  # type: ignore[union-attr] # the same
        assert again.events == found[0].events  # type: ignore[union-attr] # the same

    asyncio.run(main())


@pytest.mark.parametrize("number", range(3))
def test_an_event_that_was_edited_says_what_it_says_now(number: int, tmp_path: Path) -> None:
    """Goal: what stands beside hides no edit. Method: each kind, its words replaced in the session by another store's user."""
    texts = ("my pin is 1234", "my secret pin number is 1234 and so on", "data:image/png;base64," + "MTIz" * 9)
    store = DefaultSessionStore(tmp_path)

    async def main() -> None:
        service = PraisonSessionService(store)
        await service.append_event(await service.create_session(**NAMES), said(texts[number], custom_metadata={"of": texts[number]}))
        Transcript(session_key(**NAMES), store).change(lambda records: [{**record, "content": "[removed]"} for record in records])
        found = (await seen_by(service)).events
        assert ["[removed]"] == [event.content.parts[0].text for event in found]
        assert texts[number] not in str(found)

    asyncio.run(main())


def test_a_window_of_events_is_what_adks_own_services_return(tmp_path: Path) -> None:
    """Goal: GetSessionConfig means the same. Method: every number and time, on ours, in memory and on SQLite."""
    async def main() -> None:
        services = [service_at(tmp_path), InMemorySessionService(), SqliteSessionService(str(tmp_path / "theirs.db"))]
        events = [said(f"{number}", timestamp=1e10 + number) for number in range(6)]
        for service in services:
            session = await service.create_session(**NAMES)
            for event in events:
                await service.append_event(session, event.model_copy(deep=True))
        configs: list[Any] = [{"num_recent_events": number} for number in range(8)]
        configs += [{"after_timestamp": 1e10 + number} for number in (0, 2, 2.5, 9)]
        configs += [{"after_timestamp": 1e10 + 2, "num_recent_events": 3}, {"after_timestamp": 1e10 + 4, "num_recent_events": 3}]
        for config in configs:
            ours, *theirs = [(await seen_by(service, **config)).events for service in services]
            assert theirs[0] == theirs[1] == ours, config

    asyncio.run(main())


def test_a_session_read_in_part_goes_on_in_part(tmp_path: Path) -> None:
    """Goal: catching up brings what is new, not what was left out. Method: a session of the two newest events, another writer, an append."""
    async def main() -> None:
        service = service_at(tmp_path)
        first = await service.create_session(**NAMES)
        for number in range(5):
            await service.append_event(first, said(f"{number}"))
        part = await seen_by(service, num_recent_events=2)
        by_hand = Session(id="s1", app_name="app", user_id="alice", events=list(part.events))
        await service.append_event(first, said("other", actions=EventActions(state_delta={"k": "other"})))
        for session in (part, by_hand):
            await service.append_event(session, said("mine"))
        assert ["3", "4", "other", "mine"] == [event.content.parts[0].text for event in part.events]
        assert ["3", "4", "other", "mine", "mine"] == [event.content.parts[0].text for event in by_hand.events]
        assert "other" == part.state["k"] == by_hand.state["k"]

    asyncio.run(main())


def test_state_is_shared_as_its_prefix_says_and_temp_is_never_stored(tmp_path: Path) -> None:
    """Goal: ADK's scopes. Method: three sessions of two users and two apps, against InMemorySessionService."""
    async def main() -> None:
        for service in (service_at(tmp_path), InMemorySessionService()):
            made = [await service.create_session(app_name=app, user_id=user, session_id="s", state={"own": user})
                    for app, user in (("a", "u"), ("a", "v"), ("b", "u"))]
            delta = {"k": 1, "app:k": 2, "user:k": 3, "temp:k": 4, "rich": {1, }}
            event = await service.append_event(made[0], said("x", actions=EventActions(state_delta=delta)))
            assert {"k", "app:k", "user:k", "rich"} == set(event.actions.state_delta)
            assert 4 == made[0].state["temp:k"]
            states = [(await service.get_session(app_name=one.app_name, user_id=one.user_id, session_id="s")).state for one in made]  # type: ignore[union-attr] # it is there
            assert "temp:k" not in states[0]
            assert [{"app:k": 2, "k": 1, "own": "u", "user:k": 3}, {"app:k": 2, "own": "v"}, {"own": "u"}] == [
                {name: value for name, value in state.items() if name != "rich"} for state in states]
            assert {"k": 3} == await service.get_user_state(app_name="a", user_id="u")
            assert {} == await service.get_user_state(app_name="a", user_id="nobody")
            listed = (await service.list_sessions(app_name="a")).sessions
            assert [("v", {"app:k": 2, "own": "v"})] == [(one.user_id, one.state) for one in listed if one.user_id == "v"]
            await service.delete_session(app_name="a", user_id="u", session_id="s")
            assert {"k": 3} == await service.get_user_state(app_name="a", user_id="u")

    asyncio.run(main())


def test_sessions_are_listed_oldest_update_first(tmp_path: Path) -> None:
    """Goal: the order of the contract. Method: updated in another order than made; for one user, for all, and without events."""
    async def main() -> None:
        service = service_at(tmp_path)
        made = {}
        for user, name in (("u", "1"), ("u", "2"), ("v/w", "3")):
            made[name] = await service.create_session(app_name="a", user_id=user, session_id=name)
        for name, when in (("3", 3e9), ("1", 4e9), ("2", 5e9)):
            await service.append_event(made[name], said("x", timestamp=when))
        assert ["3", "1", "2"] == [one.id for one in (await service.list_sessions(app_name="a")).sessions]
        listed = (await service.list_sessions(app_name="a", user_id="u")).sessions
        assert [("1", 4e9, []), ("2", 5e9, [])] == [(one.id, one.last_update_time, one.events) for one in listed]
        assert [] == (await service.list_sessions(app_name="none")).sessions

    asyncio.run(main())


def test_D4_no_two_names_are_one_session(tmp_path: Path) -> None:
    """Goal: injective. Method: names that would be one text if joined by / or :, in every place; each keeps its own."""
    names = [("a/b", "c", "d"), ("a", "b/c", "d"), ("a", "b", "c/d"), ("a:b", "c", "d"), ("a", "b:c", "d"), ("a%2Fb", "c", "d"),
             ("A/b", "c", "d"), ("", "a/b", "d"), ("a", "", "d"), ("", "", "d"), (" a", "b", "c"), ("a", "bb", " c"), ("x" * 300, "y" * 300, "z")]

    async def main() -> None:
        service = service_at(tmp_path)
        for number, (app, user, session_id) in enumerate(names):
            made = await service.create_session(app_name=app, user_id=user, session_id=session_id, state={"n": number, "user:n": number, "app:" + user: number})
            assert session_id == made.id
        for number, (app, user, session_id) in enumerate(names):
            found = await service.get_session(app_name=app, user_id=user, session_id=session_id)
            assert found is not None
            assert [number] * 3 == [found.state[name] for name in ("n", "user:n", "app:" + user)]
            assert [session_id] == [one.id for one in (await service.list_sessions(app_name=app, user_id=user)).sessions]

    asyncio.run(main())


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    """Goal: ADK's errors and ours, and nothing written. Method: each mistake, then the session as it was."""
    async def main() -> None:
        service = service_at(tmp_path)
        session = await service.create_session(**NAMES, state={"k": 1})
        with pytest.raises(AlreadyExistsError):
            await service.create_session(**NAMES, state={"k": 2, "app:k": 2})
        for delta in ({"k": float("nan")}, {"k": 2**64}, {"app:k": float("inf")}, {"k": "\ud800"}):
            with pytest.raises(InvalidMessageError):
                await service.append_event(session, said("x", actions=EventActions(state_delta=delta)))
            with pytest.raises(InvalidMessageError):
                await service.create_session(app_name="app", user_id="alice", state=delta)
        with pytest.raises(InvalidMessageError):
            await service.append_event(session, Event(author="a", content=content(call("c", x=float("nan")))))
        with pytest.raises(InvalidArgumentError):
            await service.create_session(app_name=5, user_id="u")  # type: ignore[arg-type] # the point of the test
        with pytest.raises(InvalidSessionIdError):
            await service.get_session(app_name="a", user_id="u", session_id="\ud800")
        assert said("x", partial=True).partial
        await service.append_event(session, said("x", partial=True, actions=EventActions(state_delta={"k": 9})))
        found = await seen_by(service)
        assert ([], {"k": 1}) == (found.events, found.state)
        assert ["s1"] == [one.id for one in (await service.list_sessions(app_name="app")).sessions]
        await service.delete_session(**NAMES)
        await service.delete_session(**NAMES)
        assert await service.get_session(**NAMES) is None
        with pytest.raises(SessionNotFoundError):
            await service.append_event(session, said("x", actions=EventActions(state_delta={"app:k": 1})))
        assert {} == (await service.create_session(**NAMES)).state
        assert 36 == len((await service.create_session(app_name="a", user_id="u", session_id=" ")).id)
        await service.flush()

    asyncio.run(main())
    with pytest.raises(InvalidArgumentError):
        PraisonSessionService(store=5)  # type: ignore[arg-type] # the point of the test


def test_an_event_given_again_is_stored_once(tmp_path: Path) -> None:
    """Goal: a repeat after an unknown outcome is safe. Method: the same event twice, by two session objects, and by parallel tasks."""
    async def main() -> None:
        service = service_at(tmp_path)
        session, event = await service.create_session(**NAMES), said("x")
        other = await seen_by(service)
        for one in (session, session, other):
            await service.append_event(one, event.model_copy(deep=True))
            assert [event] == one.events
        more = [said(f"{number}") for number in range(20)]
        await asyncio.gather(*(service.append_event(session, one) for one in more))
        stored = (await seen_by(service)).events
        assert stored == session.events
        assert {one.id for one in [event, *more]} == {one.id for one in stored}
        assert 21 == len(stored)

    asyncio.run(main())


def test_an_event_given_again_long_after_is_stored_once(tmp_path: Path) -> None:
    """Goal: a repeat undoes nothing. Method: an event with state of the app, behind a window of others, and then once more."""
    async def main() -> None:
        service = PraisonSessionService(DefaultSessionStore(tmp_path, max_messages=3))
        session = await service.create_session(**NAMES)
        events = [said(f"{number}", actions=EventActions(state_delta={"app:k": number})) for number in range(6)]
        for event in [*events, events[0]]:
            await service.append_event(session, event.model_copy(deep=True))
        found = await seen_by(service)
        assert [events, {"app:k": 5}] == [found.events, found.state]

    asyncio.run(main())


def test_the_event_loop_waits_for_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a slow disk stops no other task. Method: the threads of every call of the engine, in each call of the service."""
    async def main() -> None:
        service = service_at(tmp_path)
        engine, threads = service._store.engine, []
        for name in ("exists", "read", "whole", "update", "find", "delete"):
            asked = getattr(engine, name)
            monkeypatch.setattr(engine, name, lambda *args, asked=asked, **options: (threads.append(threading.current_thread()), asked(*args, **options))[1])
        session = await service.create_session(**NAMES, state={"app:k": 1})
        await service.append_event(session, said("x"))
        await service.append_event(await seen_by(service), said("y"))
        await service.append_event(session, said("z"))
        await service.list_sessions(app_name="app")
        await service.delete_session(**NAMES)
        assert threads
        assert threading.main_thread() not in threads

    asyncio.run(main())


def test_a_session_half_begun_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: no state is lost with a failure between two writes. Method: each write of `create_session` fails once; then a repeat."""
    async def main() -> None:
        for turn in range(3):
            service, names = service_at(tmp_path), {**NAMES, "session_id": f"s{turn}"}
            update, left = service._store.engine.update, [turn]

            def failing(*args: Any, update: Any = update, left: list[int] = left, **options: Any) -> Any:
                left[0] -= 1
                if left[0] == -1:
                    raise OSError("full")
                return update(*args, **options)

            monkeypatch.setattr(service._store.engine, "update", failing)
            state = {"k": turn, "app:k": turn, "user:k": turn}
            with pytest.raises(OSError, match="full"):
                await service.create_session(**names, state=state)
            await service.create_session(**names, state=state)
            assert state == (await service.get_session(**names)).state  # type: ignore[union-attr] # it is there

    asyncio.run(main())


def test_a_copy_elsewhere_is_not_listed(tmp_path: Path) -> None:
    """Goal: what is listed can be read. Method: a session's whole content under its id, outside of any app."""
    async def main() -> None:
        service = service_at(tmp_path)
        engine = service._store.engine
        await service.append_event(await service.create_session(**NAMES), said("x"))
        service._store.import_session(portable.exported(*engine.whole(session_key("app", "alice", "s1")), 100))  # type: ignore[misc] # it is there
        assert service._store.session_exists("s1")
        assert ["s1"] == [one.id for one in (await service.list_sessions(app_name="app")).sessions]

    asyncio.run(main())


def append_many(path: Path, number: int, together: Any) -> None:
    """Append events with state of every scope, as one of several processes."""
    async def main() -> None:
        service = service_at(path)
        session = await seen_by(service)
        together.wait(LONGEST_S)  # each has read before any of them adds
        for turn in range(10):
            name = f"{number}-{turn}"
            delta = {name: turn, f"app:{name}": turn, f"user:{name}": turn}
            await service.append_event(session, said(name, actions=EventActions(state_delta=delta)))

    asyncio.run(main())


def texts(session: Session) -> list[str]:
    """Return what the events of a session say first."""
    return [event.content.parts[0].text or "" for event in session.events if event.content and event.content.parts]


def test_D3_many_processes_share_a_session_that_each_read_before(tmp_path: Path) -> None:
    """Goal: every event and every delta lands, and none is refused as stale. Method: 4 processes of 10 events."""
    context = multiprocessing.get_context("spawn")
    ours = service_at(tmp_path)
    asyncio.run(ours.create_session(**NAMES))
    together = context.Barrier(4)
    workers = [context.Process(target=append_many, args=(tmp_path, number, together)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(LONGEST_S)
        assert 0 == worker.exitcode
    found = asyncio.run(seen_by(ours))
    names = [f"{number}-{turn}" for number in range(4) for turn in range(10)]
    assert names == sorted(texts(found))
    assert {prefix + name for name in names for prefix in ("", "app:", "user:")} == set(found.state)


RUN = """
import asyncio, sys, warnings
from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.genai import types
from praison_store.integrations.google_adk import PraisonSessionService
from stand_in import remembering

def greet(name: str) -> str:
    return f"Hello {name}"

class Model(BaseLlm):
    async def generate_content_async(self, llm_request, stream=False):
        parts = [part for one in llm_request.contents for part in one.parts]
        if parts[-1].text and "Greet" in parts[-1].text:
            call = types.FunctionCall(name="greet", args={"name": "Alice"})
            yield LlmResponse(content=types.Content(role="model", parts=[types.Part(function_call=call)]))
            return
        text = remembering([{"content": part.text or ""} for part in parts])
        yield LlmResponse(content=types.Content(role="model", parts=[types.Part(text=text)]))

async def main():
    service = PraisonSessionService() if sys.argv[1] == "ours" else InMemorySessionService()
    names = {"user_id": "alice", "session_id": "s1"}
    if await service.get_session(app_name="app", **names) is None:
        await service.create_session(app_name="app", **names)
    agent = LlmAgent(name="helper", model=Model(model="stand-in"), tools=[greet], output_key="last")
    runner = Runner(app_name="app", agent=agent, session_service=service)
    message = types.Content(role="user", parts=[types.Part(text=sys.argv[2])])
    async for event in runner.run_async(new_message=message, **names):
        if event.is_final_response():
            print("ANSWER", event.content.parts[0].text)
    session = await service.get_session(app_name="app", **names)
    print("LAST", session.state["last"])

asyncio.run(main())
"""


def test_a_real_runner_remembers_in_another_process(tmp_path: Path) -> None:
    """Goal: the documented example, which in memory forgets. Method: processes with a Runner, a tool and a model that listens; then our own Agent."""
    def answer(kind: str, prompt: str) -> str:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": ":".join([*sys.path, str(Path(__file__).parent)])}
        done = subprocess.run([sys.executable, "-c", RUN, kind, prompt], env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False, cwd=tmp_path)
        assert 0 == done.returncode, done.stderr[-2000:]
        return done.stdout

    assert "ANSWER Nice to meet you\nLAST Nice to meet you" in answer("ours", "Greet me: My name is Alice")
    assert "ANSWER Your name is Alice\nLAST Your name is Alice" in answer("ours", "What is my name?")
    assert "ANSWER You did not tell me" in answer("theirs", "What is my name?")
    store = DefaultSessionStore(tmp_path / ".praison" / "sessions")
    records = Transcript(session_key("app", "alice", "s1"), store).records()
    heard: list[Any] = []
    store.add_messages("s", to_openai_chat(records))
    Agent("a", llm=lambda messages: heard.extend(messages) or "x", session_id="s", store=store).chat("And?")
    assert ["user", "assistant", "tool", "assistant", "user", "assistant", "user"] == [message["role"] for message in heard]
    assert ("Hello Alice", "Your name is Alice") == (heard[2]["content"], heard[5]["content"])


def test_a_credential_in_an_event_comes_back(tmp_path: Path) -> None:
    """Goal: nested models come back as models. Method: an event that asks for a credential, compared as a model."""
    from google.adk.auth.auth_schemes import OpenIdConnectWithConfig
    from google.adk.auth.auth_tool import AuthConfig

    scheme = OpenIdConnectWithConfig(authorization_endpoint="https://a", token_endpoint="https://t", scopes=["s"])
    config = AuthConfig(auth_scheme=scheme, raw_auth_credential=AuthCredential(auth_type=AuthCredentialTypes.API_KEY, api_key="k"), credential_key="c")
    event = Event(author="helper", actions=EventActions(requested_auth_configs={"c1": config}))

    async def main() -> None:
        session = await service_at(tmp_path).create_session(**NAMES)
        await service_at(tmp_path).append_event(session, event.model_copy(deep=True))
        assert [event] == (await seen_by(service_at(tmp_path))).events

    asyncio.run(main())
