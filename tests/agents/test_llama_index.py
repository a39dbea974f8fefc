"""LlamaIndex on our store: every message as it was, many processes at once, and a real chat engine that remembers."""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.memory import ChatMemoryBuffer, Memory
from llama_index.core.storage.chat_store import SimpleChatStore
from llama_index.core.storage.chat_store.base_db import MessageStatus
from llama_index.core.storage.chat_store.sql import SQLAlchemyChatStore
from sql_places import postgresql_url
from test_message_forms import ITEMS

from praison_store import (
    DefaultSessionStore,
    InvalidArgumentError,
    InvalidMessageError,
    InvalidSessionIdError,
    UnsupportedOperationError,
)
from praison_store.engines import from_url
from praison_store.integrations.llama_index import PraisonChatStore, PraisonMemoryStore
from praison_store.integrations.llama_index_messages import FIELD, record_of
from praison_store.integrations.openai_agents import PraisonSession
from praison_store.model.formats import from_anthropic, to_openai_chat

LONGEST_S = 120.0
PNG = b"\x89PNG\r\n\x1a\nabc"
LONG = "a long text, which is not to be stored twice " * 20
USER, ASSISTANT, TOOL, SYSTEM = MessageRole.USER, MessageRole.ASSISTANT, MessageRole.TOOL, MessageRole.SYSTEM


def said(role: MessageRole, *blocks: Any, **kwargs: Any) -> ChatMessage:
    """Return a message of blocks, texts among them as text."""
    return ChatMessage(role=role, blocks=[TextBlock(text=block) if isinstance(block, str) else block for block in blocks], additional_kwargs=kwargs)


MESSAGES: list[ChatMessage] = [
    said(SYSTEM, "Be brief."), said(USER, "hi"), said(USER, ""), said(USER), said(MessageRole.DEVELOPER, "x"),
    said(USER, "one", "two"), said(MessageRole.CHATBOT, "c"), said(MessageRole.MODEL, "m"), said(MessageRole.FUNCTION, "f", name="f"),
    said(ASSISTANT, ThinkingBlock(content=LONG, additional_information={"signature": "s"}, num_tokens=3), LONG,
         ToolCallBlock(tool_call_id="c1", tool_name="weather", tool_kwargs={"city": "Oslo", "days": [1, 2.5, True, None], "note": LONG}),
         ToolCallBlock(tool_call_id=None, tool_name="now", tool_kwargs='{"raw": 1}'), ToolCallBlock(tool_call_id="c3", tool_name="none")),
    said(TOOL, "clear", tool_call_id="c1", name="weather"),
    said(ASSISTANT, tool_calls=[{"id": "c2", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}, "index": 0}]),
    said(ASSISTANT, "odd", tool_calls="none", refusal=None, deep={"$at": [1], "$is": {"$is": "x"}, "b": b"\xff\x00"}),
    said(USER, "look", ImageBlock(image=PNG, detail="low"), ImageBlock(url="https://x/y.png"), ImageBlock(url="data:image/png;base64,AAAA")),
    said(USER, AudioBlock(audio=b"abc", format="wav"), VideoBlock(video=b"abc"), DocumentBlock(data=b"%PDF-1.4", title="t"), DocumentBlock(path="gone.txt")),
    said(USER, CachePoint(cache_control=CacheControl(type="ephemeral")), CitableBlock(title="t", source="s", content=[TextBlock(text="cited"), ImageBlock(image=PNG)]),
         CitationBlock(cited_content=TextBlock(text="q"), source="s", title="t", additional_location_info={"page": 1})),
]
JSON = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.sampled_from(["$at", "$is", "value", "is"]), inner, max_size=3), max_leaves=6)
DICTS = st.dictionaries(st.text(max_size=5) | st.sampled_from(["$at", "$is", "value", "tool_calls", "tool_call_id", "name"]), JSON, max_size=3)
BLOCKS = (st.builds(TextBlock, text=st.text(max_size=8)) | st.builds(ThinkingBlock, content=st.none() | st.text(max_size=5), additional_information=DICTS)
          | st.builds(ToolCallBlock, tool_call_id=st.none() | st.text(max_size=3), tool_name=st.text(max_size=3), tool_kwargs=DICTS | st.text(max_size=5)) | st.builds(ImageBlock, image=st.binary(min_size=1, max_size=8), image_mimetype=st.just("image/png"))
          | st.builds(ImageBlock, url=st.just("https://x/y.png")))


