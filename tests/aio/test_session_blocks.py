"""Blocks on sessions: what is saved, what is not, what stays in memory, and what others did meanwhile."""

from __future__ import annotations

import asyncio
import enum
import errno
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aio.engines import WatchedEngine, owner_of, within

from praison_store import DefaultSessionStore
from praison_store.aio import LeaseHeldError, RevisionConflictError, SessionManager, SessionMessage
from praison_store.engines.json_files import JsonFilesEngine
from praison_store.errors import (
    InvalidArgumentError,
    InvalidMessageError,
    InvalidSessionIdError,
    OutcomeUnknownError,
    StoreWriteError,
)


def managed(tmp_path: Path, scenario: Callable[[SessionManager], Awaitable[None]], **options: Any) -> None:
    """Run a scenario with a manager on files."""

    async def main() -> None:
        async with SessionManager(endpoint=str(tmp_path), **options) as manager:
            await scenario(manager)

    asyncio.run(main())


def test_an_exception_saves_nothing_and_leaves_memory(tmp_path: Path) -> None:
    """Goal: half a change is none. Method: change and raise, then look."""

    async def scenario(manager: SessionManager) -> None:
        def half(session: Any) -> None:
            session.context["half"] = True
            assert ["s"] == manager.get_active_sessions()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await within(manager.session("s"), half)
        assert [] == manager.get_active_sessions()
        assert None is await manager.get_session("s")
        assert None is owner_of(tmp_path, "s")

    managed(tmp_path, scenario)


def test_a_visit_that_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    """Goal: a reader does not move the revision. Method: three visits after the one that made the session."""

    async def scenario(manager: SessionManager) -> None:
        for _ in range(4):
            async with manager.session("s", "alice") as session:
                assert session.metrics["last_activity"] > 0
        found = await manager.get_session("s", "alice")
        assert found is not None
        assert (1, "alice", {}) == (found.revision, found.user_id, found.context)
        assert None is await manager.get_session("s")

    managed(tmp_path, scenario)


def test_everything_of_a_session_comes_back(tmp_path: Path) -> None:
    """Goal: what is put in is found again. Method: each field, messages edited and removed in a second block."""

    async def scenario(manager: SessionManager) -> None:
        async with manager.session("s") as session:
            session.context["deep"] = {"list": [1, 1.0, True, None]}
            session.metadata["title"] = "t"
            session.metrics["tokens"] = 5
            session.agent_name = "helper"
            session.add_user_message("one")
            session.add_message({"role": "assistant", "content": "two", "model": "m"})
            session.add_message("tool", "three", tool_call_id="call")
        async with manager.session("s") as session:
            assert repr({"deep": {"list": [1, 1.0, True, None]}}) == repr(session.context)
            assert ({"title": "t"}, 5, "helper") == (session.metadata, session.metrics["tokens"], session.agent_name)
            assert ["one", "two", "three"] == [message.content for message in session.messages]
            assert {"model": "m"} == session.messages[1].extra
            session.context["deep"]["list"][0] = True
            del session.metadata["title"]
            session.messages[0].content = "changed"
            del session.messages[2]
        async with manager.session("s") as session:
            assert repr([True, 1.0, True, None]) == repr(session.context["deep"]["list"])
            assert {} == session.metadata
            assert [{"role": "user", "content": "changed"}, {"role": "assistant", "content": "two"}] == session.get_chat_history()

    managed(tmp_path, scenario)


def test_what_a_store_writes_meanwhile_stays(tmp_path: Path) -> None:
    """Goal: no write overwrites another's. Method: a store that takes no lease writes while a block is open."""

    async def scenario(manager: SessionManager) -> None:
        store = DefaultSessionStore(session_dir=str(tmp_path))
        async with manager.session("s") as session:
            session.add_user_message("a")
        async with manager.session("s") as session:
            store.add_user_message("s", "b")
            session.add_user_message("c")
            session.context["ours"] = 1
        history = store.get_chat_history("s")
        assert ["a", "b", "c"] == [message["content"] for message in history]

        def edit(session: Any) -> None:
            store.add_user_message("s", "d")
            session.messages[0].content = "edited"

        def retitle(session: Any) -> Any:
            session.metadata["title"] = "ours"
            return manager.update_session_metadata(session_id="s", metadata={"title": "theirs"})

        with pytest.raises(RevisionConflictError):
            await within(manager.session("s"), edit)
        assert ["a", "b", "c", "d"] == [message["content"] for message in store.get_chat_history("s")]
        with pytest.raises(RevisionConflictError):
            await within(manager.session("s"), retitle)
        assert {"title": "theirs"} == store.get_session("s").metadata
        store.close()

    managed(tmp_path, scenario)


