"""Strands Agents on our store: every message equal, ids that collide lose nothing, and a real Agent that remembers."""

from __future__ import annotations

import copy
import json
import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from stand_in import service
from strands.agent.conversation_manager import SlidingWindowConversationManager
from strands.session.file_session_manager import FileSessionManager
from strands.session.repository_session_manager import RepositorySessionManager
from strands.session.session_repository import SessionRepository
from strands.types.exceptions import SessionException
from strands.types.session import Session, SessionAgent, SessionMessage, SessionType
from test_message_forms import ITEMS

from praison_store import Agent, DefaultSessionStore, InvalidArgumentError, InvalidMessageError, InvalidSessionIdError
from praison_store.engines.sql import SqlEngine
from praison_store.integrations.strands import PraisonSessionRepository, agent_key
from praison_store.integrations.transcript import Transcript
from praison_store.model.formats import from_anthropic, from_responses, to_openai_chat

LONGEST_S = 120.0
BYTES = bytes(range(256))
MESSAGES: list[Any] = [
    {"role": "user", "content": [{"text": "Weather in Paris and Rome? ☂"}], "tracking_id": "m0"},
    {"role": "assistant", "content": [
        {"reasoningContent": {"reasoningText": {"text": "I look", "signature": "s"}}}, {"text": "I look."},
        {"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"city": "Paris", "days": 1.5, "nothing": None}, "reasoningSignature": "r"}},
        {"toolUse": {"toolUseId": "c2", "name": "weather", "input": "Rome"}}],
     "tracking_id": "m1", "metadata": {"usage": {"inputTokens": 1}}},
    {"role": "user", "content": [
        {"toolResult": {"toolUseId": "c1", "status": "success", "content": [{"text": "rain"}]}},
        {"toolResult": {"toolUseId": "c2", "status": "error", "content": [
            {"text": "Rome"}, {"json": {"sky": [1, None]}}, {"image": {"format": "png", "source": {"bytes": BYTES}}},
            {"document": {"format": "txt", "name": "d", "source": {"bytes": BYTES}}}, {"text": ""}]}},
        {"toolResult": {"toolUseId": "c3", "status": "success", "content": []}}, {"text": "Well?"}]},
    {"role": "assistant", "content": [{"text": ""}, {"text": "Rain"}, {"text": " and sun"}, {"cachePoint": {"type": "default"}}]},
    {"role": "user", "content": [{"text": "And this?"}, {"image": {"format": "jpeg", "source": {"bytes": BYTES}}},
                                 {"image": {"format": "png", "source": {"location": {"type": "s3", "uri": "s3://a"}}}},
                                 {"video": {"format": "mp4", "source": {"bytes": BYTES}}}, {"guardContent": {"text": {"text": "g"}}}]},
    {"role": "assistant", "content": [{"reasoningContent": {"redactedContent": b"\xff"}}]},
    {"role": "assistant", "content": []},
    {"role": "assistant", "content": [{"citationsContent": {"citations": [], "content": [{"text": "c"}]}}]},
]


def store_at(path: Path) -> DefaultSessionStore:
    """Return a store of its own that does not wait for the disk."""
    return DefaultSessionStore(path, durability="process")


def begun(repository: SessionRepository, session_id: str = "s", agent_id: str = "a") -> SessionRepository:
    """Return a repository with a session and an agent."""
    repository.create_session(Session(session_id=session_id, session_type=SessionType.AGENT))
    repository.create_agent(session_id, SessionAgent(agent_id, {"k": 1}, SlidingWindowConversationManager().get_state()))
    return repository


def said(text: str, message_id: int, tracking_id: str | None = None) -> SessionMessage:
    """Return a message of a user's."""
    message: Any = {"role": "user", "content": [{"text": text}], **({"tracking_id": tracking_id} if tracking_id else {})}
    return SessionMessage.from_message(message, message_id)


def texts(repository: SessionRepository, **options: Any) -> list[str]:
    """Return what the messages of the agent say first."""
    return [message.to_message()["content"][0]["text"] for message in repository.list_messages("s", "a", **options)]


@contextmanager
def repositories_of(engine: str, path: Path) -> Iterator[list[PraisonSessionRepository]]:
    """Run with two repositories that share the place of one kind of engine."""
    from sql_places import postgresql_url
    url = postgresql_url(path) if engine == "postgresql" else f"sqlite:///{path}/s.db"
    stores = [store_at(path) if engine == "json" else DefaultSessionStore(db=SqlEngine(url)) for _ in range(2)]
    yield [PraisonSessionRepository(store) for store in stores]
    for store in stores:
        store.close()


@pytest.mark.parametrize("engine", ["json", "sqlite", "postgresql"])
def test_every_message_comes_back_equal(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: exact, beyond the window too. Method: 8 kinds of messages sixteen times over, one in three redacted, read by another repository."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "contract"))
    with repositories_of(engine, tmp_path) as (ours, others):
        begun(ours)
        wanted = []
        for number in range(128):
            message = SessionMessage.from_message(copy.deepcopy(MESSAGES[number % 8]), number)
            if number % 3 == 0:
                message.redact_message = copy.deepcopy(MESSAGES[(number + 1) % 8])
            ours.create_message("s", "a", message)
            assert number == message.message_id
            wanted.append(copy.deepcopy(message))
        assert wanted == others.list_messages("s", "a")
        for offset, limit in ((0, 0), (0, 3), (5, 100), (120, None), (127, 5), (500, 5)):
            assert wanted[offset:None if limit is None else offset + limit] == others.list_messages("s", "a", limit=limit, offset=offset)
        assert [wanted[0], wanted[127], None] == [others.read_message("s", "a", number) for number in (0, 127, 128)]
        for number in (1, 2, 125):
            changed = copy.deepcopy(wanted[number])
            changed.redact_message, changed.created_at = {"role": "user", "content": [{"text": "[redacted]"}]}, "later"
            ours.update_message("s", "a", changed)
            assert wanted[number].created_at == changed.created_at
            wanted[number] = changed
        assert wanted == others.list_messages("s", "a")


def test_what_was_said_is_read_as_chat_and_what_was_redacted_is_not(tmp_path: Path) -> None:
    """Goal: other adapters read the talk. Method: the messages' records as OpenAI's chat takes them; a redacted one."""
    repository = begun(PraisonSessionRepository(store_at(tmp_path)))
    for number, message in enumerate(MESSAGES):
        repository.create_message("s", "a", SessionMessage.from_message(message, number))
    records = Transcript(agent_key("s", "a"), store_at(tmp_path)).records()
    talk = to_openai_chat(records)
    assert ["user", "assistant", "tool", "tool", "tool", "user", "assistant", "user"] == [message["role"] for message in talk]
    assert ["c1", "c2", "c3"] == [message["tool_call_id"] for message in talk[2:5]]
    assert ("rain", "", "Well?") == (talk[2]["content"], talk[4]["content"], talk[5]["content"])
    assert ["Rome", '{"sky": [1, null]}'] == [part["text"] for part in talk[3]["content"][:2]]
    assert "data:image/png;base64,AAECAwQ" == talk[3]["content"][2]["image_url"]["url"][:29]
    assert [{"city": "Paris", "days": 1.5, "nothing": None}, "Rome"] == [json.loads(call["function"]["arguments"]) for call in talk[1]["tool_calls"]]
    raw = next(tmp_path.glob("@strands%2F*/a.json")).read_bytes()
    assert 1 == raw.count("Weather in Paris and Rome? ☂".encode())
    redacted = SessionMessage.from_message(MESSAGES[0], 0)
    redacted.redact_message = {"role": "user", "content": [{"text": "[redacted]"}]}
    repository.update_message("s", "a", redacted)
    assert "[redacted]" == store_at(tmp_path).engine.history(agent_key("s", "a"), None)[0]["content"]
    assert redacted == repository.read_message("s", "a", 0)


def test_sessions_of_other_origin_are_read_as_messages(tmp_path: Path) -> None:
    """Goal: a talk begun elsewhere goes on. Method: chat, Responses items and Anthropic's parts under an agent's key, read as Bedrock's."""
    store = store_at(tmp_path)
    chat = [{"role": "system", "content": "Be brief"}, {"role": "user", "content": [{"type": "text", "text": "Rain?"}, {
        "type": "image_url", "image_url": {"url": "data:image/png;base64,+/8="}}]},
        {"role": "assistant", "content": "I look", "tool_calls": [
            {"id": one, "type": "function", "function": {"name": "sky", "arguments": '{"a": 1}'}} for one in ("c1", "c2")]},
        {"role": "tool", "tool_call_id": "c1", "content": "wet"}, {"role": "tool", "tool_call_id": "c2", "content": "dry"}]
    parts = [{"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "sky", "input": {"b": 2}}]},
             {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "dry"}]}]
    for agent_id, records in (("chat", chat), ("items", from_responses(ITEMS)), ("parts", from_anthropic(parts))):
        Transcript(agent_key("s", agent_id), store).append(records)
    repository = PraisonSessionRepository(store)
    found = [message.to_message() for message in repository.list_messages("s", "chat")]
    called = [{"toolUse": {"toolUseId": one, "name": "sky", "input": {"a": 1}}} for one in ("c1", "c2")]
    answered = [{"toolResult": {"toolUseId": one, "status": "success", "content": [{"text": text}]}} for one, text in (("c1", "wet"), ("c2", "dry"))]
    assert [{"role": "user", "content": [{"text": "Rain?"}, {"image": {"format": "png", "source": {"bytes": b"\xfb\xff"}}}]},
            {"role": "assistant", "content": [{"text": "I look"}, *called]}, {"role": "user", "content": answered}] == found
    calls = {block["toolUse"]["toolUseId"] for message in repository.list_messages("s", "items") for block in message.to_message()["content"] if "toolUse" in block}
    assert {item["call_id"] for item in ITEMS if item.get("type") == "function_call"} <= calls
    assert ["assistant", "user"] == [message.to_message()["role"] for message in repository.list_messages("s", "parts")]
    repository.create_session(Session("s", SessionType.AGENT))
    repository.create_agent("s", SessionAgent("chat", {}, {}))
    repository.create_message("s", "chat", said("And now?", 3))
    Transcript(agent_key("s", "chat"), store).append([{"role": "user", "content": "between"}])
    repository.create_message("s", "chat", said("Then?", 4, "t"))
    assert [0, 1, 2, 3, 4, 5] == [message.message_id for message in repository.list_messages("s", "chat")]
    then = said("Then?", 4, "t")
    then.redact_message = {"role": "user", "content": [{"text": "gone"}]}
    repository.update_message("s", "chat", then)
    last = [message.to_message()["content"][0]["text"] for message in repository.list_messages("s", "chat", offset=3)]
    assert ["And now?", "between", "gone"] == last


@pytest.mark.parametrize("number", range(3))
def test_a_message_that_was_edited_says_what_it_says_now(number: int, tmp_path: Path) -> None:
    """Goal: what stands beside hides no edit. Method: each kind, its words replaced in the session by another store's user."""
    text = ("my pin is 1234", "my secret pin number is 1234 and so on", "data:image/png;base64," + "MTIz" * 9)[number]
    store = store_at(tmp_path)
    repository, message = begun(PraisonSessionRepository(store)), SessionMessage.from_message({"role": "user", "content": [{"text": text}], "metadata": {"custom": {"of": text}}}, 0)
    repository.create_message("s", "a", message)
    assert [message] == repository.list_messages("s", "a")
    Transcript(agent_key("s", "a"), store).change(lambda records: [{**record, "content": "[removed]"} for record in records])
    assert ["[removed]"] == texts(repository)
    assert text not in str(repository.list_messages("s", "a"))


def test_a_colliding_id_is_numbered_anew_and_the_caller_knows(tmp_path: Path) -> None:
    """Goal: two who count for themselves lose nothing. Method: two repositories store 0, 1, 2 in turns, then redact their own last ones."""
    mine, others = (PraisonSessionRepository(store_at(tmp_path)) for _ in range(2))
    begun(mine)
    given = {name: [said(f"{name}{number}", number, f"{name}{number}") for number in range(3)] for name in ("m", "o")}
    for number in range(3):
        mine.create_message("s", "a", given["m"][number])
        others.create_message("s", "a", given["o"][number])
    assert ["m0", "o0", "m1", "o1", "m2", "o2"] == texts(mine)
    assert [0, 1, 2, 3, 4, 5] == [message.message_id for message in others.list_messages("s", "a")]
    assert [[0, 2, 4], [1, 3, 5]] == [[message.message_id for message in given[name]] for name in ("m", "o")]
    again = copy.deepcopy(given["o"][2])
    again.message_id = 2
    others.create_message("s", "a", again)
    assert (5, 6) == (again.message_id, len(texts(mine))), "the same message was stored twice"
    stale = said("o0", 0, "o0")  # its caller has not looked at the id it was given
    stale.redact_message = {"role": "user", "content": [{"text": "[o0]"}]}
    others.update_message("s", "a", stale)
    given["m"][2].redact_message = {"role": "user", "content": [{"text": "[m2]"}]}
    mine.update_message("s", "a", given["m"][2])
    assert ["m0", "[o0]", "m1", "o1", "[m2]", "o2"] == texts(others)
    assert [0, 1, 2, 3, 4, 5] == [message.message_id for message in mine.list_messages("s", "a")]


@pytest.mark.parametrize("window", [3, 100])
def test_a_message_is_listed_under_the_id_that_was_told(window: int, tmp_path: Path) -> None:
    """Goal: an update finds its message. Method: messages of other origin in front, between, and more than a window of them."""
    store = DefaultSessionStore(tmp_path, durability="process", max_messages=window)
    repository = begun(PraisonSessionRepository(store))
    talk, given = Transcript(agent_key("s", "a"), store), []
    for number, foreign in enumerate((1, 0, 2, 7, 0)):
        talk.append([{"role": "user", "content": f"other {number}.{one}"} for one in range(foreign)])
        given.append(said(f"mine {number}", given[-1].message_id + 1 if given else 0))
        repository.create_message("s", "a", given[-1])
    listed = repository.list_messages("s", "a")
    assert [one.message_id for one in listed] == sorted({one.message_id for one in listed})
    assert given == [one for one in listed if one.message["content"][0]["text"].startswith("mine")]
    assert given == [repository.read_message("s", "a", one.message_id) for one in given]


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_agent_begun_while_its_session_is_deleted_is_gone(when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a new session shows no old talk. Method: the deletion comes before or after the agent's write, by another repository."""
    repository, other = (PraisonSessionRepository(store_at(tmp_path)) for _ in range(2))
    repository.create_session(Session(session_id="s", session_type=SessionType.AGENT))
    update = repository._store.engine.update

    def racing(*args: Any, **options: Any) -> Any:
        if when == "before":
            other.delete_session("s")
        stored = update(*args, **options)
        if when == "after":
            other.delete_session("s")
        return stored

    monkeypatch.setattr(repository._store.engine, "update", racing)
    with pytest.raises(SessionException):
        repository.create_agent("s", SessionAgent("a", {}, {}))
    monkeypatch.undo()
    repository.create_session(Session(session_id="s", session_type=SessionType.AGENT))
    assert repository.read_agent("s", "a") is None


def test_a_deletion_takes_an_agent_begun_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: as before. Method: another begins an agent and speaks just before the session itself is deleted."""
    repository, other = (PraisonSessionRepository(store_at(tmp_path)) for _ in range(2))
    repository.create_session(Session(session_id="s", session_type=SessionType.AGENT))
    delete = repository._store.engine.delete

    def racing(*args: Any) -> bool:
        other.create_agent("s", SessionAgent("a", {}, {}))
        other.create_message("s", "a", said("old", 0))
        monkeypatch.undo()
        return delete(*args)

    monkeypatch.setattr(repository._store.engine, "delete", racing)
    repository.delete_session("s")
    assert repository.read_agent("s", "a") is None


def test_agents_and_sessions_are_kept_and_errors_are_those_of_strands(tmp_path: Path) -> None:
    """Goal: the contract of FileSessionManager. Method: each call on what is there and on what is not; on ours and on theirs."""
    ours, theirs = PraisonSessionRepository(store_at(tmp_path / "o")), FileSessionManager("other", storage_dir=str(tmp_path / "t"))
    for repository in (ours, theirs):
        session = Session(session_id="s", session_type=SessionType.AGENT)
        assert repository.read_session("s") is None
        assert session is repository.create_session(session)
        assert session == repository.read_session("s")
        with pytest.raises(SessionException):
            repository.create_session(session)
        agent = SessionAgent("a", {"k": [1, None, b"\xff"]}, {"c": 1}, {"i": {}})
        assert repository.read_agent("s", "a") is None
        with pytest.raises(SessionException):
            repository.update_agent("s", agent)
        with pytest.raises(SessionException):
            repository.list_messages("s", "a")
        with pytest.raises(SessionException):
            repository.update_message("s", "a", said("x", 0))
        repository.create_agent("s", agent)
        assert agent == repository.read_agent("s", "a")
        assert [] == repository.list_messages("s", "a")
        newer = SessionAgent("a", {"k": 2}, {}, {}, created_at="later")
        repository.update_agent("s", newer)
        assert agent.created_at == newer.created_at
        assert newer == repository.read_agent("s", "a")
        assert repository.read_message("s", "a", 0) is None
        with pytest.raises(SessionException):
            repository.update_message("s", "a", said("x", 0))
        with pytest.raises(ValueError):
            repository.read_message("s", "a", "0")  # type: ignore[arg-type] # the point of the test
        repository.create_message("s", "a", said("x", 0))
        repository.delete_session("s")
        assert (None, None, None) == (repository.read_session("s"), repository.read_agent("s", "a"), repository.read_message("s", "a", 0))
        with pytest.raises(SessionException):
            repository.delete_session("s")
    for call in (lambda: ours.create_agent("s", agent), lambda: ours.create_message("s", "a", said("x", 0))):
        with pytest.raises(SessionException):
            call()


def test_an_agent_two_processes_begin_keeps_the_first_state(tmp_path: Path) -> None:
    """Goal: what was acknowledged stays. Method: create, update, create again; on theirs the update is lost."""
    states = []
    for repository in (PraisonSessionRepository(store_at(tmp_path / "o")), FileSessionManager("x", storage_dir=str(tmp_path / "t"))):
        begun(repository)
        repository.update_agent("s", SessionAgent("a", {"k": 2}, {}))
        repository.create_agent("s", SessionAgent("a", {"k": 1}, {}))
        found = repository.read_agent("s", "a")
        assert found is not None
        states.append(found.state)
    assert [{"k": 2}, {"k": 1}] == states


class Graph:
    """Several agents, as far as a repository asks of them."""

    def __init__(self, name: str, state: Any) -> None:
        self.id, self.state = name, state

    def serialize_state(self) -> Any:
        """Return the state."""
        return self.state


def test_the_state_of_several_agents_is_kept(tmp_path: Path) -> None:
    """Goal: the three optional methods. Method: absent, begun, begun again by another, updated, of two sessions."""
    repository = begun(PraisonSessionRepository(store_at(tmp_path)))
    graph: Any = Graph("g/1", {"nodes": [1, None]})
    assert repository.read_multi_agent("s", "g/1") is None
    with pytest.raises(SessionException):
        repository.update_multi_agent("s", graph)
    repository.create_multi_agent("s", graph)
    repository.create_multi_agent("s", Graph("g/1", {"other": 1}))  # type: ignore[arg-type] # it asks no more of it
    assert {"nodes": [1, None]} == repository.read_multi_agent("s", "g/1")
    graph.state = {"nodes": []}
    repository.update_multi_agent("s", graph)
    assert {"nodes": []} == repository.read_multi_agent("s", "g/1")
    assert repository.read_multi_agent("s/g", "1") is None
    with pytest.raises(SessionException):
        repository.create_multi_agent("none", graph)
    for bad in ([1], {"k": float("nan")}):
        graph.state = bad
        with pytest.raises((InvalidArgumentError, InvalidMessageError)):
            repository.update_multi_agent("s", graph)
    assert {"nodes": []} == repository.read_multi_agent("s", "g/1")


def test_D4_no_two_names_are_one_agent(tmp_path: Path) -> None:
    """Goal: injective. Method: ids that would be one text if joined, and kinds that would be; each keeps its own."""
    repository = PraisonSessionRepository(store_at(tmp_path))
    names = [("a/b", "c"), ("a", "b/c"), ("a:b", "c"), ("a", "b:c"), ("a%2Fb", "c"), ("A/b", "c"), (" a", "b"), ("a", " b"), ("x" * 300, "y" * 300),
             ("multi_agents/a", "c"), (".sessions", "a")]
    for session_id, agent_id in names:
        if repository.read_session(session_id) is None:
            repository.create_session(Session(session_id, SessionType.AGENT))
        repository.create_agent(session_id, SessionAgent(agent_id, {"name": [session_id, agent_id]}, {}))
        repository.create_multi_agent(session_id, Graph(agent_id, {"graph": [session_id, agent_id]}))  # type: ignore[arg-type] # it asks no more of it
        repository.create_message(session_id, agent_id, said(session_id + agent_id, 0))
    for session_id, agent_id in names:
        agent = repository.read_agent(session_id, agent_id)
        assert agent is not None
        assert {"name": [session_id, agent_id]} == agent.state
        assert {"graph": [session_id, agent_id]} == repository.read_multi_agent(session_id, agent_id)
        assert 1 == len(repository.list_messages(session_id, agent_id))
    repository.delete_session("a")
    assert repository.read_agent("a/b", "c") is not None
    assert repository.read_agent("a", "b/c") is None


@pytest.mark.parametrize("bad", [
    {"role": "user", "content": "text"}, {"role": "user", "content": [5]}, {"content": []}, 5,
    {"role": "user", "content": [{"text": "\ud800"}]}, {"role": "user", "content": [{"text": "x", "n": float("nan")}]},
    {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c", "name": "n", "input": {"x": float("nan")}}}]},
    {"role": "user", "content": [{"json": {"x": 2**70}}]}, {"role": "user", "content": [{"text": "x"}], "metadata": {"k": {1}}}])
def test_D6_what_is_no_message_is_refused_whole(bad: Any, tmp_path: Path) -> None:
    """Goal: nothing half stored. Method: each bad message, stored and as an update of a good one."""
    repository = begun(PraisonSessionRepository(store_at(tmp_path)))
    repository.create_message("s", "a", said("good", 0))
    for call in (repository.create_message, repository.update_message):
        with pytest.raises(InvalidMessageError):
            call("s", "a", SessionMessage.from_message(bad, 0))
    for number in (-1, True, "0", None):
        with pytest.raises(InvalidArgumentError):
            repository.create_message("s", "a", SessionMessage.from_message(MESSAGES[0], number))  # type: ignore[arg-type] # the point of the test
    assert ["good"] == texts(repository)


def test_a_store_or_an_id_that_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    """Goal: the mistake is told where it is made. Method: each, wrong."""
    with pytest.raises(InvalidArgumentError):
        PraisonSessionRepository(store=5)  # type: ignore[arg-type] # the point of the test
    repository = PraisonSessionRepository(store_at(tmp_path))
    for bad in ("", 5, None, "\ud800"):
        for call in (repository.read_session, lambda one: repository.read_agent(one, "a"), lambda one: repository.read_agent("s", one)):
            with pytest.raises(InvalidSessionIdError):
                call(bad)  # type: ignore[no-untyped-call] # the same
    assert [] == [path.name for path in tmp_path.iterdir() if path.suffix == ".json"]


def speak(path: Path, number: int, together: Any) -> None:
    """Say 25 things through Strands' managers, ours and theirs, as one of several processes that began at once."""
    from strands import Agent as StrandsAgent

    managers = [RepositorySessionManager("s", PraisonSessionRepository(store_at(path))), FileSessionManager("s", storage_dir=str(path / "theirs"))]
    for manager in managers:
        agent = StrandsAgent(agent_id="a", session_manager=manager, callback_handler=None)
        together.wait(LONGEST_S)  # each has counted before any of them adds
        for turn in range(25):
            manager.append_message({"role": "user", "content": [{"text": f"{number}-{turn}"}], "tracking_id": f"{number}-{turn}"}, agent)
        manager.redact_latest_message({"role": "user", "content": [{"text": f"redacted {number}"}], "tracking_id": f"{number}-24"}, agent)


def test_D3_many_processes_share_an_agent_where_strands_own_loses_messages(tmp_path: Path) -> None:
    """Goal: every message, each process's in order, each redaction on its own. Method: 4 processes of 25 messages, on ours and on FileSessionManager."""
    ours, theirs = PraisonSessionRepository(store_at(tmp_path)), FileSessionManager("s", storage_dir=str(tmp_path / "theirs"))
    begun(ours)
    theirs.create_agent("s", SessionAgent("a", {}, SlidingWindowConversationManager().get_state()))
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(4)
    workers = [context.Process(target=speak, args=(tmp_path, number, together)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(LONGEST_S)
        assert 0 == worker.exitcode
    kept = texts(ours)
    for number in range(4):
        mine = [*(f"{number}-{turn}" for turn in range(24)), f"redacted {number}"]
        assert mine == [text for text in kept if text in mine]
    assert 100 == len(kept)
    assert list(range(100)) == [message.message_id for message in ours.list_messages("s", "a")]
    assert len(texts(theirs)) < 100, "the comparison is void"


RUN = """
import sys
from strands import Agent, tool
from strands.models.openai import OpenAIModel
from strands.session.repository_session_manager import RepositorySessionManager
from praison_store.integrations.strands import PraisonSessionRepository

@tool
def greet(name: str) -> str:
    "Greet somebody."
    return f"Hello {name}"

manager = RepositorySessionManager("s1", session_repository=PraisonSessionRepository())
agent = Agent(model=OpenAIModel(model_id="m", stream=False), agent_id="a", session_manager=manager, tools=[greet], callback_handler=None)
agent.state.set("count", (agent.state.get("count") or 0) + 1)
print("ANSWER", agent(sys.argv[1]), agent.state.get("count"))
"""


def test_a_real_agent_remembers_in_another_process(tmp_path: Path) -> None:
    """Goal: the documented example. Method: processes with a Strands Agent, a tool, and a stand-in for the model's service; then our own Agent."""
    calls = [{"id": "c1", "type": "function", "function": {"name": "greet", "arguments": '{"name": "Alice"}'}}]
    with service() as model:
        model.script.append(lambda request: {"role": "assistant", "content": None, "tool_calls": calls})
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OPENAI_BASE_URL": f"{model.url}/v1", "OPENAI_API_KEY": "none", "PYTHONPATH": ":".join(sys.path)}
        for prompt, answer in (("My name is Alice", "Nice to meet you\n 1"), ("What is my name?", "Your name is Alice\n 2")):
            done = subprocess.run([sys.executable, "-c", RUN, prompt], env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False, cwd=tmp_path)
            assert 0 == done.returncode, done.stderr[-2000:]
            assert f"ANSWER {answer}" in done.stdout
    store = DefaultSessionStore(tmp_path / ".praison" / "sessions")
    heard: list[Any] = []
    store.add_messages("s", to_openai_chat(Transcript(agent_key("s1", "a"), store).records()))
    Agent("a", llm=lambda messages: heard.extend(messages) or "x", session_id="s", store=store).chat("And?")
    assert ["user", "assistant", "tool", "assistant", "user", "assistant", "user"] == [message["role"] for message in heard]
    assert ("Hello Alice", "Your name is Alice") == (heard[2]["content"], heard[5]["content"])
