"""Pydantic AI on our store: every entry as it was, exact compare-and-set, and a real agent that remembers elsewhere."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import multiprocessing
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent, BinaryContent, ImageUrl, ToolCallPart
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationEntry,
    ConversationRecord,
    ConversationStore,
    InMemoryConversationStore,
)
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.usage import RequestUsage, RunUsage
from test_message_forms import ANTHROPIC, CHAT, ITEMS

from praison_store import DefaultSessionStore, InvalidArgumentError, InvalidMessageError, InvalidSessionIdError
from praison_store.integrations.openai_agents import PraisonSession
from praison_store.integrations.pydantic_ai import PraisonConversationStore
from praison_store.integrations.transcript import Transcript
from praison_store.model.formats import from_anthropic, to_openai_chat
from praison_store.model.message import records_of

sys.path.append(str(Path(__file__).parents[1] / "contract"))
from places import EACH, ENGINES

LONGEST_S = 120.0
LONG = "a text that is long enough to be kept only once"
PICTURE = b"\xfb\xff\xfe" * 40
WHEN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)
CALL = ToolCallPart("weather", {"city": "Oslo", "note": LONG}, "c1")
MESSAGES: list[ModelMessage] = [
    ModelRequest([SystemPromptPart(LONG, timestamp=WHEN), UserPromptPart("hi", timestamp=WHEN)], instructions=LONG, timestamp=WHEN),
    ModelResponse([ThinkingPart(LONG, signature="s"), TextPart(LONG), TextPart("and"), CALL, ToolCallPart("f", '{"a": 1}', "c2"), ToolCallPart("g", None, "c3")], timestamp=WHEN, model_name="m", usage=RequestUsage(input_tokens=3)),
    ModelRequest([ToolReturnPart("weather", {"sky": LONG, "at": [1, 2.5, None]}, "c1", timestamp=WHEN, metadata={"k": LONG}), ToolReturnPart("f", LONG, "c2", timestamp=WHEN), ToolReturnPart("g", "", "c3", timestamp=WHEN)]),
    ModelRequest([UserPromptPart(["look", ImageUrl("https://x/y.png"), BinaryContent(PICTURE, media_type="image/png"), BinaryContent(b"%PDF", media_type="application/pdf")], timestamp=WHEN)]),
    ModelResponse([TextPart('{"$at": [0, "content"], "$as": "json"}')], timestamp=WHEN),
    ModelRequest([UserPromptPart("tell", timestamp=WHEN)], metadata={"$at": [0, "content"], "n": {"$at": ["x"]}}),
    ModelResponse([], timestamp=WHEN),
    ModelRequest([]),
]
EXACT = ModelMessagesTypeAdapter.validate_json(ModelMessagesTypeAdapter.dump_json(MESSAGES))


def store_at(path: Path, **options: Any) -> PraisonConversationStore:
    """Return a store of its own that does not wait for the disk."""
    return PraisonConversationStore(DefaultSessionStore(path, durability="process", **options))


def chain(messages: list[ModelMessage], parent: str | None = None) -> list[ConversationEntry]:
    """Return entries of messages, each after the one before."""
    entries: list[ConversationEntry] = []
    for message in messages:
        entries.append(ConversationEntry(parent_id=entries[-1].id if entries else parent, message=message))
    return entries


def asked(text: str) -> ModelMessage:
    """Return a user's message."""
    return ModelRequest([UserPromptPart(text, timestamp=WHEN)])


def texts(messages: list[ModelMessage]) -> list[Any]:
    """Return what is said, part by part."""
    return [getattr(part, "content", None) for message in messages for part in message.parts]