def store_at(path: Path | str, **options: Any) -> DefaultSessionStore:
    """Return a store that does not wait for the disk."""
    return DefaultSessionStore(path, durability="process", **options)


@given(st.lists(st.builds(ChatMessage, role=st.sampled_from(MessageRole), blocks=st.lists(BLOCKS, max_size=3), additional_kwargs=DICTS), max_size=3))
def test_any_message_comes_back_as_it_was(messages: list[ChatMessage]) -> None:
    """Goal: exact, whatever it holds. Method: blocks of any text and JSON, the names of our own notes among the keys; stored in memory."""
    store = PraisonChatStore(DefaultSessionStore(db=from_url("memory://")))
    before = [message.model_copy(deep=True) for message in messages]
    store.set_messages("s", messages)
    assert before == store.get_messages("s") == messages
    assert [repr(message) for message in before] == [repr(message) for message in store.get_messages("s")]


@pytest.mark.parametrize("url", ["files", "memory", "sqlite", "postgresql"])
def test_every_kind_comes_back_from_every_engine(url: str, tmp_path: Path) -> None:
    """Goal: exact beyond the window too, and any text for a key. Method: one of each kind, ten times over, under odd keys."""
    urls: dict[str, Callable[[], Any]] = {"memory": lambda: from_url("memory://"), "sqlite": lambda: from_url(f"sqlite:///{tmp_path}/s.db"), "postgresql": lambda: from_url(postgresql_url(tmp_path))}
    inner = store_at(tmp_path) if url == "files" else DefaultSessionStore(db=urls[url]())
    store = PraisonChatStore(inner)
    keys = ["a/b", "a:b", "a%2Fb", " ", "..", "é\n", "chat_history"]
    for key in keys:
        store.add_message(key, said(USER, key))
    for _ in range(10):
        for message in MESSAGES:
            store.add_message("a/b", message)
    assert [said(USER, "a/b"), *MESSAGES * 10] == store.get_messages("a/b")
    assert [[said(USER, key)] for key in keys[1:]] == [store.get_messages(key) for key in keys[1:]]
    assert sorted(keys) == sorted(store.get_keys())
    assert [said(USER, "a/b"), *MESSAGES * 10] == store.delete_messages("a/b")
    assert store.delete_messages("a/b") is None
    assert [] == store.get_messages("a/b")
    assert sorted(keys[1:]) == sorted(store.get_keys())
    inner.engine.close()


def test_no_long_text_is_stored_twice() -> None:
    """Goal: the notes beside a message are small. Method: how often each long text stands in its record."""
    for message in (said(USER, LONG, LONG + "!"), said(ASSISTANT, ToolCallBlock(tool_call_id="c", tool_name="f", tool_kwargs={"text": LONG}))):
        assert LONG not in str(record_of(message)[FIELD])
    assert "iVBOR" not in str(record_of(said(USER, ImageBlock(image=PNG * 2)))[FIELD])


def test_it_counts_as_a_list_does(tmp_path: Path) -> None:
    """Goal: usable where SimpleChatStore is. Method: the same calls on both, every index; then what theirs fails at."""
    ours, theirs = PraisonChatStore(store_at(tmp_path)), SimpleChatStore()
    for index in range(-6, 7):
        for store in (ours, theirs):
            store.set_messages("s", [said(USER, str(number)) for number in range(5)])
            store.add_message("s", said(USER, "new"), index)
        assert theirs.get_messages("s") == ours.get_messages("s")
        assert theirs.delete_message("s", index) == ours.delete_message("s", index)
        assert theirs.get_messages("s") == ours.get_messages("s")
        assert theirs.delete_last_message("s") == ours.delete_last_message("s")
        assert theirs.get_messages("s") == ours.get_messages("s")
    for store in (ours, theirs):
        store.set_messages("s", [])
    assert ours.delete_last_message("s") is ours.delete_last_message("unknown") is ours.delete_message("s", -1) is None
    with pytest.raises(IndexError):
        theirs.delete_last_message("s")