def test_a_session_deleted_meanwhile_does_not_come_back(tmp_path: Path) -> None:
    """Goal: a deletion is not undone in silence. Method: by a store, and in the block itself."""

    async def scenario(manager: SessionManager) -> None:
        store = DefaultSessionStore(session_dir=str(tmp_path))
        async with manager.session("s") as session:
            session.context["a"] = 1

        def delete(session: Any) -> None:
            store.delete_session("s")
            session.context["a"] = 2

        with pytest.raises(RevisionConflictError):
            await within(manager.session("s"), delete)
        async with manager.session("t") as session:
            session.context["a"] = 1
        async with manager.session("t") as session:
            assert await manager.delete_session("t")
            session.context["a"] = 2
        assert (False, False) == (store.session_exists("s"), store.session_exists("t"))
        assert not await manager.delete_session("t")
        store.close()

    managed(tmp_path, scenario)


def test_a_busy_session_is_waited_for_or_refused(tmp_path: Path) -> None:
    """Goal: on_busy and wait_timeout hold, within a manager and between two. Method: a block held open."""

    async def scenario(manager: SessionManager) -> None:
        other = SessionManager(endpoint=str(tmp_path), on_busy="fail")
        async with manager.session("s"):
            for refused in (other.session("s"), manager.session("s", on_busy="fail")):
                task = asyncio.ensure_future(enter(refused))
                assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], LeaseHeldError)
            for late in (manager.session("s", wait_timeout=0.05), other.session("s", on_busy="wait", wait_timeout=0.05)):
                with pytest.raises(LeaseHeldError) as caught:
                    await asyncio.ensure_future(enter(late))
                assert caught.value.waited_s >= 0.04
            with pytest.raises(LeaseHeldError, match="block outside"):
                await enter(manager.session("s"))
        await enter(other.session("s"))
        await other.cleanup()

    managed(tmp_path, scenario)


async def enter(block: Any) -> None:
    """Go in and out again."""
    async with block:
        pass


def test_a_cleanup_leaves_an_open_session_with_its_block(tmp_path: Path) -> None:
    """Goal: nothing is taken from under a block. Method: each kind of cleanup in an open block."""

    async def scenario(manager: SessionManager) -> None:
        async with manager.session("open") as session:
            session.context["a"] = 1
            kept = await manager.get_or_create_session("kept")
            kept.add_user_message("x")
            assert session is await manager.get_session("open")
            assert session is await manager.get_or_create_session("open")
            with pytest.raises(LeaseHeldError):
                await manager.close_session("open")
            assert 1 == await manager.cleanup_inactive_sessions(0)
            assert 0 == await manager.cleanup()
            assert ["open"] == manager.get_active_sessions()
            session.context["b"] = 2
        found = await manager.get_session("open")
        assert found is not None
        assert {"a": 1, "b": 2} == found.context
        assert not await manager.close_session("open")

    managed(tmp_path, scenario)


def test_a_session_that_cannot_be_saved_stays_and_the_others_go(tmp_path: Path) -> None:
    """Goal: no change is forgotten. Method: writes of one session fail, at a close and at a cleanup."""

    async def main() -> None:
        engine = WatchedEngine(tmp_path)
        manager = SessionManager(engine=engine)

        def full(key: Any, *_arguments: Any) -> None:
            if key.session_id == "b":
                raise StoreWriteError("no room", path="b", cause=OSError(errno.ENOSPC, "no room"))

        engine.before["update"] = full
        for session_id in "abc":
            (await manager.get_or_create_session(session_id)).context["x"] = session_id
        with pytest.raises(StoreWriteError) as caught:
            await manager.cleanup()
        assert ["The session 'b' stays in memory."] == caught.value.__notes__
        assert ["b"] == manager.get_active_sessions()
        with pytest.raises(StoreWriteError):
            await manager.close_session("b")
        engine.before.clear()
        assert await manager.close_session("b")
        found = await manager.get_session("b")
        assert found is not None
        assert {"x": "b"} == found.context
        await manager.cleanup()

    asyncio.run(main())


