"""SQLite's index for search is brought up to date by searches: whatever comes and goes, it finds what is there."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
import sqlalchemy as sa
from places import ALL, KEY, NOW_S, say
from sql_places import sqlite

from praison_store.aio.sql import AsyncSqlEngine
from praison_store.engines import sql_search
from praison_store.engines.memory import MemoryEngine
from praison_store.engines.sql import SqlEngine
from praison_store.model.session import SessionData
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named

WORDS = ("apple", "pear", "plum", "node.js", "c++", "zwölf", 'say "so"')


def indexed(engine: SqlEngine) -> int:
    """Return up to which message the index reaches, when SQLite itself finds nothing wrong with it."""
    with engine._engine.begin() as conn:
        conn.execute(sa.text("INSERT INTO messages_text(messages_text) VALUES ('integrity-check')"))
        return int(conn.scalar(sa.text("SELECT upto FROM messages_indexed")) or 0)


def found(engine: SqlEngine | MemoryEngine, word: str) -> set[str]:
    """Return the sessions in which a word stands."""
    return {session.session_id for session, archived in engine.search([word.lower()])
            if any(word in str(text) for text in [*(one.content for one in session.messages),
                                                  *(one["content"] for one in archived)])}


@pytest.mark.parametrize("seed", range(8))
def test_a_search_finds_what_is_there_whatever_came_and_went(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: an index that lags is never wrong. Method: random writes, cuts, edits and deletes beside an engine without one."""
    monkeypatch.setattr(sql_search, "_FEW_MESSAGES", 3)
    monkeypatch.setattr(sql_search, "_MANY_MESSAGES", 5)
    lot = random.Random(seed)
    engine, oracle = sqlite(tmp_path), MemoryEngine()
    policies = [ALL, policy_named("truncate", 3), policy_named("archive", 3)]

    def edit(session: SessionData) -> None:
        if session.messages:
            session.messages[lot.randrange(len(session.messages))].content = word

    for _ in range(150):
        key, word, policy = SessionKey(lot.choice("abcd")), lot.choice(WORDS), lot.choice(policies)
        state = lot.getstate()
        step = lot.random()
        for one in (engine, oracle):
            lot.setstate(state)
            if step < 0.6:
                say(one, f"{word} and more", policy=policy, key=key)
            elif step < 0.75 and one.exists(key):
                one.update(key, edit, now_s=NOW_S, policy=ALL)
            elif step < 0.85:
                one.delete(key)
        if lot.random() < 0.3:
            assert {word: found(oracle, word) for word in WORDS} == {word: found(engine, word) for word in WORDS}
            assert indexed(engine) >= 0
    engine.close()


def test_a_search_behind_many_messages_indexes_them_first(tmp_path: Path) -> None:
    """Goal: a message costs its write alone, a search catches up. Method: 1,500 messages, then searches of both worlds."""
    engine = sqlite(tmp_path)
    say(engine, *(f"message {number}" for number in range(1500)))
    assert 0 == indexed(engine)
    assert {"s"} == found(engine, "message 1499")
    assert 1500 == indexed(engine)
    say(engine, *(f"more {number}" for number in range(1500)), key=SessionKey("t"))
    url = f"sqlite:///{tmp_path}/sessions.db"

    async def awaited() -> list[str]:
        other = AsyncSqlEngine(url)
        ids = [session.session_id for session, _ in await other.search(["more 1499"])]
        await other.close()
        return ids

    assert ["t"] == asyncio.run(awaited())
    assert 3000 == indexed(engine)
    engine.delete(SessionKey("t"))
    assert 1500 == indexed(engine)
    say(engine, "a pear", key=SessionKey("u"))
    assert [set(), {"u"}] == [found(engine, "more 1499"), found(engine, "a pear")]
    engine.close()


def test_a_search_that_may_not_write_finds_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Goal: catching up is no condition. Method: another writer keeps its turn for longer than the engine waits."""
    engine = sqlite(tmp_path, lock_timeout_s=0.05)
    say(engine, *(f"message {number}" for number in range(1500)), key=KEY)
    other = sqlite(tmp_path)
    with other._engine.connect() as conn:
        conn.execution_options(writes=True)
        with conn.begin():
            assert {"s"} == found(engine, "message 1499")
    assert "searched without an index" in caplog.text
    engine.close()
    other.close()