def test_the_await_forms_do_the_same(tmp_path: Path) -> None:
    """Goal: each twin. Method: all of them, one after the other."""
    async def main() -> None:
        store = PraisonChatStore(store_at(tmp_path))
        await store.aset_messages("s", MESSAGES)
        await store.async_add_message("s", said(USER, "last"))
        assert [*MESSAGES, said(USER, "last")] == await store.aget_messages("s")
        assert said(USER, "last") == await store.adelete_last_message("s")
        assert MESSAGES[0] == await store.adelete_message("s", 0)
        assert ["s"] == await store.aget_keys()
        assert MESSAGES[1:] == await store.adelete_messages("s")
        assert [] == await store.aget_keys()

    asyncio.run(main())


@pytest.mark.parametrize("bad", [
    "text", None, {"role": "user"}, said(USER, a={1}), said(USER, a=float("nan")), said(USER, a=2**70), said(USER, a={5: 6}), said(USER, a=(1, 2)),
    said(USER, ToolCallBlock(tool_name="f", tool_kwargs={"a": object()})), said(USER, "\ud800")])
def test_D6_what_would_not_read_back_equal_is_refused(bad: Any, tmp_path: Path) -> None:
    """Goal: nothing half stored. Method: a good message in front of each bad one, in every call that takes one."""
    store, memory = PraisonChatStore(store_at(tmp_path)), PraisonMemoryStore(store_at(tmp_path))
    for refused in (lambda: store.set_messages("s", [said(USER, "x"), bad]), lambda: store.add_message("s", bad),
                    lambda: asyncio.run(memory.add_messages("s", [said(USER, "x"), bad])), lambda: asyncio.run(memory.set_messages("s", [bad]))):
        with pytest.raises(InvalidMessageError):
            refused()
    assert [] == store.get_messages("s")


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    """Goal: the mistake is told where it is made. Method: each, wrong."""
    store = PraisonChatStore(store_at(tmp_path))
    for key in ("", None, 5, "\ud800", "x" * 5000):
        with pytest.raises(InvalidSessionIdError):
            store.get_messages(key)  # type: ignore[arg-type] # the point of the test
    for wrong in (lambda: PraisonChatStore(5), lambda: PraisonChatStore(namespace=5), lambda: store.delete_message("s", "0"), lambda: store.delete_message("s", True),  # type: ignore[arg-type] # the same
                  lambda: asyncio.run(PraisonMemoryStore(store_at(tmp_path)).archive_oldest_messages("s", -1))):
        with pytest.raises(InvalidArgumentError):
            wrong()
    with pytest.raises(UnsupportedOperationError):
        pickle.dumps(store)


def test_namespaces_are_kept_apart(tmp_path: Path) -> None:
    """Goal: alice's key is not bob's. Method: names that would be one if they were joined with a slash or a colon."""
    places = [("", "a/b/c"), ("a", "b/c"), ("a/b", "c"), ("a:b", "c")]
    for namespace, key in places:
        PraisonChatStore(store_at(tmp_path), namespace=namespace).add_message(key, said(USER, f"{namespace} {key}"))
    for namespace, key in places:
        store = PraisonChatStore(store_at(tmp_path), namespace=namespace)
        assert ([key], [said(USER, f"{namespace} {key}")]) == (store.get_keys(), store.get_messages(key))


def test_an_open_file_is_stored_as_its_bytes(tmp_path: Path) -> None:
    """Goal: a block of an open file is the block of its bytes. Method: one read to its end already."""
    stream = BytesIO(PNG)
    block = ImageBlock(image=stream, image_mimetype="image/png")
    stream.read()
    store = PraisonChatStore(store_at(tmp_path))
    store.add_message("s", said(USER, block))
    assert [said(USER, ImageBlock(image=PNG))] == store.get_messages("s")