def test_a_change_made_while_a_session_is_being_saved_is_saved_too(tmp_path: Path) -> None:
    """Goal: a cleanup beside a busy task loses nothing. Method: add a message from within the engine's write."""

    async def main() -> None:
        engine = WatchedEngine(tmp_path)
        manager = SessionManager(engine=engine)
        session = await manager.get_or_create_session("s")
        session.add_user_message("a")
        late = iter(["b", "c"])
        engine.before["update"] = lambda *_arguments: [session.add_user_message(text) for text in [*late][:1]] and None
        await manager.cleanup()
        found = await manager.get_session("s")
        assert found is not None
        assert ["a", "b"] == [message.content for message in found.messages]
        assert ["update", "append"] == [call for call in engine.calls if call in ("update", "append")]

    asyncio.run(main())


def test_a_block_takes_over_what_is_kept_in_memory(tmp_path: Path) -> None:
    """Goal: one session is one object. Method: keep it, change it, open a block on it."""

    async def scenario(manager: SessionManager) -> None:
        kept = await manager.get_or_create_session("s")
        kept.context["a"] = 1
        async with manager.session("s") as session:
            assert kept is session
            session.context["b"] = 2
        assert [] == manager.get_active_sessions()
        found = await manager.get_session("s")
        assert found is not None
        assert {"a": 1, "b": 2} == found.context

    managed(tmp_path, scenario)


def test_D6_what_would_not_read_back_equal_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    """Goal: a bad value is told at once. Method: each place a value can be put."""

    def message(session: Any) -> None:
        session.messages.append({"role": "user", "content": "a dict"})

    spoilers: list[Callable[[Any], Any]] = [
        lambda session: session.context.update(x=float("nan")), lambda session: session.context.update({1: 2}),
        lambda session: session.metadata.update(x={1}), lambda session: session.metrics.update(x="\ud800"), message,
        lambda session: session.messages.append(SessionMessage("user", "x", 1.0, {"x": b"bytes"})),
        lambda session: setattr(session, "context", None),
    ]

    async def scenario(manager: SessionManager) -> None:
        for spoil in spoilers:
            with pytest.raises((InvalidMessageError, InvalidArgumentError)):
                async with manager.session("s") as session:
                    spoil(session)
            assert None is await manager.get_session("s")
            assert None is owner_of(tmp_path, "s")
        with pytest.raises(InvalidMessageError):
            async with manager.session("s") as session:
                session.add_user_message("x", {"x": object()})

    managed(tmp_path, scenario)


@pytest.mark.parametrize("options", [{"lock_ttl": 0}, {"lock_ttl": 5, "heartbeat_interval": 5}, {"on_busy": "maybe"},
                                     {"wait_timeout": -1}, {"endpoint": "gopher://x"}, {"engine": object()}, {"endpoint": 5},
                                     {"endpoint": "x", "engine": JsonFilesEngine}], ids=repr)
def test_a_manager_that_cannot_be_meant_is_refused(options: dict[str, Any]) -> None:
    """Goal: a mistake is told where it is made. Method: options of each kind."""
    with pytest.raises(InvalidArgumentError):
        SessionManager(**options)


@pytest.mark.parametrize("bad", ["", 5, None, "\ud800"])
def test_D4_a_bad_id_is_refused_before_anything_is_claimed(bad: Any, tmp_path: Path) -> None:
    """Goal: a bad id reaches no engine. Method: blocks and locks of bad ids."""
    manager = SessionManager(endpoint=str(tmp_path))
    for call in (lambda: manager.session(bad), lambda: manager.agent_lock.acquire(bad, "a")):
        with pytest.raises(InvalidSessionIdError):
            call()


