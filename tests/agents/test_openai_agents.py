"""The OpenAI Agents SDK on our store: every item as it was, many processes at once, and a real Runner that remembers."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from agents import SQLiteSession
from agents.memory import Session, SessionSettings
from stand_in import service
from test_message_forms import ITEMS

from praison_store import (
    Agent,
    DefaultSessionStore,
    InvalidArgumentError,
    InvalidMessageError,
    InvalidSessionIdError,
    LockTimeoutError,
)
from praison_store.integrations.openai_agents import PraisonSession
from praison_store.integrations.transcript import Transcript

LONGEST_S = 120.0
EXCHANGE: list[Any] = [item for item in ITEMS if item.get("type") in ("function_call", "function_call_output", "reasoning")]


def session_at(path: Path, **options: Any) -> PraisonSession:
    """Return a session with a store of its own that does not wait for the disk."""
    return PraisonSession("s", DefaultSessionStore(path, durability="process"), **options)


def test_it_is_a_session_of_the_sdk(tmp_path: Path) -> None:
    """Goal: it goes where SQLiteSession goes. Method: the SDK's own runtime check."""
    assert isinstance(session_at(tmp_path), Session)


def test_every_item_comes_back_and_is_taken_back(tmp_path: Path) -> None:
    """Goal: exact, whatever the type, beyond the window too. Method: 15 kinds ten times over, then popped one by one."""
    async def main() -> None:
        await session_at(tmp_path).add_items([])
        assert [] == await session_at(tmp_path).get_items()
        for _ in range(10):
            await session_at(tmp_path).add_items(ITEMS)  # type: ignore[arg-type] # the point: any dict
        assert ITEMS * 10 == await session_at(tmp_path).get_items()
        for item in reversed(ITEMS * 10):
            assert item == await session_at(tmp_path).pop_item()
        assert await session_at(tmp_path).pop_item() is None
        await session_at(tmp_path).add_items(ITEMS)  # type: ignore[arg-type] # the same
        await session_at(tmp_path).clear_session()
        assert [] == await session_at(tmp_path).get_items()

    asyncio.run(main())


def test_D9_a_limit_orphans_no_tool_output(tmp_path: Path) -> None:
    """Goal: what is sent is taken. Method: every limit, on ours and on the SDK's own, which cuts exchanges."""
    async def main() -> None:
        talk: list[Any] = [{"role": "user", "content": "a"}, *EXCHANGE, {"role": "assistant", "content": "b"}]
        ours, theirs = session_at(tmp_path), SQLiteSession("s", tmp_path / "theirs.db")
        await ours.add_items(talk)
        await theirs.add_items(talk)
        orphans = {"ours": 0, "theirs": 0}
        for limit in range(len(talk) + 1):
            for name, session in (("ours", ours), ("theirs", theirs)):
                items: list[Any] = list(await session.get_items(limit))
                calls = {item["call_id"] for item in items if item.get("type") == "function_call"}
                orphans[name] += sum(item.get("type") == "function_call_output" and item["call_id"] not in calls for item in items)
                if name == "ours" and calls:
                    assert "reasoning" in [item.get("type") for item in items]
        assert 0 == orphans["ours"]
        assert 0 < orphans["theirs"], "the comparison is void"
        assert talk[-1:] == await session_at(tmp_path, session_settings=SessionSettings(limit=1)).get_items()
        assert talk == await session_at(tmp_path, session_settings=SessionSettings(limit=1)).get_items(99)
        theirs.close()

    asyncio.run(main())


