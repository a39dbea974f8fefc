"""D5 in a database: a row somebody else changed is told of, hides nothing else, and is not overwritten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from places import ALL, KEY, NOW_S, retitle, say, texts
from sql_places import URLS

from praison_store.aio.sql import AsyncSqlEngine
from praison_store.engines.sql import SqlEngine
from praison_store.errors import CorruptSessionError, StoreReadError, StoreWriteError
from praison_store.model.session_id import SessionKey

OTHER = SessionKey("other")
DAMAGE = {
    "record": "UPDATE messages SET record = '{' WHERE record LIKE '%\"user\"%'",
    "record_of_another_kind": "UPDATE messages SET record = '[]' WHERE record LIKE '%\"user\"%'",
    "content_that_is_no_json": "UPDATE messages SET is_json = 1, content = '{' WHERE packed IS NULL",
    "metadata": "UPDATE messages SET metadata = '}'",
    "packed": "UPDATE messages SET packed = 'x' WHERE packed IS NOT NULL",
    "session_metadata": "UPDATE sessions SET metadata = '{'",
    "session_extra": "UPDATE sessions SET extra = '1'",
    "session_compaction": "UPDATE sessions SET last_compaction = '[1]'",
}
NOT_SHOWN = ("session_metadata", "session_extra", "session_compaction")
SQLITE_DAMAGE = {
    "name_no_text": "UPDATE sessions SET agent_name = CAST(x'ff' AS TEXT)",
    "content_no_text": "UPDATE messages SET content = CAST(x'6170706c65ff' AS TEXT) WHERE packed IS NULL",
    "count": "UPDATE sessions SET message_count = 'many'",
    "last_seq": "UPDATE sessions SET last_seq = 'x'",
}
CALLS: dict[str, Callable[[SqlEngine], Any]] = {
    "read": lambda engine: engine.read(KEY, None),
    "whole": lambda engine: engine.whole(KEY),
    "history": lambda engine: engine.history(KEY, None),
    "update": lambda engine: engine.update(KEY, retitle, now_s=NOW_S, policy=ALL),
}


def damaged(place: str, path: Path, statement: str) -> str:
    """Return the URL of a database with one session whose rows were changed, and one as it was stored."""
    url = URLS[place](path)
    engine = SqlEngine(url, compress=True)
    say(engine, "apple one", "apple " * 1000)
    engine.close()
    other = sa.create_engine(url, poolclass=sa.NullPool)
    with other.begin() as conn:
        assert conn.execute(sa.text(statement)).rowcount
    engine = SqlEngine(url, compress=True)
    say(engine, "apple pie", key=OTHER)
    engine.close()
    return url


@pytest.mark.parametrize("kind", SQLITE_DAMAGE)
def test_D5_what_only_sqlite_keeps_is_told_of_too(kind: str, tmp_path: Path) -> None:
    """Goal: no driver's error hides a row. Method: text that is none and counts that are none, each call, both worlds."""
    url = damaged("sqlite", tmp_path, SQLITE_DAMAGE[kind])
    engine = SqlEngine(url, compress=True)
    for name, call in CALLS.items():
        if (kind, name) != ("name_no_text", "history"):
            with pytest.raises(CorruptSessionError, match="restore the row"):
                call(engine)
    assert "other" in [info.session_id for info in engine.find()]
    assert "other" in [session.session_id for session, _ in engine.search(["apple"])]
    engine.close()

    async def found() -> list[str]:
        awaited = AsyncSqlEngine(url, compress=True)
        with pytest.raises(CorruptSessionError):
            await awaited.read(KEY, None)
        ids = [info.session_id for info in await awaited.find()]
        await awaited.close()
        return ids

    assert "other" in asyncio.run(found())


@pytest.mark.parametrize("place", URLS)
@pytest.mark.parametrize("kind", DAMAGE)
def test_D5_a_damaged_row_is_told_of_and_hides_no_other_session(kind: str, place: str, tmp_path: Path) -> None:
    """Goal: one error, and every other session. Method: a row of each kind, changed; each call, both worlds."""
    url = damaged(place, tmp_path, DAMAGE[kind])
    engine = SqlEngine(url, compress=True)
    for name, call in CALLS.items():
        if name == "history" and kind in NOT_SHOWN:
            call(engine)
            continue
        with pytest.raises(CorruptSessionError, match="restore the row"):
            call(engine)
    assert "other" in [info.session_id for info in engine.find()]
    assert "other" in [session.session_id for session, _ in engine.search(["apple"])]
    assert ["apple pie"] == texts(engine, key=OTHER)
    engine.close()

    async def found() -> list[str]:
        awaited = AsyncSqlEngine(url, compress=True)
        with pytest.raises(CorruptSessionError):
            await awaited.read(KEY, None)
        ids = [session.session_id for session, _ in await awaited.search(["apple"])]
        await awaited.close()
        return ids

    assert "other" in asyncio.run(found())
    engine = SqlEngine(url, compress=True)
    assert engine.delete(KEY), "what cannot be read can be deleted by whoever means it"
    engine.close()


def test_a_file_that_cannot_be_opened_is_told_as_what_was_asked(tmp_path: Path) -> None:
    """Goal: a read that fails speaks of reading. Method: a directory where the database should be."""
    (tmp_path / "sessions.db").mkdir()
    engine = SqlEngine(f"sqlite:///{tmp_path}/sessions.db")
    with pytest.raises(StoreReadError, match="could not be read"):
        engine.read(KEY, None)
    with pytest.raises(StoreWriteError, match="nothing was stored"):
        engine.append(KEY, [], now_s=NOW_S, policy=ALL)
    engine.close()


def test_an_unreachable_server_is_told_in_one_line_without_its_password(tmp_path: Path) -> None:
    """Goal: an error for people. Method: a port nobody listens at, with a password, read from and written to."""
    for url in ("postgresql://me:secret@127.0.0.1:1/x", "mysql://me:secret@127.0.0.1:1/x"):
        engine = SqlEngine(url)
        with pytest.raises(StoreReadError) as told:
            engine.read(KEY, None)
        assert "secret" not in str(told.value)
        assert "\n" not in str(told.value)
        assert "could not be read" in str(told.value)
        engine.close()
