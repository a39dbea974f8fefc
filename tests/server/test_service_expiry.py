"""What ends: sessions past their time, at once and for good, and the least recently used of who has too many."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from praison_store.aio.urls import engine_from_url
from praison_store.engines import from_url
from praison_store.model.message import new_record
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named
from praison_store.server.expiry import Expiry, seconds_of

Serve = Callable[..., httpx.Client]
ALL = policy_named("keep_all", 1)
HOUR_S = 3600.0


def write_old(place: str, *names: str, hours: float = 2) -> None:
    """Store sessions as they were written hours ago."""
    engine = from_url(place)
    then_s = time.time() - hours * HOUR_S
    for name in names:
        engine.append(SessionKey(name), [new_record("user", f"old {name}", then_s)], now_s=then_s, policy=ALL)
    engine.close()


@pytest.mark.parametrize("kind", ["{}", "sqlite:///{}/sessions.db", "jsonl://{}"])
def test_an_ended_session_is_gone_at_once_on_every_route(serve: Serve, tmp_path: Path, kind: str) -> None:
    """Goal: gone before any sweep, and a read revives nothing. Method: a session of two hours ago, a limit of one."""
    (tmp_path / "place").mkdir()
    place = kind.format(tmp_path / "place")
    write_old(place, "s")
    client = serve(store=place, timeout_hours=1.0, cleanup_interval_minutes=0.0)
    for _ in range(2):
        for path in ("", "/messages", "/export"):
            assert 404 == client.get(f"/sessions/s{path}").status_code, path
    assert {"sessions": [], "total": 0} == client.get("/sessions").json()
    assert [] == client.get("/search", params={"q": "old"}).json()["hits"]
    assert {"sessions": [], "total": 0} == client.get("/sessions", params={"search": "old"}).json()
    assert 404 == client.post("/sessions/s/messages", json={"role": "user", "content": "x"}).status_code
    assert 404 == client.post("/sessions/s/fork").status_code
    assert 404 == client.delete("/sessions/s").status_code
    told = client.get("/sessions/stats").json()
    assert (0, 1) == (told["active_sessions_memory"], told["total_sessions"])


def test_an_id_whose_session_ended_begins_anew(serve: Serve, tmp_path: Path) -> None:
    """Goal: nothing of the old one is in the new one. Method: a query, a put and an import on ended sessions."""
    place = str(tmp_path / "place")
    write_old(place, "q", "p", "i")
    client = serve(store=place, timeout_hours=1.0, cleanup_interval_minutes=0.0)
    told = client.post("/query", json={"query": "new", "thread_id": "q"}).json()
    assert ("You said: new (0 earlier)", True) == (
        told["answer"], told["metadata"]["session_info"]["session_created"])
    assert "old" not in client.get("/sessions/q").text
    document = {"session_id": "p", "messages": [{"role": "user", "content": "new"}], "updated_at": "2020-01-01T00:00:00"}
    assert 201 == client.put("/sessions/p", json=document, headers={"If-None-Match": "*"}).status_code
    assert ["new"] == [one["content"] for one in client.get("/sessions/p").json()["messages"]]
    assert 201 == client.post("/sessions/import", json={**document, "session_id": "i"}).status_code
    assert ["new"] == [one["content"] for one in client.get("/sessions/i").json()["messages"]]


def test_a_cleanup_removes_what_ended_and_counts_it(serve: Serve, tmp_path: Path) -> None:
    """Goal: the count is right, once. Method: three ended sessions, one that lives, one of no readable time."""
    place = str(tmp_path / "place")
    write_old(place, "a", "b", "c")
    Path(place, "odd.json").write_text('{"session_id":"odd","messages":[],"updated_at":"yesterday"}')
    client = serve(store=place, timeout_hours=1.0, cleanup_interval_minutes=0.0)
    client.post("/query", json={"query": "x", "thread_id": "living"}).raise_for_status()
    counts = [client.post("/sessions/cleanup").json()["message"] for _ in range(2)]
    assert ["Cleaned up 3 expired sessions", "Cleaned up 0 expired sessions"] == counts
    assert {"living.json", "odd.json"} == {path.name for path in Path(place).glob("*.json")}
    assert client.get("/sessions/stats").json()["last_cleanup"]


def test_nothing_ends_unless_a_time_is_set(serve: Serve, tmp_path: Path) -> None:
    """Goal: serving a directory of old conversations deletes none. Method: one of ten years ago, the default."""
    place = str(tmp_path / "place")
    write_old(place, "s", hours=10 * 365 * 24)
    client = serve(store=place)
    assert {"message": "Cleaned up 0 expired sessions"} == client.post("/sessions/cleanup").json()
    assert "old s" == client.get("/sessions/s").json()["messages"][0]["content"]


def test_the_background_sweep_runs_once_across_services(tmp_path: Path) -> None:
    """Goal: of two services one sweeps, and the other where the first died. Method: two of them on one directory."""
    place = str(tmp_path / "place")
    write_old(place, "a", "b")

    async def both() -> list[int]:
        engine, swept = engine_from_url(place), [0, 0]
        counts = [Expiry(engine, HOUR_S, interval, lambda count, which=which: swept.__setitem__(
            which, swept[which] + 1)) for which, interval in enumerate((30.0, 30.0))]
        for one in counts:
            one.start()
        async with asyncio.timeout(30):
            while not any(swept):
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        for one in counts:
            await one.stop()
        assert 0 == await engine.count(namespace=None)
        await engine.close()
        return sorted(swept)

    assert [0, 1] == asyncio.run(both())


def test_a_session_written_since_a_sweep_looked_stays(tmp_path: Path) -> None:
    """Goal: no acknowledged message is swept away. Method: write between the sweep's look and its removal."""
    place = str(tmp_path / "place")
    write_old(place, "s")

    async def race() -> list[str]:
        engine = engine_from_url(place)
        find = engine.find

        async def found_late(**named: object) -> object:
            found = await find(**named)  # type: ignore[arg-type]
            now_s = time.time()
            await engine.append(SessionKey("s"), [new_record("user", "new", now_s)], now_s=now_s, policy=ALL)
            return found

        engine.find = found_late  # type: ignore[method-assign, assignment]
        assert 0 == await Expiry(engine, HOUR_S, 60, lambda _: None).sweep()
        history = await engine.history(SessionKey("s"), None)
        await engine.close()
        return [one["content"] for one in history]

    assert ["old s", "new"] == asyncio.run(race())


