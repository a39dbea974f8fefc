"""The Claude Agent SDK on our store: its conformance suite, every line as it was, and a real CLI that remembers elsewhere."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import (
    ClaudeAgentOptions,
    InMemorySessionStore,
    ResultMessage,
    delete_session_via_store,
    get_session_messages_from_store,
    list_sessions_from_store,
    project_key_for_directory,
    query,
)
from claude_agent_sdk.testing import run_session_store_conformance
from stand_in import remembering, texts_of
from test_message_forms import ANTHROPIC, CHAT, ITEMS

from praison_store import (
    DefaultSessionStore,
    InvalidArgumentError,
    InvalidMessageError,
    InvalidSessionIdError,
    LockTimeoutError,
)
from praison_store.integrations.claude_agent_sdk import PraisonClaudeStore, session_key_of
from praison_store.integrations.transcript import Transcript
from praison_store.model.formats import from_anthropic, from_openai_chat, from_responses, to_openai_chat
from praison_store.model.message import records_of

sys.path.append(str(Path(__file__).parents[1] / "contract"))
from places import EACH, ENGINES

LONGEST_S = 120.0
LONG = "a text that is long enough to be kept only once"
KEY: Any = {"project_key": "p", "session_id": "s"}
SAID: list[Any] = [{"type": "summary", "summary": LONG, "leafUuid": "x"}] + [
    {"type": message["role"], "uuid": f"u{index}", "parentUuid": f"u{index - 1}" if index else None, "sessionId": "s",
     "timestamp": "2026-01-02T03:04:05.678Z", "isSidechain": False, "message": {**message, "id": f"m{index}"}, "toolUseResult": {"stdout": LONG}}
    for index, message in enumerate([*ANTHROPIC, {"role": "user", "content": LONG}, {"role": "assistant", "content": []}, {"role": "user", "content": 5}])
] + [{"type": "custom-title", "customTitle": "t"}, {"type": "custom-title", "customTitle": "t"}, {"type": "tag", "tag": "x", "n": {"$at": [0, "content"]}},
     {"type": "user", "uuid": "odd", "message": {"role": "user", "content": [5, {"$at": [0, "content"]}]}}, {"type": "user", "uuid": "side", "isSidechain": True, "message": {"role": "user", "content": "below"}}]


def store_at(path: Path, **options: Any) -> PraisonClaudeStore:
    """Return a store of its own that does not wait for the disk."""
    return PraisonClaudeStore(DefaultSessionStore(path, durability="process", **options))


@pytest.mark.parametrize("engine", ["json_files", "jsonl", "sqlite", "memory"])
def test_the_sdks_own_conformance_suite_passes(engine: str, tmp_path: Path) -> None:
    """Goal: its 14 contracts. Method: its suite, a new place for each contract, with a window of two messages."""
    places: list[Any] = []

    def make() -> PraisonClaudeStore:
        path = tmp_path / str(len(places))
        path.mkdir()
        places.append(ENGINES[engine](path))
        return PraisonClaudeStore(DefaultSessionStore(db=places[-1], max_messages=2))

    asyncio.run(run_session_store_conformance(make))
    assert 14 <= len(places)
    for place in places:
        place.close()


@pytest.mark.parametrize("engine", EACH)
def test_every_line_comes_back_and_none_twice_on_every_engine(engine: str, tmp_path: Path) -> None:
    """Goal: exact and in order, however often a batch is delivered. Method: batches twice, the oldest again at the end, beyond the window."""
    place = ENGINES[engine](tmp_path)
    kept = DefaultSessionStore(db=place, max_messages=2, retention="truncate")
    named = [line for line in SAID if "uuid" in line]

    async def main() -> None:
        store = PraisonClaudeStore(kept)
        for start in range(0, len(SAID), 3):
            await store.append(KEY, SAID[start : start + 3])
            await store.append(KEY, [line for line in SAID[start : start + 3] if "uuid" in line])
        assert SAID == await store.load(KEY)
        await PraisonClaudeStore(kept).append(KEY, named)
        await store.append(KEY, [*named, named[0], {**named[0], "uuid": "new"}, {"uuid": "new", "type": "user"}])
        assert [*SAID, {**named[0], "uuid": "new"}] == await PraisonClaudeStore(kept).load(KEY)
        summaries = await store.list_session_summaries("p")
        listed = await store.list_sessions("p")
        assert [(one["session_id"], one["mtime"]) for one in listed] == [(one["session_id"], one["mtime"]) for one in summaries]
        assert "t" == summaries[0]["data"]["custom_title"]

    asyncio.run(main())
    place.close()


@pytest.mark.parametrize("engine", EACH)
def test_a_transcript_begun_anew_elsewhere_is_not_the_one_known(engine: str, tmp_path: Path) -> None:
    """Goal: no line is taken for stored. Method: three lines; another deletes them and stores as many; then an old line again."""
    place = ENGINES[engine](tmp_path)
    kept = DefaultSessionStore(db=place, max_messages=2)
    lines: Any = [{"type": "user", "uuid": name, "message": {"role": "user", "content": name}} for name in "abcdef"]

    async def main() -> None:
        ours, other = PraisonClaudeStore(kept), PraisonClaudeStore(kept)
        for line in lines[:3]:
            await ours.append(KEY, [line])
        await other.delete(KEY)
        for line in lines[3:]:
            await other.append(KEY, [line])
        await ours.append(KEY, lines[:1])
        assert [*lines[3:], lines[0]] == await other.load(KEY)

    asyncio.run(main())
    place.close()


def test_a_batch_that_is_always_overtaken_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: as long as a lock is waited for, no longer. Method: another stores a line each time ours has read them all."""
    kept = DefaultSessionStore(tmp_path, max_messages=1, durability="process", lock_timeout=0.1)
    store, learn, numbers = PraisonClaudeStore(kept), PraisonClaudeStore._learn, iter(range(300))

    def overtaken(self: PraisonClaudeStore, place: Any) -> None:
        learn(self, place)
        Transcript(place, kept).append([{"role": "user", "content": str(next(numbers))}])

    async def main() -> None:
        for name in "abc":
            await PraisonClaudeStore(kept).append(KEY, [{"type": "user", "uuid": name, "message": {"role": "user", "content": name}}])  # type: ignore[list-item] # any line
        monkeypatch.setattr(PraisonClaudeStore, "_learn", overtaken)
        with pytest.raises(LockTimeoutError):
            await store.append(KEY, [{"type": "tag", "uuid": "d"}])
        monkeypatch.undo()
        await store.append(KEY, [{"type": "tag", "uuid": "d"}])
        lines = await store.load(KEY)
        assert lines is not None
        assert {"type": "tag", "uuid": "d"} == lines[-1]

    asyncio.run(main())