@pytest.mark.parametrize("engine", EACH)
def test_every_message_comes_back_on_every_engine(engine: str, tmp_path: Path) -> None:
    """Goal: exact, beyond the window too, and readable as chat. Method: kinds of parts three times over; a new object reads."""
    place = ENGINES[engine](tmp_path)
    ours = PraisonConversationStore(DefaultSessionStore(db=place, max_messages=4, retention="truncate"))
    reader = PraisonConversationStore(ours._store)

    async def main() -> None:
        entries = chain(MESSAGES * 3)
        record = ConversationRecord(conversation_id="a/b:c", head_id=entries[11].id, usage=RunUsage(input_tokens=5, details={"x": 1}), scope="u")
        await ours.write_record(record, new_entries=entries[:12], expected_revision=None)
        after = dataclasses.replace(record, head_id=entries[-1].id, revision="r2")
        await ours.write_record(after, new_entries=entries[12:], expected_revision=record.revision)
        assert after == await reader.read_record("a/b:c")
        want = [dataclasses.replace(entry, message=message) for entry, message in zip(entries, EXACT * 3, strict=True)]
        assert want == await reader.read_history(after.head_id)
        assert want[:5] == await reader.read_history(want[4].id)
        for limit in (0, 1, 3, 23, 24, 25):
            assert want[len(want) - min(limit, 24):] == await reader.read_history(after.head_id, limit=limit)
        assert want[13] == await PraisonConversationStore(ours._store).read_entry(want[13].id)
        assert [after] == await reader.read_records(scope="u") == await reader.read_records()
        assert [] == await reader.read_records(scope="v")
        assert await reader.read_record("a") is None
        await reader.delete_record("a/b:c", expected_revision="r2")
        assert await ours.read_record("a/b:c") is None
        assert [] == await ours.read_records()
        with pytest.raises(KeyError):
            await ours.read_entry(want[13].id)
        await ours.write_record(after, new_entries=entries, expected_revision=None)
        assert want == await reader.read_history(after.head_id)

    asyncio.run(main())
    place.close()


def test_a_conversation_is_read_as_chat_and_no_long_text_is_kept_twice(tmp_path: Path) -> None:
    """Goal: other adapters read it. Method: the chat form of the same messages, and a count of the text in the file."""
    async def main() -> None:
        entries = chain(MESSAGES[:4])
        await store_at(tmp_path).write_record(ConversationRecord(conversation_id="s", head_id=entries[-1].id), new_entries=entries, expected_revision=None)

    asyncio.run(main())
    said = to_openai_chat(DefaultSessionStore(tmp_path).get_session("s").to_dict()["messages"])
    assert ["system", "user", "assistant", "tool", "tool", "tool", "user"] == [message["role"] for message in said]
    assert [{"type": "text", "text": LONG}, {"type": "text", "text": "and"}] == said[2]["content"]
    assert ["c1", "c2", "c3"] == [call["id"] for call in said[2]["tool_calls"]] == [message["tool_call_id"] for message in said[3:6]]
    assert ["text", "image_url", "image_url"] == [part["type"] for part in said[-1]["content"]]
    raw = (tmp_path / "s.json").read_text()
    # In our form: the system text, an answer, the arguments of a call, two results; what stands beside it points there.
    assert 5 == raw.count(LONG)
    assert 1 == raw.count(base64.b64encode(PICTURE).decode()) + raw.count(base64.urlsafe_b64encode(PICTURE).decode())


@pytest.mark.parametrize("origin", ["chat", "responses", "anthropic"])
def test_what_others_wrote_is_a_conversation(origin: str, tmp_path: Path) -> None:
    """Goal: one session, many adapters. Method: chat, items, Anthropic's; loaded, gone on with by an agent, and left as it was."""
    store = DefaultSessionStore(tmp_path, max_messages=3)
    if origin == "chat":
        store.add_messages("s", [*CHAT, {"role": "user", "content": "yes"}, {"role": "user", "content": "yes"}])
    elif origin == "responses":
        asyncio.run(PraisonSession("s", store).add_items(ITEMS))  # type: ignore[arg-type] # any dict
    else:
        Transcript("s", store).append(records_of(from_anthropic(ANTHROPIC, "Be brief."), 5.0))
    before = Transcript("s", store).records()

    async def main() -> list[ModelMessage]:
        ours = PraisonConversationStore(store)
        loaded = await ours.load("s")
        assert loaded is not None
        again = await PraisonConversationStore(store).load("s")
        assert again == loaded
        assert again is not loaded
        entries = await ours.load_entries("s")
        assert entries is not None
        assert len(entries) == len({entry.id for entry in entries})
        calls = {part.tool_call_id: part.tool_name for message in loaded.messages for part in message.parts if isinstance(part, ToolCallPart)}
        answered = {part.tool_call_id: part.tool_name for message in loaded.messages for part in message.parts if isinstance(part, ToolReturnPart)}
        assert calls
        assert calls == answered
        done = await Agent(TestModel(custom_output_text="fine")).run("go on", conversation=loaded)
        assert 2 == len(await ours.save(done))
        whole = await PraisonConversationStore(store).load("s")
        assert whole is not None
        assert [*loaded.messages, *done.conversation.messages[-2:]] == whole.messages
        store.add_user_message("s", "from elsewhere")
        with pytest.raises(ConversationConflict):
            await ours.save(done.conversation)
        after = await ours.load("s")
        assert after is not None
        branched = await ours.branch("s", at=len(whole.messages) - 1, expected_revision=after.revision)
        assert whole.messages[:-1] == branched.messages
        return whole.messages

    assert "go on" in texts(asyncio.run(main()))
    assert before == Transcript("s", store).records()[: len(before)]