@pytest.mark.parametrize("most", [1, 3])
def test_a_user_keeps_the_most_recently_used_sessions(serve: Serve, most: int) -> None:
    """Goal: the limit is exact, and the least recently used one goes. Method: five sessions, the first one used."""
    client = serve(max_sessions_per_user=most)
    other = client.post("/sessions", json={"user_id": "mary"}).json()["session_id"]
    begun = []
    for _ in range(5):
        begun.append(client.post("/sessions", json={"user_id": "john"}).json()["session_id"])
        if begun[0] in [row["session_id"] for row in client.get("/users/john/sessions").json()["sessions"]]:
            client.post("/query", json={"query": "x", "thread_id": begun[0], "user_id": "john"}).raise_for_status()
    left = {row["session_id"] for row in client.get("/users/john/sessions").json()["sessions"]}
    assert (set(begun[-1:]) if most == 1 else {begun[0], *begun[-2:]}) == left
    assert 200 == client.get(f"/sessions/{other}").status_code


def test_a_limit_of_one_keeps_one_of_many_at_once(serve: Serve) -> None:
    """Goal: exact under concurrency. Method: 40 sessions begun by 8 threads."""
    client = serve(max_sessions_per_user=1)
    failed: list[int] = []

    def begin() -> None:
        with httpx.Client(base_url=client.base_url, timeout=60) as own:
            failed.extend(answer.status_code for answer in (
                own.post("/sessions", json={"user_id": "john"}) for _ in range(5)) if answer.status_code != 200)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ([], 1) == (failed, client.get("/users/john/sessions").json()["total_count"])


def test_a_time_is_read_as_any_store_writes_it() -> None:
    """Goal: a time that cannot be read ends nothing. Method: with and without a zone, and none."""
    assert [0.0, 0.0, None, None] == [seconds_of(text) for text in (
        "1970-01-01T00:00:00+00:00", "1970-01-01T00:00:00", "", "yesterday")]