CALLS: list[Any] = [{"role": "user", "content": "weather?"},
                    {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"city": "Oslo"}'}}]},
                    {"role": "tool", "content": "clear", "tool_call_id": "c1"}, {"role": "assistant", "content": "Clear."}]
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
PARTS: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "look"}, PICTURE]},
                    {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "I ask"}, *({"type": "tool_use", "id": name, "name": name, "input": {}} for name in "ab")]},
                    {"role": "user", "content": [*({"type": "tool_result", "tool_use_id": name, "content": f"of {name}"} for name in "ab"), {"type": "text", "text": "go on"}]}]


def test_it_reads_what_other_adapters_wrote(tmp_path: Path) -> None:
    """Goal: one conversation, whoever wrote it. Method: chat, Responses items and Anthropic's parts; then our messages as chat."""
    store = store_at(tmp_path)
    ours = PraisonChatStore(store)
    store.add_messages("chat", CALLS)
    assert [said(USER, "weather?"), said(ASSISTANT, ToolCallBlock(tool_call_id="c1", tool_name="f", tool_kwargs={"city": "Oslo"})),
            said(TOOL, "clear", tool_call_id="c1"), said(ASSISTANT, "Clear.")] == ours.get_messages("chat")
    store.add_messages("parts", from_anthropic(PARTS, "Be brief."))
    assert [said(SYSTEM, "Be brief."), said(USER, "look", ImageBlock(image=b"AAAA", image_mimetype="image/png")),
            said(ASSISTANT, "I ask", *(ToolCallBlock(tool_call_id=name, tool_name=name) for name in "ab")),
            said(TOOL, "of a", tool_call_id="a"), said(TOOL, "of b", tool_call_id="b"), said(USER, "go on")] == ours.get_messages("parts")
    asyncio.run(PraisonSession("items", store).add_items(ITEMS))  # type: ignore[arg-type] # any dict
    assert [message["role"] for message in to_openai_chat([one.to_dict() for one in store.get_session("items").messages])] == [message.role.value for message in ours.get_messages("items")]
    ours.set_messages("back", MESSAGES[9:11])
    chat = to_openai_chat([one.to_dict() for one in store.get_session("back").messages])
    assert [LONG, "clear"] == [message["content"] for message in chat]
    assert ["c1", "", "c3"] == [call["id"] for call in chat[0]["tool_calls"]], "a call without an id has an empty one: services want text"
    assert "c1" == chat[1]["tool_call_id"]


def test_one_of_anothers_messages_is_taken_and_the_rest_stays(tmp_path: Path) -> None:
    """Goal: an index means what was shown. Method: each index deleted, of sessions whose records are not one for one messages."""
    store = store_at(tmp_path)
    ours = PraisonChatStore(store)
    whole: dict[str, Any] = {"items": ITEMS, "parts": from_anthropic([*PARTS, {"role": "user", "content": PARTS[2]["content"]}]), "raw": PARTS}
    for name, written in whole.items():
        def write(key: str, name: str = name, written: Any = written) -> None:
            asyncio.run(PraisonSession(key, store).add_items(written)) if name == "items" else store.add_messages(key, written)

        write(name)
        shown = ours.get_messages(name)
        assert len(shown) > 4
        for index in range(len(shown)):
            write(f"{name}{index}")
            assert shown[index] == ours.delete_message(f"{name}{index}", index)
            # Calls that have become neighbours are one message now.
            rest = [block for message in shown[:index] + shown[index + 1 :] for block in message.blocks]
            assert rest == [block for message in ours.get_messages(f"{name}{index}") for block in message.blocks]
            write(f"{name}+{index}")
            ours.add_message(f"{name}+{index}", said(USER, "new"), index)
            assert [*shown[:index], said(USER, "new"), *shown[index:]] == ours.get_messages(f"{name}+{index}")