def talk(path: Path, number: int) -> None:
    """Add turns to one conversation, as one of several processes: load, add, save; again where another was first."""
    async def main() -> None:
        store = store_at(path, max_messages=6)
        for turn in range(5):
            while True:
                conversation = await store.load("s") or Conversation(conversation_id="s")
                conversation.messages += [asked(f"{number}-{turn}"), ModelResponse([TextPart(f"{number}-{turn}")])]
                try:
                    await store.save(conversation)
                except ConversationConflict:
                    continue
                break

    asyncio.run(main())


def run_all(target: Any, path: Path, count: int) -> None:
    """Run processes of a function to their end."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=target, args=(path, number)) for number in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(LONGEST_S)
        assert 0 == worker.exitcode


def test_D3_many_processes_share_a_conversation(tmp_path: Path) -> None:
    """Goal: every turn, each pair together. Method: 4 processes of 5 turns."""
    run_all(talk, tmp_path, 4)
    loaded = asyncio.run(store_at(tmp_path).load("s"))
    assert loaded is not None
    said = texts(loaded.messages)
    assert said[::2] == said[1::2]
    assert sorted(f"{number}-{turn}" for number in range(4) for turn in range(5)) == sorted(said[::2])


@pytest.mark.parametrize("engine", ["json_files", "jsonl", "sqlite", "postgresql", "memory"])
def test_D3_of_two_that_expect_one_revision_one_writes(engine: str, tmp_path: Path) -> None:
    """Goal: compare-and-set. Method: 8 writers at once with one revision, three rounds; the losers' entries are nowhere."""
    place = ENGINES[engine](tmp_path)
    store = DefaultSessionStore(db=place)
    ours = [PraisonConversationStore(store) for _ in range(8)]

    async def main() -> None:
        expected, head = None, None
        for round_ in range(3):
            tries = [chain([asked(f"{round_}-{number}")], head) for number in range(8)]
            records = [ConversationRecord(conversation_id="s", head_id=entries[-1].id) for entries in tries]
            done = await asyncio.gather(*(one.write_record(record, new_entries=entries, expected_revision=expected)
                                          for one, record, entries in zip(ours, records, tries, strict=True)), return_exceptions=True)
            won = [index for index, result in enumerate(done) if result is None]
            assert 1 == len(won)
            assert all(isinstance(result, ConversationConflict) for index, result in enumerate(done) if index not in won)
            for index, entries in enumerate(tries):
                if index not in won:
                    with pytest.raises(KeyError):
                        await ours[0].read_entry(entries[0].id)
            expected, head = records[won[0]].revision, records[won[0]].head_id
        assert 3 == len(await ours[0].read_history(head))
        stale = await asyncio.gather(*(one.delete_record("s", expected_revision=str(expected)) for one in ours), return_exceptions=True)
        assert 1 == sum(result is None for result in stale)

    asyncio.run(main())
    place.close()