def test_a_transcript_is_read_as_chat_and_no_long_text_is_kept_twice(tmp_path: Path) -> None:
    """Goal: other adapters read it. Method: the chat form of the same messages, and a count of the text in the file."""
    kept = DefaultSessionStore(tmp_path)
    asyncio.run(PraisonClaudeStore(kept).append(KEY, SAID[:8]))
    records = Transcript(session_key_of(KEY), kept).records()
    assert to_openai_chat(from_anthropic([*ANTHROPIC, {"role": "user", "content": LONG}])) == to_openai_chat(records)
    assert to_openai_chat(kept.engine.history(session_key_of(KEY), None)) == to_openai_chat(records)
    lines = (tmp_path / "@claude%2Fp" / "s.json").read_text().splitlines()
    # In the last message its content and, beside it, a pointer; other messages have no such text, so theirs is whole.
    assert 1 == next(line for line in lines if '"m6"' in line).count(LONG)


@pytest.mark.parametrize("prompt", ["What is data:text/plain;base64,", "compare foo;base64, with " + "bar " * 9])
def test_a_prompt_about_base64_is_only_text(prompt: str, tmp_path: Path) -> None:
    """Goal: no prompt loses its batch. Method: texts that hold the words of a data URL and no data; the lines come back."""
    lines: Any = [{"type": "user", "uuid": "u1", "message": {"role": "user", "content": prompt}, "more": {"list": [{"x": ""}]}}]
    asyncio.run(store_at(tmp_path).append(KEY, lines))
    assert lines == asyncio.run(store_at(tmp_path).load(KEY))