def test_what_is_not_taken_stays_as_another_wrote_it(tmp_path: Path) -> None:
    """Goal: a change here loses nothing there. Method: items with reasoning between calls; one message put in front, one behind taken."""
    store = store_at(tmp_path)
    ours, items = PraisonChatStore(store), [ITEMS[0], ITEMS[3], ITEMS[2], ITEMS[4], ITEMS[5], ITEMS[6], ITEMS[7], ITEMS[2]]
    session = PraisonSession("s", store)
    asyncio.run(session.add_items(items))  # type: ignore[arg-type] # any dict
    ours.add_message("s", said(USER, "new"), 0)
    assert items == asyncio.run(session.get_items())[1:]
    assert "Clear." == (ours.delete_message("s", -1) or said(USER)).content
    assert [*items[:6], items[7]] == asyncio.run(session.get_items())[1:]


def test_calls_put_away_are_not_joined_with_later_ones(tmp_path: Path) -> None:
    """Goal: what is put away stays away. Method: a call archived, then another stored behind it by another adapter."""
    store = store_at(tmp_path)
    memory, session = PraisonMemoryStore(store), PraisonSession("s", store)
    asyncio.run(session.add_items([ITEMS[3]]))  # type: ignore[list-item] # any dict
    put_away = asyncio.run(memory.archive_oldest_messages("s", 1))
    asyncio.run(session.add_items([ITEMS[4]]))  # type: ignore[list-item] # the same
    assert put_away == asyncio.run(memory.get_messages("s", MessageStatus.ARCHIVED))
    assert ["c2"] == [block.tool_call_id for message in asyncio.run(memory.get_messages("s")) for block in message.blocks if isinstance(block, ToolCallBlock)]


def test_a_message_that_was_edited_says_what_it_says_now(tmp_path: Path) -> None:
    """Goal: our notes hide no edit. Method: a message's parts replaced by text, and notes of a kind that is not known."""
    store = store_at(tmp_path)
    ours = PraisonChatStore(store)
    ours.set_messages("s", [MESSAGES[5], said(USER, "x", CachePoint(cache_control=CacheControl(type="e")))])
    first, second = [one.to_dict() for one in store.get_session("s").messages]
    store.set_chat_history("s", [{**first, "content": "[removed]"}, {**second, FIELD: {"blocks": [{"$is": "NewBlock", "value": {}}]}}])
    assert [said(USER, "[removed]"), said(USER, "x")] == ours.get_messages("s")


@pytest.mark.parametrize("text", ["my pin is 1234", "compare foo;base64, with " + "bar " * 9, "data:text/plain;base64,", "data:image/png;base64," + "MTIz" * 9])
def test_an_edit_of_any_text_is_what_is_said(text: str, tmp_path: Path) -> None:
    """Goal: no note tells what was redacted. Method: texts short, long and nearly base64, beside the same in the kwargs."""
    store = store_at(tmp_path)
    ours, message = PraisonChatStore(store), said(USER, text, kind=text, list=[{"a": text}])
    ours.set_messages("s", [message])
    assert [message] == ours.get_messages("s")
    store.set_chat_history("s", [{**store.get_session("s").messages[0].to_dict(), "content": "no"}])
    assert [said(USER, "no")] == ours.get_messages("s")


def test_a_message_whose_file_is_gone_is_read(tmp_path: Path) -> None:
    """Goal: nobody's file keeps a conversation from being read. Method: a picture deleted since, in ours and in LlamaIndex's database store."""
    async def main() -> None:
        picture = tmp_path / "x.png"
        picture.write_bytes(PNG)
        message = said(USER, "look", ImageBlock(path=picture))
        theirs = SQLAlchemyChatStore("t", f"sqlite+aiosqlite:///{tmp_path}/theirs.db")
        ours = PraisonMemoryStore(store_at(tmp_path))
        for store in (ours, theirs):
            await store.add_message("s", message)
        picture.unlink()
        assert [message] == await ours.get_messages("s")
        with pytest.raises(ValueError, match="path"):
            await theirs.get_messages("s")
        assert theirs._async_engine is not None
        await theirs._async_engine.dispose()

    asyncio.run(main())