@pytest.mark.parametrize("kind", ["ours", "theirs"])
def test_branches_and_forks_are_what_the_frameworks_own_store_makes_of_them(kind: str, tmp_path: Path) -> None:
    """Goal: the same behaviour, call by call. Method: one scenario for both stores."""
    store: ConversationStore = store_at(tmp_path, max_messages=2) if kind == "ours" else InMemoryConversationStore()

    async def said(conversation_id: str) -> list[Any]:
        loaded = await store.load(conversation_id)
        return [] if loaded is None else texts(loaded.messages)

    async def main() -> None:
        first = Conversation(conversation_id="s", messages=[asked(str(number)) for number in range(6)])
        entries = await store.save(first, scope="u")
        assert [] == await store.save(first)
        branched = await store.branch("s", at=2, expected_revision=first.revision)
        branched.messages.append(asked("other"))
        assert 1 == len(await store.save(branched))
        assert ["0", "1", "other"] == await said("s")
        record = await store.read_record("s")
        assert record is not None
        assert [entries[-1].id] == record.branches
        fork = await store.fork("s", from_entry=entries[3].id, new_conversation_id="f")
        assert ["0", "1", "2", "3"] == texts(fork.messages) == await said("f")
        back = await store.branch("s", from_entry=entries[-1].id, expected_revision=branched.revision)
        assert [str(number) for number in range(6)] == texts(back.messages) == await said("s")
        rewritten = Conversation(conversation_id="s", messages=[asked("0"), asked("new")], revision=back.revision)
        assert 1 == len(await store.save(rewritten))
        assert ["0", "new"] == await said("s")
        again = await store.branch("s", from_entry=entries[-1].id, expected_revision=rewritten.revision)
        assert 6 == len(again.messages)
        with pytest.raises(ConversationConflict):
            await store.branch("s", at=1, expected_revision="x")
        with pytest.raises(ConversationConflict):
            await store.save(Conversation(conversation_id="s", messages=[asked("x")]))
        with pytest.raises(ConversationConflict):
            await store.write_record(ConversationRecord(conversation_id="n", head_id="nowhere"), expected_revision=None)
        await store.delete("s", scope="v")
        assert 6 == len(await said("s"))
        await store.delete("s", scope="u")
        assert [] == await said("s")
        assert ["0", "1", "2", "3"] == await said("f")
        assert ["f"] == [record.conversation_id for record in await store.list_conversations(scope="u")]
        assert entries[2] == await store.read_entry(entries[2].id)
        with pytest.raises(KeyError):
            await store.read_entry(entries[5].id)

    asyncio.run(main())


def test_conversations_are_listed_newest_first(tmp_path: Path) -> None:
    """Goal: the order of `updated_at`, whatever the order of writing. Method: 250 of two scopes, one in two deleted."""
    async def main() -> None:
        store = store_at(tmp_path)
        for number in range(120):
            when = WHEN + timedelta(seconds=number * 7 % 120)
            await store.write_record(ConversationRecord(conversation_id=f"s{number}", head_id=None, scope="uv"[number % 2], updated_at=when, revision="r"), expected_revision=None)
        for number in range(0, 120, 4):
            await store.delete_record(f"s{number}", expected_revision="r")
        listed = await store.list_conversations()
        assert 90 == len(listed)
        assert sorted((record.updated_at for record in listed), reverse=True) == [record.updated_at for record in listed]
        assert listed[:7] == await store.list_conversations(limit=7)
        assert [record for record in listed if record.scope == "u"] == await store.list_conversations(scope="u")
        assert [] == await store.list_conversations(limit=0)

    asyncio.run(main())