def test_of_a_message_of_several_items_one_is_taken(tmp_path: Path) -> None:
    """Goal: pop takes one item. Method: words and two calls of another adapter, one word too few behind; all popped."""
    store = DefaultSessionStore(tmp_path, max_messages=4, durability="process")
    calls = [{"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}} for name in "ab"]
    for _ in range(4):
        store.add_user_message("s", "q")
        store.add_messages("s", [{"role": "assistant", "content": "Let me look", "tool_calls": calls, "message_id": None}])
        store.add_assistant_message("s", "")
    session = PraisonSession("s", store)

    async def main() -> None:
        shown = await session.get_items()
        assert 16 == len(shown)
        while shown:
            assert shown.pop() == await session.pop_item()
            assert shown == await session.get_items()
        assert await session.pop_item() is None

    asyncio.run(main())


def test_a_limit_counts_items(tmp_path: Path) -> None:
    """Goal: the newest items, however many messages they are. Method: messages of no item and of two, past the window."""
    store = DefaultSessionStore(tmp_path, max_messages=4, durability="process")
    store.add_message("s", "system", "Be kind")
    call = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    for number in range(10):
        store.add_user_message("s", f"q{number}")
        store.add_messages("s", [{"role": "assistant", "content": ""}] * 2)
        store.add_assistant_message("s", "I look", tool_calls=call)
        store.add_message("s", "tool", "found", tool_call_id="1")
    session = PraisonSession("s", store)

    async def main() -> None:
        whole = await session.get_items()
        assert 41 == len(whole)
        assert [*whole[:1], *whole[-4:]] == await session.get_items(5)
        assert [*whole[:1], *whole[-8:]] == await session.get_items(9)
        assert [*whole[:1], *whole[-8:]] == await session.get_items(10), "a result without its call"
        assert whole == await session.get_items(41) == await session.get_items(99)
        assert [] == await session.get_items(0)

    asyncio.run(main())


def test_a_limit_reads_no_archive_where_the_window_has_enough(tmp_path: Path) -> None:
    """Goal: the newest cost a window. Method: an engine whose archive cannot be read."""
    store = DefaultSessionStore(tmp_path, max_messages=20, durability="process")
    store.add_messages("s", [{"role": "user", "content": str(number)} for number in range(200)])
    store.engine.whole = None  # type: ignore[method-assign,assignment] # the point: it is not called
    items: list[Any] = list(asyncio.run(PraisonSession("s", store).get_items(5)))
    assert ["195", "196", "197", "198", "199"] == [item["content"] for item in items]


def test_what_another_store_wrote_does_not_stop_a_change(tmp_path: Path) -> None:
    """Goal: what is stored already is stored again as it is. Method: NaN and half a character in a foreign file; each edit."""
    said = [{"role": "user", "content": "bad \ud800 half", "timestamp": 1.0, "metadata": {"cost": float("nan")}},
            {"role": "assistant", "content": "", "timestamp": 2.0, "metadata": {}}]
    (tmp_path / "s.json").write_text(json.dumps({"session_id": "s", "messages": said}))
    store = DefaultSessionStore(tmp_path, durability="process")
    transcript = Transcript("s", store)
    transcript.change(lambda records: [*records, {"role": "user", "content": "more"}])
    transcript.change(lambda records: [records[0], {"role": "assistant", "content": "ok"}])
    with pytest.raises(InvalidMessageError):
        transcript.change(lambda records: [*records, {"role": "user", "content": "\ud800"}])
    assert [said[0]["content"], "ok"] == [record["content"] for record in transcript.records()]
    assert str(said[0]["metadata"]) == str(transcript.records()[0]["metadata"])


def test_a_compaction_stands_for_what_it_was_made_of(tmp_path: Path) -> None:
    """Goal: an edit leaves the summary. Method: each kind of edit around it, in a window and past one; then all replaced."""
    def edited(size: int, edit: Any) -> list[Any]:
        store = DefaultSessionStore(tmp_path / f"{len(list(tmp_path.iterdir()))}", max_messages=size, durability="process")
        for text in "abcdef":
            store.add_user_message("s", text)
        store.append_compaction_checkpoint("s", "SUM")
        store.add_user_message("s", "g")
        Transcript("s", store).change(edit)
        return [message["content"] for message in store.get_working_history("s")]

    new = {"role": "user", "content": "new"}
    for size in (100, 4):
        assert ["SUM", "g", "new"] == edited(size, lambda records: [*records, new])
        assert ["SUM", "new"] == edited(size, lambda records: [*records[:-1], new])
        assert ["SUM"] == edited(size, lambda records: records[:-1])
        assert ["SUM", "g"] == edited(size, lambda records: records[2:])
        assert ["SUM", "new", "g"] == edited(size, lambda records: [*records[:5], new, records[6]])
        assert ["new"] == edited(size, lambda records: [new])
        assert [] == edited(size, lambda records: [])


def test_a_change_that_is_always_overtaken_ends(tmp_path: Path) -> None:
    """Goal: as long as a lock is waited for, no longer. Method: another writes in each try, and once in the first alone."""
    store = DefaultSessionStore(tmp_path, durability="process", lock_timeout=0.2)
    transcript = Transcript("s", store)
    overtaken = 0

    def edit(records: list[Any]) -> list[Any]:
        nonlocal overtaken
        overtaken += 1
        assert overtaken < 500
        store.add_user_message("s", "w")
        return [*records, {"role": "user", "content": "never"}]

    with pytest.raises(LockTimeoutError, match="before each try"):
        transcript.change(edit)
    assert ["w"] * overtaken == [record["content"] for record in transcript.records()]

    free = iter([False, True])

    def edit_freely(records: list[Any]) -> list[Any]:
        return [{"role": "user", "content": "done"}] if next(free) else edit(records)

    transcript.change(edit_freely)
    assert ["done"] == [record["content"] for record in transcript.records()]


def test_an_item_taken_from_what_was_summarised_hides_no_later_one(tmp_path: Path) -> None:
    """Goal: what comes is seen. Method: pop behind a compaction, then add two."""
    store = DefaultSessionStore(tmp_path, durability="process")
    for text in "abc":
        store.add_user_message("s", text)
    store.append_compaction_checkpoint("s", "SUM")
    asyncio.run(PraisonSession("s", store).pop_item())
    for text in "de":
        store.add_user_message("s", text)
    assert ["SUM", "d", "e"] == [message["content"] for message in store.get_working_history("s")]


@pytest.mark.parametrize("bad", [[5], "text", [{"role": "user", "content": float("nan")}], [{"role": "user", "content": {1}}]])
def test_D6_what_is_no_item_is_refused_whole(bad: Any, tmp_path: Path) -> None:
    """Goal: nothing half stored. Method: a good item in front of each bad one."""
    with pytest.raises(InvalidMessageError):
        asyncio.run(session_at(tmp_path).add_items([{"role": "user", "content": "x"}, *bad] if isinstance(bad, list) else bad))
    assert [] == asyncio.run(session_at(tmp_path).get_items())


def test_an_id_or_store_that_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    """Goal: the mistake is told where it is made. Method: each, wrong."""
    with pytest.raises(InvalidSessionIdError):
        PraisonSession("", DefaultSessionStore(tmp_path))
    with pytest.raises(InvalidArgumentError):
        PraisonSession("s", store=5)  # type: ignore[arg-type] # the point of the test


def test_it_is_made_without_waiting_for_the_disk(tmp_path: Path) -> None:
    """Goal: it may be made where nothing may block. Method: an engine that would say so; an id no file could have."""
    store = DefaultSessionStore(tmp_path)
    store.engine.exists = None  # type: ignore[method-assign,assignment] # the point: it is not called
    PraisonSession("s", store)
    for bad in ("", "x" * 5000, "\ud800"):
        with pytest.raises(InvalidSessionIdError):
            PraisonSession(bad, store)


def test_settings_may_be_a_dict(tmp_path: Path) -> None:
    """Goal: as SQLiteSession takes them. Method: the same settings to both; then a name that is none."""
    theirs = SQLiteSession("s", session_settings={"limit": 3})
    assert theirs.session_settings == session_at(tmp_path, session_settings={"limit": 3}).session_settings == SessionSettings(limit=3)
    theirs.close()
    with pytest.raises(InvalidArgumentError, match="limitt"):
        session_at(tmp_path, session_settings={"limitt": 3})


def test_a_closed_session_says_so(tmp_path: Path) -> None:
    """Goal: as the SDK's own, no use after close. Method: each call; the store goes on."""
    session = session_at(tmp_path)
    session.close()
    for call in (session.get_items, lambda: session.add_items([]), session.pop_item, session.clear_session):
        with pytest.raises(RuntimeError, match="closed"):
            asyncio.run(call())
    assert [] == asyncio.run(session_at(tmp_path).get_items())


def add_and_take(path: Path, number: int) -> None:
    """Add items and take some back, as one of several processes."""
    async def main() -> None:
        session = session_at(path)
        for turn in range(20):
            await session.add_items([{"role": "user", "content": f"{number}-{turn}"}, {"role": "assistant", "content": f"{number}-{turn}"}])

    asyncio.run(main())


def test_D3_many_processes_share_a_session(tmp_path: Path) -> None:
    """Goal: every item, each pair together. Method: 4 processes add 20 pairs each."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=add_and_take, args=(tmp_path, number)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(LONGEST_S)
        assert 0 == worker.exitcode
    said: list[Any] = [item["content"] for item in asyncio.run(session_at(tmp_path).get_items())]  # type: ignore[typeddict-item,misc] # messages alone
    assert said[::2] == said[1::2]
    assert {f"{number}-{turn}" for number in range(4) for turn in range(20)} == set(said)
    assert 160 == len(said)


RUN = """
import asyncio, sys
from agents import Agent, Runner, set_default_openai_api, set_tracing_disabled
from praison_store.integrations.openai_agents import PraisonSession

set_default_openai_api("chat_completions")
set_tracing_disabled(True)
result = asyncio.run(Runner.run(Agent(name="Assistant", model="gpt-4o-mini"), sys.argv[1], session=PraisonSession("s")))
print("ANSWER", result.final_output)
"""


def test_a_real_runner_remembers_in_another_process(tmp_path: Path) -> None:
    """Goal: the documented example. Method: two processes and a stand-in for the model's service; then our own Agent reads it."""
    with service() as model:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OPENAI_BASE_URL": f"{model.url}/v1", "OPENAI_API_KEY": "none", "PYTHONPATH": ":".join(sys.path)}
        for prompt, answer in (("My name is Alice", "Nice to meet you"), ("What is my name?", "Your name is Alice")):
            done = subprocess.run([sys.executable, "-c", RUN, prompt], env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False, cwd=tmp_path)
            assert 0 == done.returncode, done.stderr[-2000:]
            assert f"ANSWER {answer}" in done.stdout
        store = DefaultSessionStore(tmp_path / ".praison" / "sessions")
        heard: list[Any] = []
        Agent("a", llm=lambda messages: heard.extend(messages) or "x", session_id="s", store=store).chat("And?")
        assert ["My name is Alice", "Nice to meet you", "What is my name?", "Your name is Alice", "And?"] == [
            message["content"] if isinstance(message["content"], str) else message["content"][0]["text"] for message in heard]
