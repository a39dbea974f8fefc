"""
The Python of NexAU's session management document, with only its import lines changed.

Its examples that make an Agent are in test_nexau_agents.py.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from awaited_examples import run

from praison_store.aio import (
    AgentLockExpiredError,
    JSONLDatabaseEngine,
    MessageModel,
    SessionManager,
    SessionModel,
    SQLDatabaseEngine,
    TableNotFoundError,
)

sys.path.append(str(Path(__file__).parents[1] / "contract"))
from sql_places import URLS

QUICK_START = '''
from praison_store.aio import SessionManager
from praison_store.aio import SQLDatabaseEngine

# Initialize storage backend
engine = SQLDatabaseEngine.from_url("sqlite+aiosqlite:///sessions.db")
await engine.setup_models()

# Create session manager
session_manager = SessionManager(engine=engine)
'''

SERVER = '''
from praison_store.aio import SessionManager, SQLDatabaseEngine
engine = SQLDatabaseEngine.from_url(
    "SERVER"
)

await engine.setup_models()
session_manager = SessionManager(engine=engine)
'''

IN_MEMORY = '''
from praison_store.aio import InMemoryDatabaseEngine, SessionManager

engine = InMemoryDatabaseEngine()
session_manager = SessionManager(engine=engine)
'''

JSONL = '''
from praison_store.aio import JSONLDatabaseEngine, SessionManager

engine = JSONLDatabaseEngine(storage_path="/path/to/storage")
session_manager = SessionManager(engine=engine)
'''

CONCURRENCY = '''
from praison_store.aio import SessionManager
session_manager = SessionManager(
    engine=engine,
    lock_ttl=30.0,  # Lock expires after 30 seconds
    heartbeat_interval=10.0,  # Renew lock every 10 seconds
)
'''

LONGER = '''
from praison_store.aio import SessionManager
session_manager = SessionManager(
    engine=engine,
    lock_ttl=60.0,  # Increase from default 30 seconds
    heartbeat_interval=20.0,
)
'''

CLEANUP = '''
from datetime import datetime, timedelta

from praison_store.aio import SessionModel
from praison_store.aio import AndFilter, ComparisonFilter, SQLDatabaseEngine

# engine already created and setup_models() called
cutoff = datetime.now() - timedelta(days=30)
old_sessions = await engine.find_many(
    SessionModel,
    filters=ComparisonFilter.lt("updated_at", cutoff),
)

for session in old_sessions:
    await engine.delete(
        SessionModel,
        filters=AndFilter(filters=[
            ComparisonFilter.eq("user_id", session.user_id),
            ComparisonFilter.eq("session_id", session.session_id),
        ]),
    )
'''

SETUP_ONCE = '''
from praison_store.aio import SQLDatabaseEngine
engine = SQLDatabaseEngine.from_url("sqlite+aiosqlite:///sessions.db")
await engine.setup_models()  # Do this once
'''


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each example in an empty directory."""
    monkeypatch.chdir(tmp_path)


async def use(manager: SessionManager) -> None:
    """Do what an agent does: hold the lock, say something as alice and as bob, and find it again."""
    for user_id in ("alice@example.com", "bob@example.com"):
        agent_id, _ = await manager.register_agent(user_id=user_id, session_id="chat_001", agent_name="assistant")
        async with manager.agent_lock.acquire("chat_001", agent_id, user_id):
            said = [{"role": "user", "content": f"My name is {user_id}"}, {"role": "assistant", "content": "Hi!"}]
            await manager.append_messages(
                user_id=user_id, session_id="chat_001", messages=said, agent_id=agent_id, run_id="run_1"
            )
            await manager.update_session_context(user_id=user_id, session_id="chat_001", context={"name": user_id})
        assert said == await manager.get_history(user_id=user_id, session_id="chat_001", agent_id=agent_id)
        assert ["run_1"] == await manager.get_runs(user_id=user_id, session_id="chat_001")
        again, session = await manager.register_agent(user_id=user_id, session_id="chat_001", agent_name="assistant")
        assert (agent_id, {"name": user_id}) == (again, session.context)
    for user_id in ("alice@example.com", "bob@example.com"):
        found = await manager.get_session(user_id=user_id, session_id="chat_001")
        assert found is not None
        assert (user_id, f"My name is {user_id}") == (found.user_id, found.messages[0].content)
    assert None is await manager.get_session(session_id="chat_001")