def test_a_list_shows_every_conversation_once_while_others_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: none twice, none missing. Method: 105 conversations; another process writes to the oldest behind each look."""
    kept = DefaultSessionStore(tmp_path, durability="process")
    for number in range(105):
        kept.add_user_message(f"s{number}", "q")
    find = kept.engine.find

    def written_behind(**options: Any) -> Any:
        found = list(find(**options))
        kept.add_user_message("s0", "again")
        return found

    monkeypatch.setattr(kept.engine, "find", written_behind)
    listed = [record.conversation_id for record in asyncio.run(PraisonConversationStore(kept).read_records())]
    assert sorted(f"s{number}" for number in range(105)) == sorted(listed)


@pytest.mark.parametrize("bad", [{"x": 2**70}, {"x": object()}, {"x": "\ud800"}])
def test_D6_what_would_not_read_back_is_refused_whole(bad: dict[str, Any], tmp_path: Path) -> None:
    """Goal: nothing half stored. Method: a good message in front of each bad one."""
    entries = chain([asked("x"), ModelResponse([ToolCallPart("f", bad)])])
    record = ConversationRecord(conversation_id="s", head_id=entries[-1].id)
    with pytest.raises(InvalidMessageError):
        asyncio.run(store_at(tmp_path).write_record(record, new_entries=entries, expected_revision=None))
    assert asyncio.run(store_at(tmp_path).load("s")) is None


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    """Goal: the mistake is told where it is made. Method: each, wrong."""
    with pytest.raises(InvalidArgumentError):
        PraisonConversationStore(store=5)  # type: ignore[arg-type] # the point of the test
    with pytest.raises(InvalidArgumentError):
        asyncio.run(store_at(tmp_path).write_record({}, expected_revision=None))  # type: ignore[arg-type] # the same
    with pytest.raises(InvalidSessionIdError):
        asyncio.run(store_at(tmp_path).load(""))


RUN = """
import asyncio, sys
from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import InMemoryConversationStore
from pydantic_ai.models.function import FunctionModel
from praison_store.integrations.pydantic_ai import PraisonConversationStore
from test_pydantic_ai import turn

for store in (PraisonConversationStore(), InMemoryConversationStore()):
    print("ANSWER", type(store).__name__, asyncio.run(turn(store, sys.argv[1])))
"""


async def turn(store: ConversationStore, prompt: str) -> str:
    """Run an agent for one turn, as its documentation does."""
    conversation = await store.load("s1", scope="alice") or Conversation(conversation_id="s1")
    result = await Agent(FunctionModel(remembering)).run(prompt, conversation=conversation)
    await store.save(result, scope="alice")
    return result.output


def remembering(messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
    """Answer as a model that listens."""
    from stand_in import remembering as answer

    said = [{"content": text} for text in texts(messages) if isinstance(text, str)]
    return ModelResponse([TextPart(answer(said))])


def test_a_real_agent_remembers_in_another_process(tmp_path: Path) -> None:
    """Goal: the documented example; the framework ships nothing that does. Method: a turn here, a turn there, ours and its own store."""
    directory = tmp_path / ".praison" / "sessions"
    for store in (PraisonConversationStore(DefaultSessionStore(directory)), InMemoryConversationStore()):
        assert "Nice to meet you" == asyncio.run(turn(store, "My name is Alice"))
        assert "Your name is Alice" == asyncio.run(turn(store, "What is my name?"))
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", RUN, "What is my name?"], env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False, cwd=tmp_path)
    assert 0 == done.returncode, done.stderr[-2000:]
    assert "ANSWER PraisonConversationStore Your name is Alice" in done.stdout
    assert "ANSWER InMemoryConversationStore You did not tell me" in done.stdout
    said = DefaultSessionStore(directory).get_chat_history("s1")
    assert ["user", "assistant"] * 3 == [message["role"] for message in said]
    assert "Your name is Alice" == said[-1]["content"]


def test_a_paused_run_is_resumed_elsewhere(tmp_path: Path) -> None:
    """Goal: what a run waits for is kept. Method: a tool that needs approval; a second store loads and answers it."""
    from pydantic_ai import DeferredToolRequests

    agent = Agent(TestModel(), output_type=[str, DeferredToolRequests])

    @agent.tool_plain(requires_approval=True)
    def pay(euros: int) -> str:
        return f"paid {euros}"

    async def main() -> None:
        paused = await agent.run("pay", conversation=Conversation(conversation_id="s"))
        await store_at(tmp_path).save(paused)
        store = store_at(tmp_path)
        loaded = await store.load("s")
        assert loaded is not None
        assert loaded.deferred_tool_requests is not None
        results = loaded.deferred_tool_requests.build_results(approve_all=True)
        done = await agent.run(conversation=loaded, deferred_tool_results=results)
        await store.save(done)
        after = await store_at(tmp_path).load("s")
        assert after is not None
        assert after.deferred_tool_requests is None
        assert "paid 0" in texts(after.messages)

    asyncio.run(main())


def test_an_agent_with_a_function_model_is_real() -> None:
    """Goal: the stand-in can say that it was not told. Method: ask it at once."""
    assert "You did not tell me" == Agent(FunctionModel(remembering)).run_sync("What is my name?").output