@pytest.mark.parametrize("content", ["my pin is 1234", "my secret pin number is 1234, keep it", [
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "MTIz" * 20}}]])
def test_a_line_that_was_edited_says_what_it_says_now(content: Any, tmp_path: Path) -> None:
    """Goal: no adapter tells what was redacted. Method: a short text, a long one and a picture, replaced in the session."""
    lines: Any = [{"type": "user", "uuid": "u1", "message": {"role": "user", "content": content}},
                  {"type": "assistant", "uuid": "u2", "message": {"role": "assistant", "content": [{"type": "text", "text": "ok"}]}}]
    kept = DefaultSessionStore(tmp_path)
    asyncio.run(PraisonClaudeStore(kept).append(KEY, lines))
    Transcript(session_key_of(KEY), kept).change(lambda records: [{**records[0], "content": "[redacted]"}, *records[1:]])
    found: Any = asyncio.run(PraisonClaudeStore(kept).load(KEY))
    assert [[{"type": "text", "text": "[redacted]"}], lines[1]] == [found[0]["message"]["content"], found[1]]


KEYS: list[Any] = [
    {"project_key": project, "session_id": session, **({"subpath": sub} if sub else {})}
    for project in ("a", "a/b", "a:1", "1:a", "é") for session in ("s", "b/s", "a:s", "s/x", "..") for sub in (None, "s", "x", "s/x", "subagents/agent-1", "../s")
]


def test_no_two_keys_share_a_transcript(tmp_path: Path) -> None:
    """Goal: ids are opaque. Method: 150 keys of letters that paths and joined names are made of; then one deletion."""
    assert len(KEYS) == len({session_key_of(key) for key in KEYS})

    async def main() -> None:
        store = store_at(tmp_path)
        for index, key in enumerate(KEYS):
            await store.append(key, [{"type": "x", "n": index}])
        assert [[{"type": "x", "n": index}] for index in range(len(KEYS))] == [await store.load(key) for key in KEYS]
        assert {"s", "x", "s/x", "subagents/agent-1", "../s"} == set(await store.list_subkeys({"project_key": "a", "session_id": "b/s"}))
        assert 5 == len(await store.list_sessions("a"))
        await store.delete({"project_key": "a", "session_id": "b/s"})
        gone = [key for key in KEYS if await store.load(key) is None]
        assert [key for key in KEYS if (key["project_key"], key["session_id"]) == ("a", "b/s")] == gone

    asyncio.run(main())


@pytest.mark.parametrize("bad", [[5], "text", {"type": "x"}, [{"type": "x", "n": float("nan")}], [{"type": "x", 5: 1}], [{"type": "user", "message": {"role": "user", "content": {1}}}]])
def test_D6_what_is_no_line_is_refused_whole(bad: Any, tmp_path: Path) -> None:
    """Goal: nothing half stored. Method: a good line in front of each bad one."""
    with pytest.raises(InvalidMessageError):
        asyncio.run(store_at(tmp_path).append(KEY, [{"type": "x"}, *bad] if isinstance(bad, list) else bad))
    assert asyncio.run(store_at(tmp_path).load(KEY)) is None