@pytest.mark.parametrize("place", ["sqlite", "postgresql", "mariadb", "memory", "jsonl"])
def test_every_storage_backend(place: str, tmp_path: Path) -> None:
    """Goal: each backend's example runs, and a manager works on it. Method: the real servers, and a path of our own."""

    async def main() -> None:
        server = "" if place in ("memory", "jsonl", "sqlite") else URLS[place](tmp_path)
        driver = {"postgresql": "postgresql+asyncpg", "mariadb": "mysql+aiomysql"}.get(place, "")
        source = {"sqlite": QUICK_START, "memory": IN_MEMORY, "jsonl": JSONL.replace("/path", f"{tmp_path}/path")}.get(
            place, SERVER.replace("SERVER", f"{driver}:{server.partition(':')[2]}")
        )
        names = await run(source)
        await use(names["session_manager"])
        engine = names["engine"]
        assert 2 == await engine.count(SessionModel)
        assert 4 == await engine.count(MessageModel)
        await engine.close()

    asyncio.run(main())


def test_several_requests_of_one_session_wait_for_each_other() -> None:
    """Goal: the concurrency example's managers lock. Method: ten runs that read, wait and write."""

    async def main() -> None:
        names = await run(IN_MEMORY)
        await run(CONCURRENCY, names)
        await run(LONGER, names)
        manager: SessionManager = names["session_manager"]
        assert (60.0, 20.0) == (manager.agent_lock.ttl_s, manager.agent_lock.heartbeat_s)

        async def agent_run(number: int) -> None:
            async with manager.agent_lock.acquire("sess_456", f"agent {number}", "user_123"):
                history = await manager.get_history(user_id="user_123", session_id="sess_456")
                await asyncio.sleep(0)
                said = [{"role": "user", "content": str(len(history))}]
                await manager.append_messages(user_id="user_123", session_id="sess_456", messages=said)

        await asyncio.gather(*map(agent_run, range(10)))
        history = await manager.get_history(user_id="user_123", session_id="sess_456")
        assert [str(number) for number in range(10)] == [message["content"] for message in history]

    asyncio.run(main())


@pytest.mark.parametrize("place", ["sqlite", "memory", "jsonl"])
def test_the_session_cleanup_example(place: str, tmp_path: Path) -> None:
    """Goal: old sessions go, with their messages, and new ones stay. Method: one of last year, one of now."""

    async def main() -> None:
        source = {"sqlite": QUICK_START, "memory": IN_MEMORY, "jsonl": JSONL.replace("/path", f"{tmp_path}/path")}
        names = await run(source[place])
        await use(names["session_manager"])
        engine = names["engine"]
        old = SessionModel("old", "carol", created_at="2020-01-01T00:00:00.000000+00:00")
        await engine.create(old)
        await engine.create(MessageModel("old", "user", "long ago", "carol"))
        await age(engine, old)
        await run(CLEANUP, names)
        assert ["old"] == [session.session_id for session in names["old_sessions"]]
        left = await engine.find_many(SessionModel, order_by="user_id")
        assert ["alice@example.com", "bob@example.com"] == [session.user_id for session in left]
        assert 4 == await engine.count(MessageModel)
        await engine.close()

    asyncio.run(main())


async def age(engine: Any, row: SessionModel) -> None:
    """Give a session the time of its last change, as an import does."""
    from praison_store.retention import policy_named

    def change(session: Any) -> None:
        session.updated_at = row.created_at

    await engine.engine.update(row.key, change, now_s=0.0, policy=policy_named("keep_all", 1))


def test_a_database_without_tables_says_so() -> None:
    """Goal: the documented error and its cure. Method: use an engine before and after setup_models()."""

    async def main() -> None:
        engine = SQLDatabaseEngine.from_url("sqlite+aiosqlite:///sessions.db")
        with pytest.raises(TableNotFoundError, match="Table 'sessions' does not exist"):
            await engine.find_many(SessionModel)
        names = await run(SETUP_ONCE)
        assert [] == await engine.find_many(SessionModel)
        await engine.close()
        await names["engine"].close()

    asyncio.run(main())


def test_an_expired_lock_is_told_in_the_documented_words(tmp_path: Path) -> None:
    """Goal: AgentLockExpiredError: Lock expired. Method: another claims it while its holder is not looking."""

    async def main() -> None:
        manager = SessionManager(engine=JSONLDatabaseEngine(storage_path=tmp_path), lock_ttl=0.2, heartbeat_interval=0.1)

        async def stall() -> None:
            async with manager.agent_lock.acquire("s", "agent") as held:
                assert held.lease is not None
                await manager.engine.release(held.lease)
                assert await manager.engine.claim(held.key, "another", 30.0)
                await asyncio.Event().wait()

        with pytest.raises(AgentLockExpiredError, match="Lock expired"):
            await stall()

    asyncio.run(main())
