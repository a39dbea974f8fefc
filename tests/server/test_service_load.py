"""The service under load: nothing lost, no 5xx, and how far it is from a bare route that returns the same bytes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from mixed_load import Connection, Mixed, bare_command, listens, load, told
from served_processes import Served, free_port

sys.path.append(str(Path(__file__).parents[1] / "contract"))
from sql_places import postgresql_url

SESSIONS, MESSAGES = 64, 20


def store_of(kind: str, tmp_path: Path) -> str:
    """Return where the sessions of a load are."""
    return str(tmp_path / "s") if kind == "json" else postgresql_url(tmp_path)


def mixed(kind: str, tmp_path: Path, clients: int, seconds: float) -> tuple[float, bytes]:
    """Load a service of two workers; check that nothing is lost; return its rate, and what it answers in the end."""
    with Served(tmp_path / "log", "--store", store_of(kind, tmp_path), "--workers", "2",
                PRAISON_SERVER_RATE_PER_SECOND="0") as served:
        first = [{"role": "user", "content": "x" * 200, "message_id": f"first{number}"} for number in range(MESSAGES)]
        with httpx.Client(base_url=served.url, timeout=60) as asking:
            for number in range(SESSIONS):
                asking.put(f"/sessions/s{number}", json={"messages": first}).raise_for_status()
        work = Mixed(SESSIONS)
        statuses, took = asyncio.run(load(served.port, clients, seconds, work))
        rate = told(f"{kind}, {clients} clients, {seconds:g} s", took, seconds)
        assert {200, 201} == set(statuses), statuses
        with httpx.Client(base_url=served.url, timeout=60) as asking:
            body = asking.get("/sessions/s0").content
            for session_id, texts in work.acknowledged.items():
                stored = {one["message_id"] for one in asking.get(f"/sessions/{session_id}").json()["messages"]}
                assert set() == set(texts) - stored, session_id
        assert 0 == served.stop()
    return rate, body


@pytest.mark.parametrize("kind", ["json", "postgresql"])
def test_a_short_mixed_load_loses_nothing(kind: str, tmp_path: Path) -> None:
    """Goal: no lost message, no 5xx. Method: two workers, 16 clients, two seconds."""
    assert 0 < mixed(kind, tmp_path, 16, 2)[0]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["json", "postgresql"])
def test_a_minute_of_mixed_load_loses_nothing_and_is_measured(kind: str, tmp_path: Path) -> None:
    """Goal: as above, with figures. Method: two workers, 64 clients, 60 s; beside the floor, taken the same way."""
    seconds = float(os.environ.get("PRAISON_LOAD_SECONDS", "60"))
    rate, body = mixed(kind, tmp_path, 64, seconds)
    port = free_port()
    bare = subprocess.Popen(bare_command(body, port, tmp_path), start_new_session=True)
    try:
        while not listens(port):
            assert bare.poll() is None
            time.sleep(0.05)
        statuses, took = asyncio.run(load(port, 64, min(seconds, 15), Mixed(SESSIONS)))
    finally:
        os.killpg(bare.pid, signal.SIGKILL)
        bare.wait()
    floor = told(f"a bare route of {len(body)} bytes, two workers", took, min(seconds, 15))
    assert {200, 201} == set(statuses)
    print(f"{kind}: {floor / rate:.1f} times slower than the floor")


def created(served: Served, count: int) -> set[str]:
    """Begin sessions all at once; return their ids."""
    async def one(connection: Connection) -> str:
        status, body = await connection.ask("POST", "/sessions", b'{"user_id":"u"}')
        assert 200 == status, body
        connection.close()
        return str(json.loads(body)["session_id"])

    async def every() -> list[str]:
        return await asyncio.gather(*(one(Connection(served.port)) for _ in range(count)))

    return set(asyncio.run(every()))


@pytest.mark.parametrize("count", [200, pytest.param(3200, marks=pytest.mark.long)])
def test_as_many_ids_as_sessions_begun_at_once(count: int, tmp_path: Path) -> None:
    """Goal: every create its own id. Method: that many connections, one request each, all at once."""
    with Served(tmp_path / "log", "--dir", str(tmp_path / "s"), "--workers", "2") as served:
        begun_s = time.perf_counter()
        ids = created(served, count)
        print(f"{count} creates at once: {time.perf_counter() - begun_s:.1f} s")
        assert count == len(ids)
        assert count == httpx.get(f"{served.url}/sessions?limit=0", timeout=60).json()["total"]
        assert 0 == served.stop()
    shutil.rmtree(tmp_path / "s")