def test_one_manager_serves_several_loops_and_threads(tmp_path: Path) -> None:
    """Goal: a manager may be shared by threads. Method: four loops in four threads count in one session."""
    manager = SessionManager(engine=JsonFilesEngine(str(tmp_path), durability="process"))

    async def count() -> None:
        for _ in range(10):
            async with manager.session("s") as session:
                session.context["count"] = session.context.get("count", 0) + 1

    threads = [threading.Thread(target=lambda: asyncio.run(count())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def look() -> None:
        found = await manager.get_session("s")
        assert found is not None
        assert 40 == found.context["count"]
        await manager.engine.close()

    asyncio.run(look())


def test_a_session_deleted_since_it_was_read_is_not_begun_anew(tmp_path: Path) -> None:
    """Goal: a late message brings no deleted session back. Method: another manager deletes it before the save."""

    async def scenario(manager: SessionManager) -> None:
        async with manager.session("s") as session:
            session.add_user_message("first")
        session = await manager.get_or_create_session("s")
        session.add_user_message("late")
        async with SessionManager(endpoint=str(tmp_path)) as other:
            assert await other.delete_session("s")
        with pytest.raises(RevisionConflictError):
            await manager.save_session(session)
        assert not await manager.engine.exists(session.key)
        await manager.delete_session("s")

    managed(tmp_path, scenario)


def test_two_saves_at_once_and_a_retry_store_a_message_once(tmp_path: Path) -> None:
    """Goal: no save repeats another. Method: two at once, then one whose outcome is unknown and its retry."""

    async def main() -> None:
        engine = WatchedEngine(tmp_path)
        manager = SessionManager(engine=engine)
        session = await manager.get_or_create_session("s")
        session.add_user_message("a")
        assert [True, False] == await asyncio.gather(manager.save_session(session), manager.save_session(session))
        session.add_user_message("b")
        whole = engine.inner.append

        async def unknown(*arguments: Any, **named: Any) -> Any:
            await whole(*arguments, **named)
            raise OutcomeUnknownError("not proven durable", path=str(tmp_path))

        engine.inner.append = unknown  # type: ignore[method-assign]  # a fault behind the write
        with pytest.raises(OutcomeUnknownError):
            await manager.save_session(session)
        engine.inner.append = whole  # type: ignore[method-assign]  # the fault is over
        await manager.cleanup()
        found = await manager.get_session("s")
        assert found is not None
        assert ["a", "b"] == [message.content for message in found.messages]

    asyncio.run(main())


def test_a_session_deleted_while_a_cleanup_saves_it_ends_the_cleanup_well(tmp_path: Path) -> None:
    """Goal: what is gone from memory is no failure. Method: delete the session from within the cleanup's write."""

    async def main() -> None:
        engine = WatchedEngine(tmp_path)
        manager = SessionManager(engine=engine)
        await manager.get_or_create_session("s")
        engine.before["update"] = lambda *_arguments: manager.delete_session("s")
        assert 1 == await manager.cleanup()
        assert [] == manager.get_active_sessions()

    asyncio.run(main())


class Level(enum.IntEnum):
    """A value that equals a plain one."""

    HIGH = 3


@pytest.mark.parametrize("odd", ["enum", "no metadata", "empty calls"])
def test_what_stands_for_a_plain_value_is_saved_once(odd: str, tmp_path: Path) -> None:
    """Goal: a save ends. Method: an Enum, no metadata, an empty list of calls; saved twice, beside another's message."""

    async def main() -> None:
        manager, other = SessionManager(str(tmp_path)), SessionManager(str(tmp_path))
        session = await manager.get_or_create_session("s")
        message = session.add_user_message("a")
        if odd == "enum":
            message.metadata["level"] = Level.HIGH
        elif odd == "no metadata":
            message.metadata = None  # type: ignore[assignment] # the point of the test
        else:
            message.tool_calls = []
        async with asyncio.timeout(30):
            assert await manager.save_session(session)
            assert not await manager.save_session(session)
        async with other.session("s") as theirs:
            theirs.add_user_message("b")
        session.add_user_message("c")
        async with asyncio.timeout(30):
            assert await manager.save_session(session)
        await manager.cleanup()
        found = await other.get_session("s")
        assert found is not None
        assert ["a", "b", "c"] == [one.content for one in found.messages]
        await other.cleanup()

    asyncio.run(main())


@pytest.mark.parametrize("rounds", [1, 3])
def test_D3_a_session_begun_anew_meanwhile_is_not_overwritten(rounds: int, tmp_path: Path) -> None:
    """Goal: nobody's acknowledged message is lost to an old copy. Method: another deletes and begins anew, to the same revision."""

    async def scenario(manager: SessionManager) -> None:
        store = DefaultSessionStore(tmp_path)
        for number in range(rounds):
            store.add_user_message("s", f"old {number}")
        session = await manager.get_or_create_session("s")
        store.delete_session("s")
        for number in range(rounds):
            store.add_user_message("s", f"new {number}")
        session.messages[0].content = "edited"
        with pytest.raises(RevisionConflictError):
            await manager.close_session("s")
        assert [f"new {number}" for number in range(rounds)] == [one["content"] for one in store.get_chat_history("s")]
        store.delete_session("s")
        session.is_deleted = True

    managed(tmp_path, scenario)
