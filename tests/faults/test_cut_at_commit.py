"""The connection ends at COMMIT: the caller is told that nobody knows, and a retry by id stores once (D7)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from faults.commit_proxy import CommitProxy
from praison_store import OutcomeUnknownError
from praison_store.aio import engine_from_url
from praison_store.engines.sql import SqlEngine
from praison_store.model.message import new_record
from praison_store.model.session import SessionData
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named

sys.path.append(str(Path(__file__).parents[1] / "contract"))
from sql_places import URLS

KEY = SessionKey("shared")
ALL = policy_named("keep_all", 1)
TIMES = [3, pytest.param(25, marks=pytest.mark.long)]
SERVERS = ["postgresql", "mariadb"]


@pytest.fixture(params=SERVERS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty database on each server."""
    found: str = URLS[request.param](tmp_path)
    return found


@pytest.fixture
def proxy(url: str) -> Iterator[CommitProxy]:
    """Give a proxy in front of the server."""
    direct = sa.make_url(url)
    if not direct.host or "/" in direct.host:
        pytest.skip("the server has no port on this machine")
    with CommitProxy((direct.host, direct.port or (5432 if "postgresql" in url else 3306))) as made:
        yield made


def through(url: str, proxy: CommitProxy) -> str:
    """Return the URL of the same database behind the proxy."""
    direct = sa.make_url(url).set(host="127.0.0.1", port=proxy.port)
    direct = direct.set(drivername=direct.get_backend_name())
    if direct.get_backend_name() == "postgresql":
        direct = direct.update_query_dict({"sslmode": "disable"})  # or the proxy reads nothing
    return direct.render_as_string(hide_password=False)


def record(text: str) -> dict[str, Any]:
    """Return a message with its text as its id."""
    return new_record("user", text, 1.0, message_id=text)


def cut_next_of(engine: SqlEngine, proxy: CommitProxy, when: str) -> None:
    """Cut the next COMMIT of an engine; a new connection commits its settings, so that one is made before."""
    engine.exists(KEY)
    proxy.cut_next(when)


def texts(engine: SqlEngine) -> list[Any]:
    """Return what is stored."""
    return [message["content"] for message in engine.history(KEY, None)]


@pytest.mark.parametrize("when", ["before", "behind"])
@pytest.mark.parametrize("times", TIMES)
def test_D7_a_commit_cut_is_unknown_and_a_retry_stores_once(
    url: str, proxy: CommitProxy, when: str, times: int
) -> None:
    """Goal: no guess and no double. Method: cut each append at its COMMIT, look from beside, then send it again."""
    engine, beside = SqlEngine(through(url, proxy)), SqlEngine(url)
    engine.append(KEY, [record("first")], now_s=1.0, policy=ALL)
    expected = ["first"]
    for number in range(times):
        cut_next_of(engine, proxy, when)
        with pytest.raises(OutcomeUnknownError):
            engine.append(KEY, [record(str(number))], now_s=1.0, policy=ALL)
        assert number + 1 == proxy.cuts
        # Another write waits for the lock the lost connection may still have, so that what is read is settled.
        beside.append(KEY, [record(f"beside {number}")], now_s=1.0, policy=ALL)
        settled = texts(beside)
        assert (when == "behind") is (str(number) in settled), "the proxy did not do what this test is about"
        engine.append(KEY, [record(str(number))], now_s=1.0, policy=ALL)
        expected += [str(number), f"beside {number}"] if when == "behind" else [f"beside {number}", str(number)]
        assert expected == texts(beside)
    assert times * 2 + 1 == beside.append(KEY, [record("first")], now_s=1.0, policy=ALL), "revisions"
    print(f"{sa.make_url(url).get_backend_name()}, cut {when}: {times} commits, all OutcomeUnknownError, all stored once")
    engine.close()
    beside.close()


@pytest.mark.parametrize("when", ["before", "behind"])
def test_D7_an_update_or_delete_cut_at_its_commit_is_unknown(url: str, proxy: CommitProxy, when: str) -> None:
    """Goal: every kind of write tells it, leases too. Method: each one cut, then looked at from beside."""
    engine, beside = SqlEngine(through(url, proxy)), SqlEngine(url)
    engine.append(KEY, [record("first")], now_s=1.0, policy=ALL)

    def retitle(session: SessionData) -> None:
        session.metadata["title"] = "new"

    cut_next_of(engine, proxy, when)
    with pytest.raises(OutcomeUnknownError):
        engine.update(KEY, retitle, now_s=1.0, policy=ALL)
    beside.append(KEY, [record("second")], now_s=1.0, policy=ALL)
    found = beside.read(KEY, None)
    assert found is not None
    assert (when == "behind") is ("title" in found.metadata)
    cut_next_of(engine, proxy, when)
    with pytest.raises(OutcomeUnknownError):
        engine.claim(KEY, "a", 60.0)
    # The same owner's claim tells: it keeps its generation.
    lease = engine.claim(KEY, "a", 60.0)
    assert lease is not None
    assert 1 == lease.generation
    cut_next_of(engine, proxy, when)
    with pytest.raises(OutcomeUnknownError):
        engine.delete(KEY, lease=lease)
    beside.append(SessionKey("other"), [record("x")], now_s=1.0, policy=ALL)
    assert engine.release(lease), "the lease outlives the session, and the cut"
    assert (when == "before") is beside.exists(KEY)
    engine.close()
    beside.close()


@pytest.mark.parametrize("when", ["before", "behind"])
@pytest.mark.parametrize("times", TIMES)
def test_D7_an_awaited_commit_cut_is_unknown_and_a_retry_stores_once(
    url: str, proxy: CommitProxy, when: str, times: int
) -> None:
    """Goal and method: the sync engine's, with the awaited drivers."""
    address = through(url, proxy)
    if "sslmode" in address:
        address = address.replace("sslmode=disable", "ssl=disable")

    async def main() -> None:
        engine = engine_from_url(address)
        try:
            await engine.append(KEY, [record("first")], now_s=1.0, policy=ALL)
            for number in range(times):
                await engine.exists(KEY)
                proxy.cut_next(when)
                with pytest.raises(OutcomeUnknownError):
                    await engine.append(KEY, [record(str(number))], now_s=1.0, policy=ALL)
                assert number + 1 == proxy.cuts
                await engine.append(KEY, [record(str(number))], now_s=1.0, policy=ALL)
            found = await engine.history(KEY, None)
            assert ["first", *map(str, range(times))] == [message["content"] for message in found]
        finally:
            await engine.close()

    asyncio.run(main())
    print(f"awaited {sa.make_url(url).get_backend_name()}, cut {when}: {times} commits, all stored once")
