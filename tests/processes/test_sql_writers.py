"""Many processes append to one session in a database: every message is there once, with a number of its own (D3)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from praison_store.engines.sql import SqlEngine
from praison_store.model.message import new_record
from praison_store.model.session import SessionData
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named
from processes.workers import DEADLINE_S, Job, forks_beside_threads, needs_fork, run_all

sys.path.append(str(Path(__file__).parents[1] / "contract"))
from sql_places import URLS

KEY = SessionKey("shared")
ALL, ARCHIVE = policy_named("keep_all", 1), policy_named("archive", 20)


def append_all(url: str, writer: str, count: int, policy: Any) -> int:
    """Append messages one by one with an engine of one's own, and return how many were acknowledged."""
    engine = SqlEngine(url, lock_timeout_s=DEADLINE_S)
    for number in range(count):
        record = new_record("user", f"{writer}:{number}", 1.0, message_id=f"{writer}:{number}")
        engine.append(KEY, [record], now_s=1.0, policy=policy)
    engine.close()
    return count


def set_key(url: str, name: str) -> int:
    """Change one key of a session's context."""
    engine = SqlEngine(url, lock_timeout_s=DEADLINE_S)

    def change(session: SessionData) -> None:
        session.context[name] = name

    engine.update(KEY, change, now_s=1.0, policy=ALL)
    engine.close()
    return 1


def claim_once(url: str, owner: str, rounds: int) -> list[tuple[int, str]]:
    """Contend for a lease that runs out at once, and return the generations won."""
    engine = SqlEngine(url, lock_timeout_s=DEADLINE_S)
    won = []
    for number in range(rounds):
        lease = engine.claim(KEY, f"{owner}:{number}", 0.0)
        if lease is not None:
            won.append((lease.generation, lease.owner))
    engine.close()
    return won


def numbers_in(url: str) -> list[int]:
    """Return the numbers of the stored messages, archive included."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as conn:
        return [row[0] for row in conn.execute(sa.text("SELECT seq FROM messages ORDER BY seq"))]


def assert_all_there(url: str, writers: int, count: int) -> None:
    """Every message once, each writer's in order, numbered from 1 without a gap."""
    engine = SqlEngine(url)
    found = engine.whole(KEY)
    engine.close()
    assert found is not None
    session, archived = found
    texts = [record["content"] for record in session.transcript(archived)[0]]
    assert writers * count == len(set(texts)) == len(texts)
    for writer in range(writers):
        own = [text for text in texts if text.startswith(f"w{writer}:")]
        assert [f"w{writer}:{number}" for number in range(count)] == own
    assert writers * count == session.revision
    assert list(range(1, writers * count + 1)) == numbers_in(url)


@pytest.mark.parametrize("place", URLS)
@pytest.mark.parametrize(("policy", "count"), [
    pytest.param(ARCHIVE, 25, id="archive-25"), pytest.param(ALL, 100, id="keep_all-100", marks=pytest.mark.long),
    pytest.param(ARCHIVE, 100, id="archive-100", marks=pytest.mark.long)])
def test_D3_eight_processes_on_one_session_lose_nothing(place: str, policy: Any, count: int, tmp_path: Path) -> None:
    """Goal: turns across processes, tables and session made by the first. Method: 8 writers, all messages counted."""
    url = URLS[place](tmp_path)
    jobs: list[Job] = [(append_all, (url, f"w{number}", count, policy)) for number in range(8)]
    assert [count] * 8 == run_all(jobs, start="spawn")
    assert_all_there(url, 8, count)


@pytest.mark.parametrize("place", URLS)
def test_D3_changes_of_many_processes_are_all_kept(place: str, tmp_path: Path) -> None:
    """Goal: no read-change-write erases another. Method: eight processes set a key each of one context."""
    url = URLS[place](tmp_path)
    jobs: list[Job] = [(set_key, (url, f"k{number}")) for number in range(8)]
    run_all(jobs, start="spawn")
    engine = SqlEngine(url)
    session = engine.read(KEY, None)
    engine.close()
    assert session is not None
    assert {f"k{number}" for number in range(8)} == set(session.context)


@pytest.mark.parametrize("place", URLS)
def test_D3_a_lease_that_ran_out_has_one_successor(place: str, tmp_path: Path) -> None:
    """Goal: no generation has two holders. Method: six processes claim a lease that runs out at once, 30 times each."""
    url = URLS[place](tmp_path)
    jobs: list[Job] = [(claim_once, (url, f"p{number}", 30)) for number in range(6)]
    won = [pair for one in run_all(jobs, start="spawn") for pair in one]
    generations = [generation for generation, _ in won]
    assert sorted(set(generations)) == sorted(generations)


@needs_fork
@forks_beside_threads
@pytest.mark.parametrize("place", URLS)
def test_D3_a_forked_child_does_not_use_its_parents_connections(place: str, tmp_path: Path) -> None:
    """Goal: an engine may be forked. Method: parent and four children write by one engine, opened before the fork."""
    url = URLS[place](tmp_path)
    engine = SqlEngine(url, lock_timeout_s=DEADLINE_S)
    engine.append(KEY, [new_record("user", "w0:0", 1.0)], now_s=1.0, policy=ALL)
    jobs: list[Job] = [(_append_with(engine), (f"w{number}",)) for number in range(1, 5)]
    run_all(jobs, start="fork")
    engine.append(KEY, [new_record("user", "w0:1", 1.0)], now_s=1.0, policy=ALL)
    assert 42 == len(engine.history(KEY, None))
    engine.close()


def _append_with(engine: SqlEngine) -> Callable[[str], None]:
    def append(writer: str) -> None:
        for number in range(10):
            engine.append(KEY, [new_record("user", f"{writer}:{number}", 1.0)], now_s=1.0, policy=ALL)
        engine.close()

    return append