def test_the_memory_store_does_what_theirs_does(tmp_path: Path) -> None:
    """Goal: usable where SQLAlchemyChatStore is. Method: the same calls on both, every status."""
    async def main() -> None:
        ours, theirs = PraisonMemoryStore(store_at(tmp_path)), SQLAlchemyChatStore("t", f"sqlite+aiosqlite:///{tmp_path}/theirs.db")
        outcomes: list[list[Any]] = []
        for store in (ours, theirs):
            found: list[Any] = []
            await store.add_messages("s", [said(USER, str(number)) for number in range(6)])
            await store.add_message("s", said(ASSISTANT, "old"), MessageStatus.ARCHIVED)
            found.append(await store.archive_oldest_messages("s", 2))
            found.append(await store.delete_oldest_messages("s", 1))
            found.append(await store.archive_oldest_messages("unknown", 2))
            for status in (None, *MessageStatus):
                found.append([await store.get_messages("s", status), await store.count_messages("s", status)])
                found.append(await store.get_messages("s", status, limit=2, offset=1))
            await store.add_message("other", said(USER, "x"))
            found.append(sorted(await store.get_keys()))
            await store.delete_messages("s", MessageStatus.ARCHIVED)
            found.append(await store.get_messages("s", None))
            await store.set_messages("s", [said(USER, "new")], MessageStatus.ARCHIVED)
            found.append([await store.get_messages("s"), await store.get_messages("s", None)])
            await store.delete_messages("s")
            found.append(sorted(await store.get_keys()))
            outcomes.append(found)
        assert outcomes[1] == outcomes[0]
        assert theirs._async_engine is not None
        await theirs._async_engine.dispose()
        assert await ours.delete_message("other", 1) is None
        assert said(USER, "x") == await ours.delete_message("other", 0)
        await ours.add_messages("p", MESSAGES)
        assert MESSAGES == await ours.get_messages("p")

    asyncio.run(main())


def test_a_memory_puts_away_and_keeps_what_others_wrote(tmp_path: Path) -> None:
    """Goal: LlamaIndex's Memory on a shared session. Method: a small token limit; every message is there, active or archived."""
    async def main() -> None:
        store = store_at(tmp_path)
        store.add_messages("s", from_anthropic(PARTS))
        memory = Memory.from_defaults(session_id="s", chat_store=PraisonMemoryStore(store), token_limit=100, token_flush_size=20, tokenizer_fn=str.split)
        before = await memory.aget_all()
        spoken = [said(role, f"{number} " + "word " * 20) for number in range(10) for role in (USER, ASSISTANT)]
        for message in spoken:
            await memory.aput(message)
        assert [*before, *spoken] == await memory.aget_all()
        active = await memory.aget_all(MessageStatus.ACTIVE)
        assert 0 < len(active) < 20
        assert [*before, *spoken] == await memory.aget_all(MessageStatus.ARCHIVED) + active
        assert [*before, *spoken] == PraisonChatStore(store).get_messages("s")

    asyncio.run(main())


def converse(path: Path, number: int) -> None:
    """Add, take and put away, as one of several processes."""
    ours, memory = PraisonChatStore(store_at(path)), PraisonMemoryStore(store_at(path))
    for turn in range(6):
        asyncio.run(memory.add_messages("s", [said(USER, f"{number}-{turn}"), said(ASSISTANT, f"{number}-{turn}")]))
        ours.add_message("s", said(USER, "to be taken"))
        taken = ours.get_messages("s").index(said(USER, "to be taken"))
        ours.delete_message("taken", taken)
        if turn % 4 == 0:
            asyncio.run(memory.archive_oldest_messages("s", 1))
        ours.add_message("stack", said(USER, f"{number}-{turn}"))
        ours.add_message("kept", ours.delete_last_message("stack") or said(USER, "lost"))
        try:
            theirs = SimpleChatStore.from_persist_path(str(path / "theirs.json"))
            theirs.add_message("s", said(USER, f"{number}-{turn}"))
            theirs.persist(str(path / "theirs.json"))
        except ValueError:
            continue  # another had begun to write it; or Pydantic is a version it cannot be written with