@pytest.mark.parametrize("bad", [5, {}, {"project_key": "", "session_id": "s"}, {"project_key": "p", "session_id": 5}, {**KEY, "subpath": ""}])
def test_a_key_or_store_that_cannot_be_meant_is_refused(bad: Any, tmp_path: Path) -> None:
    """Goal: the mistake is told where it is made. Method: each, wrong, at each door."""
    for call in (store_at(tmp_path).load, store_at(tmp_path).delete, lambda key: store_at(tmp_path).append(key, [{"type": "x"}])):
        with pytest.raises(InvalidArgumentError):
            asyncio.run(call(bad))
    with pytest.raises(InvalidArgumentError):
        PraisonClaudeStore(store=bad)
    with pytest.raises(InvalidSessionIdError):
        asyncio.run(store_at(tmp_path).load({"project_key": "p", "session_id": "x" * 5000}))


@pytest.mark.parametrize("origin", ["chat", "responses", "anthropic"])
def test_what_others_wrote_is_a_transcript(origin: str, tmp_path: Path) -> None:
    """Goal: one session, many adapters. Method: their records between lines of the SDK; its own reader follows them."""
    said = {"chat": [from_openai_chat(message) for message in CHAT], "responses": from_responses(ITEMS), "anthropic": from_anthropic(ANTHROPIC)}
    session = "11111111-1111-4111-8111-111111111111"
    key: Any = {"project_key": project_key_for_directory("/w"), "session_id": session}
    kept = DefaultSessionStore(tmp_path, max_messages=3)
    first = {"type": "user", "uuid": "22222222-2222-4222-8222-222222222222", "parentUuid": None, "sessionId": session, "message": {"role": "user", "content": "first"}}

    async def main() -> None:
        store = PraisonClaudeStore(kept)
        await store.append(key, [first])  # type: ignore[list-item] # any line
        Transcript(session_key_of(key), kept).append(records_of(said[origin], 5.0))
        await store.append(key, [{"type": "tag", "tag": "x"}])  # type: ignore[typeddict-unknown-key] # any line
        lines: Any = await store.load(key)
        assert lines == await PraisonClaudeStore(kept).load(key)
        assert (first, {"type": "tag", "tag": "x"}) == (lines[0], lines[-1])
        assert [line["uuid"] for line in lines[:-2]] == [line["parentUuid"] for line in lines[1:-1]]
        read = await get_session_messages_from_store(store, session, directory="/w")
        assert [line["message"] for line in lines[:-1]] == [message.message for message in read]
        assert "first" == (await list_sessions_from_store(store, directory="/w"))[0].first_prompt
        await delete_session_via_store(store, session, directory="/w")
        assert await store.load(key) is None

    asyncio.run(main())


def deliver(path: Path, number: int) -> None:
    """Deliver batches, each of them twice, as one of several processes."""
    async def main() -> None:
        store = store_at(path, max_messages=6)
        for turn in range(10):
            batch: list[Any] = [
                {"type": "user", "uuid": f"{number}-{turn}-{part}", "message": {"role": "user", "content": f"{number}-{turn}"}} for part in range(2)]
            await store.append(KEY, [*batch, {"type": "tag", "tag": f"{number}-{turn}"}])  # type: ignore[list-item] # any line
            await store.append(KEY, batch)

    asyncio.run(main())


def test_D3_many_processes_share_a_transcript(tmp_path: Path) -> None:
    """Goal: every line once, each batch together. Method: 2 processes deliver 10 batches each, twice."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=deliver, args=(tmp_path, number)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(LONGEST_S)
        assert 0 == worker.exitcode
    lines: Any = asyncio.run(store_at(tmp_path).load(KEY))
    said = [line["tag"] if line["type"] == "tag" else line["message"]["content"] for line in lines]
    assert said[::3] == said[1::3] == said[2::3]
    assert sorted(f"{number}-{turn}" for number in range(2) for turn in range(10)) == sorted(said[::3])
    summary = asyncio.run(store_at(tmp_path).list_session_summaries("p"))[0]
    assert said[-1] == summary["data"]["tag"]


READ = """
import asyncio, json, sys
from claude_agent_sdk import InMemorySessionStore
from praison_store.integrations.claude_agent_sdk import PraisonClaudeStore

