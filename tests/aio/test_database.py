"""Rows of sessions and messages, on every kind of engine: made, found, changed, counted, deleted."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aio.engines import WatchedEngine

from praison_store.aio import (
    AndFilter,
    ComparisonFilter,
    DatabaseEngine,
    InMemoryDatabaseEngine,
    JSONFilesDatabaseEngine,
    JSONLDatabaseEngine,
    LeaseHeldError,
    MessageModel,
    NotFilter,
    OrFilter,
    RevisionConflictError,
    SessionExistsError,
    SessionManager,
    SessionModel,
    SessionNotFoundError,
    SQLDatabaseEngine,
)
from praison_store.errors import InvalidArgumentError, InvalidMessageError

sys.path.append(str(Path(__file__).parents[1] / "contract"))
from sql_places import URLS

Scenario = Callable[[DatabaseEngine], Awaitable[None]]
PLACES: dict[str, Callable[[Path], DatabaseEngine]] = {
    "memory": lambda _path: InMemoryDatabaseEngine(),
    "json_files": lambda path: JSONFilesDatabaseEngine(storage_path=path / "files"),
    "jsonl": lambda path: JSONLDatabaseEngine(storage_path=str(path / "lines")),
    **{name: lambda path, url=url: SQLDatabaseEngine.from_url(url(path)) for name, url in URLS.items()},
}


@pytest.fixture(params=PLACES)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Scenario], None]:
    """Run a scenario on an empty database of each kind, with its tables made."""

    def on_a_new_place(scenario: Scenario) -> None:
        async def main() -> None:
            database = PLACES[request.param](tmp_path)
            await database.setup_models()
            try:
                await scenario(database)
            finally:
                await database.close()

        asyncio.run(main())

    return on_a_new_place


def eq(field: str, value: Any) -> ComparisonFilter:
    """Return a filter for one value."""
    return ComparisonFilter.eq(field, value)


def test_sessions_are_created_found_counted_and_deleted(run: Callable[[Scenario], None]) -> None:
    """Goal: the documented calls do what they say. Method: alice's and bob's `chat_001`, and one of nobody."""

    async def scenario(db: DatabaseEngine) -> None:
        rows = [SessionModel("chat_001", "alice", context={"n": 1}), SessionModel("chat_001", "bob", context={"n": 2}),
                SessionModel("chat_002", metadata={"topic": "x"}, extra={"other": [1]})]
        created = await db.create_many(rows)
        assert [1, 1, 1] == [row.revision for row in created]
        with pytest.raises(SessionExistsError):
            await db.create(SessionModel("chat_001", "bob"))
        found = await db.find_many(SessionModel, filters=eq("session_id", "chat_001"), order_by="-user_id")
        assert [("bob", {"n": 2}), ("alice", {"n": 1})] == [(row.user_id, row.context) for row in found]
        first = await db.find_first(SessionModel, filters=eq("metadata.topic", "x"))
        assert first is not None
        assert ("chat_002", None, {"other": [1]}) == (first.session_id, first.user_id, first.extra)
        assert None is await db.find_first(SessionModel, filters=eq("user_id", "carol"))
        either = OrFilter([eq("user_id", "alice"), NotFilter(ComparisonFilter.is_null("metadata.topic"))])
        assert (3, 2) == (await db.count(SessionModel), await db.count(SessionModel, filters=either))
        page = await db.find_many(SessionModel, order_by=["session_id", "user_id"], limit=1, offset=1)
        assert ["bob"] == [row.user_id for row in page]
        await db.create_many([MessageModel("chat_001", "user", "a", user_id) for user_id in ("alice", "bob")])
        wanted = AndFilter(filters=[eq("user_id", "alice"), eq("session_id", "chat_001")])
        assert (1, 0) == (await db.delete(SessionModel, filters=wanted), await db.delete(SessionModel, filters=wanted))
        assert (2, 1) == (await db.count(SessionModel), await db.count(MessageModel))
        assert 2 == await db.delete(SessionModel, filters=None)
        assert (0, 0) == (await db.count(SessionModel), await db.count(MessageModel))

    run(scenario)


def test_a_row_is_updated_upserted_and_got_or_created(run: Callable[[Scenario], None]) -> None:
    """Goal: two writers cannot erase each other unless one says so. Method: each way to write a session twice."""

    async def scenario(db: DatabaseEngine) -> None:
        with pytest.raises(SessionNotFoundError):
            await db.update(SessionModel("s", "u"))
        row, was_made = await db.get_or_create(SessionModel("s", "u", context={"n": 1}))
        same, was_made_again = await db.get_or_create(SessionModel("s", "u", context={"n": 9}))
        assert (True, False, {"n": 1}) == (was_made, was_made_again, same.context)
        row.context = {"n": 2}
        row = await db.update(row)
        same.context = {"n": 3}
        with pytest.raises(RevisionConflictError):
            await db.update(same)
        assert {"n": 2} == (await db.get_or_create(SessionModel("s", "u")))[0].context
        assert {"n": 3} == (await db.upsert(same)).context
        assert 1 == (await db.upsert(SessionModel("t"))).revision
        with pytest.raises(InvalidMessageError):
            await db.upsert(SessionModel("t", context={"n": float("nan")}))

    run(scenario)


def test_messages_are_rows_too(run: Callable[[Scenario], None]) -> None:
    """Goal: a message is found, changed and deleted by itself. Method: three of one session, one of another."""

    async def scenario(db: DatabaseEngine) -> None:
        with pytest.raises(SessionNotFoundError):
            await db.create(MessageModel("s", "user", "x"))
        await db.create_many([SessionModel("s", "u"), SessionModel("t")])
        texts = [MessageModel("s", "user", text, "u", agent_id="a", run_id="r", extra={"k": text}) for text in "abc"]
        await db.create_many([*texts, MessageModel("t", "user", "d", timestamp=5.0)])
        found = await db.find_many(MessageModel, filters=eq("session_id", "s"))
        assert [("a", 0, "u"), ("b", 1, "u"), ("c", 2, "u")] == [(one.content, one.seq, one.user_id) for one in found]
        assert [("a", "r", {"k": "a"})] == [(one.agent_id, one.run_id, one.extra) for one in found[:1]]
        newest = await db.find_first(MessageModel, order_by="-seq", filters=eq("agent_id", "a"))
        assert newest is not None
        assert "c" == newest.content
        newest.content = "C"
        await db.update(newest)
        again, was_made = await db.get_or_create(newest)
        assert ("C", False) == (again.content, was_made)
        assert "e" == (await db.upsert(MessageModel("t", "user", "e", message_id="m"))).content
        assert 5 == await db.count(MessageModel)
        assert 2 == await db.delete(MessageModel, filters=ComparisonFilter.in_("content", ["a", "C"]))
        assert ["b"] == [one.content for one in await db.find_many(MessageModel, filters=eq("user_id", "u"))]
        with pytest.raises(SessionNotFoundError):
            await db.update(MessageModel("s", "user", "x", "u", message_id="unknown"))
        with pytest.raises(InvalidArgumentError):
            await db.update(MessageModel("s", "user", "x", "u"))

    run(scenario)


def test_a_session_a_block_has_open_is_not_deleted_under_it(run: Callable[[Scenario], None]) -> None:
    """Goal: a cleanup beside a running agent loses nothing of its turn. Method: delete all while one is open."""

    async def scenario(db: DatabaseEngine) -> None:
        manager = SessionManager(engine=db)
        await db.create_many([SessionModel("free"), SessionModel("open")])
        async with manager.session("open") as session:
            session.context["a"] = 1
            with pytest.raises(LeaseHeldError) as caught:
                await db.delete(SessionModel, filters=None)
            assert ["1 other rows were deleted."] == caught.value.__notes__
        assert [("open", {"a": 1})] == [(row.session_id, row.context) for row in await db.find_many(SessionModel)]

    run(scenario)


def test_what_is_no_model_is_refused() -> None:
    """Goal: a mistake is told. Method: wrong models, rows and URLs."""

    async def main() -> None:
        db: Any = InMemoryDatabaseEngine()
        for call in (lambda: db.find_many(dict), lambda: db.create({"session_id": "s"}), lambda: db.count("sessions")):
            with pytest.raises(InvalidArgumentError):
                await call()
        with pytest.raises(InvalidArgumentError):
            SQLDatabaseEngine.from_url("/directory")

    asyncio.run(main())


def test_a_database_in_memory_answers_the_first_call_of_every_loop() -> None:
    """Goal: a second loop finds tables. Method: the same engine in two event loops, one after the other."""
    sql = pytest.importorskip("praison_store.aio.sql", reason="needs the sql extra")
    pytest.importorskip("aiosqlite", reason="needs its driver")
    engine = sql.AsyncSqlEngine("sqlite://")
    assert [0, 0] == [asyncio.run(engine.count()), asyncio.run(engine.count())]


def test_a_message_for_a_session_deleted_meanwhile_begins_none(tmp_path: Path) -> None:
    """Goal: a message brings no deleted session back. Method: delete the session in front of the write."""

    async def main() -> None:
        engine = WatchedEngine(tmp_path)
        database = DatabaseEngine(engine)
        row = await database.create(SessionModel(session_id="s"))
        for call in ("append", "update"):
            engine.before[call] = lambda key, *_arguments: engine.inner.delete(key)
        with pytest.raises(SessionNotFoundError):
            await database.create(MessageModel(session_id="s", role="user", content="late"))
        assert not await engine.inner.exists(row.key)

    asyncio.run(main())