def run_together(work: Callable[[Path, int], None], path: Path, count: int) -> list[int | None]:
    """Run processes at once and return their exit codes."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(path, number)) for number in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(LONGEST_S)
    return [worker.exitcode for worker in workers]


def test_D3_many_processes_share_a_key(tmp_path: Path) -> None:
    """Goal: every message, each pair together, none taken twice. Method: 4 processes at once; beside ours SimpleChatStore, persisted as documented."""
    assert [0] * 4 == run_together(converse, tmp_path, 4)
    store = PraisonChatStore(store_at(tmp_path))
    spoken = [message.content for message in store.get_messages("s") if message.content != "to be taken"]
    assert spoken[::2] == spoken[1::2]
    expected = sorted(f"{number}-{turn}" for number in range(4) for turn in range(6))
    assert expected == sorted(spoken[::2])  # type: ignore[type-var] # texts
    assert expected == sorted(message.content or "" for message in store.get_messages("kept"))
    assert [] == store.get_messages("stack")
    try:
        theirs = SimpleChatStore.from_persist_path(str(tmp_path / "theirs.json")).get_messages("s")
    except ValueError:
        theirs = []
    assert len(theirs) < 4 * 6, "the comparison is void"


RUN = """
import asyncio, sys
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage, ChatResponse, CompletionResponse, CustomLLM, LLMMetadata
from llama_index.core.memory import ChatMemoryBuffer, Memory
from praison_store.integrations.llama_index import PraisonChatStore, PraisonMemoryStore
from stand_in import remembering

class Listening(CustomLLM):
    @property
    def metadata(self):
        return LLMMetadata()
    def chat(self, messages, **kwargs):
        said = remembering([{"content": message.content} for message in messages])
        return ChatResponse(message=ChatMessage(role="assistant", content=said))
    def complete(self, prompt, formatted=False, **kwargs):
        return CompletionResponse(text="")
    def stream_complete(self, prompt, formatted=False, **kwargs):
        raise AssertionError

if sys.argv[2] == "buffer":
    memory = ChatMemoryBuffer.from_defaults(chat_store=PraisonChatStore(), chat_store_key="s", tokenizer_fn=str.split)
else:
    memory = Memory.from_defaults(session_id="s", chat_store=PraisonMemoryStore(), tokenizer_fn=str.split)
engine = SimpleChatEngine.from_defaults(llm=Listening(), memory=memory)
print("ANSWER", engine.chat(sys.argv[1]) if sys.argv[2] == "buffer" else asyncio.run(engine.achat(sys.argv[1])))
"""


def test_a_real_chat_engine_remembers_in_another_process(tmp_path: Path) -> None:
    """Goal: the documented examples. Method: the first process has a ChatMemoryBuffer, the second a Memory, on the same key."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    for prompt, kind, answer in (("My name is Alice", "buffer", "Nice to meet you"), ("What is my name?", "memory", "Your name is Alice")):
        done = subprocess.run([sys.executable, "-c", RUN, prompt, kind], env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False, cwd=tmp_path)
        assert 0 == done.returncode, done.stderr[-2000:]
        assert f"ANSWER {answer}" in done.stdout
    store = DefaultSessionStore(tmp_path / ".praison" / "sessions")
    assert ["user", "assistant"] * 2 == [message["role"] for message in store.get_chat_history("s")]


def test_a_buffer_begins_where_the_last_ended(tmp_path: Path) -> None:
    """Goal: what LlamaIndex asks of a chat store. Method: a ChatMemoryBuffer's own calls, then another buffer on the same files."""
    first = ChatMemoryBuffer.from_defaults(chat_store=PraisonChatStore(store_at(tmp_path)), chat_store_key="s", tokenizer_fn=str.split, chat_history=MESSAGES[:2])
    first.put(said(ASSISTANT, "hello"))
    second = ChatMemoryBuffer.from_defaults(chat_store=PraisonChatStore(store_at(tmp_path)), chat_store_key="s", tokenizer_fn=str.split)
    assert [*MESSAGES[:2], said(ASSISTANT, "hello")] == second.get_all() == second.get()
    assert "PraisonChatStore" == second.to_dict()["chat_store"]["class_name"]
    first.reset()
    assert [] == second.get_all()