for store in (PraisonClaudeStore(), InMemorySessionStore()):
    print(json.dumps(asyncio.run(store.load({"project_key": "p", "session_id": "s"}))))
"""


def test_the_sdks_own_store_has_nothing_in_another_process(tmp_path: Path) -> None:
    """Goal: what its store in memory lacks, and that it doubles what is delivered again. Method: both, here and in another process."""
    ours, theirs = store_at(tmp_path / ".praison" / "sessions"), InMemorySessionStore()
    for store in (ours, theirs):
        asyncio.run(store.append(KEY, SAID[:2]))
        asyncio.run(store.append(KEY, SAID[1:2]))
    assert SAID[:2] == asyncio.run(ours.load(KEY))
    assert [*SAID[:2], SAID[1]] == asyncio.run(theirs.load(KEY)), "the comparison is void"
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", READ], env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False, cwd=tmp_path)
    assert 0 == done.returncode, done.stderr[-2000:]
    assert [SAID[:2], None] == [json.loads(line) for line in done.stdout.splitlines()]


class _Streaming(BaseHTTPRequestHandler):
    """A model's service that streams Anthropic's events, as the CLI asks for them."""

    protocol_version = "HTTP/1.0"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        self.send_response(200)
        if "count_tokens" in self.path or "messages" not in request:
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"input_tokens": 1}')
            return
        said = [{"content": text} for text in texts_of(request["messages"]) if "<system-reminder>" not in text]
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": request["model"], "content": [], "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
        answer = remembering(said)
        if not request.get("stream"):
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps({**message, "content": [{"type": "text", "text": answer}], "stop_reason": "end_turn"}).encode())
            return
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": message}, {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": answer}}, {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 1}}, {"type": "message_stop"}]
        for event in events:
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())

    def log_message(self, *_: object) -> None:
        pass


async def ask(path: Path, url: str, prompt: str, config: str, **options: Any) -> ResultMessage:
    """Ask the SDK's real CLI, whose own transcripts are in a directory of their own."""
    environment = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "none", "CLAUDE_CONFIG_DIR": str(path / config), "HOME": str(path), "IS_SANDBOX": "1",
                   "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_TELEMETRY": "1", "DISABLE_AUTOUPDATER": "1", "NO_PROXY": "127.0.0.1"}
    asked = ClaudeAgentOptions(env=environment, cwd=path, tools=[], setting_sources=[], model="claude-sonnet-4-5", max_turns=1, **options)
    return [message async for message in query(prompt=prompt, options=asked) if isinstance(message, ResultMessage)][-1]


def test_a_real_cli_remembers_on_another_machine(tmp_path: Path) -> None:
    """Goal: the documented use. Method: two processes of the SDK's own CLI whose directories share nothing but our store; a third has the CLI's own files alone."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Streaming)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        first = asyncio.run(ask(tmp_path, url, "My name is Alice", "one", session_store=store_at(tmp_path / "kept")))
        second = asyncio.run(ask(tmp_path, url, "What is my name?", "two", session_store=store_at(tmp_path / "kept"), resume=first.session_id))
        assert ("Nice to meet you", "Your name is Alice") == (first.result, second.result)
        without = asyncio.run(ask(tmp_path, url, "What is my name?", "three", continue_conversation=True))
        assert "You did not tell me" == without.result, "the comparison is void"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    key: Any = {"project_key": project_key_for_directory(tmp_path), "session_id": first.session_id}
    said = to_openai_chat(Transcript(session_key_of(key), DefaultSessionStore(tmp_path / "kept")).records())
    assert ["My name is Alice", "Nice to meet you", "What is my name?", "Your name is Alice"] == [message["content"] for message in said]
