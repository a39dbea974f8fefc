"""The service as its own processes: how it begins and ends, workers that die, and two services on one directory."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from served_processes import LONGEST_S, Served, client, free_port

from praison_store import DefaultSessionStore
from praison_store.engines.urls import from_url
from praison_store.server.running import ClosingProtocol

sys.path.append(str(Path(__file__).parents[1] / "contract"))
from sql_places import postgresql_url


def test_it_serves_the_default_directory_without_any_configuration(tmp_path: Path) -> None:
    """Goal: `praison-store serve --port N` is enough. Method: a home of its own; what is stored is in it."""
    with Served(tmp_path / "log", HOME=str(tmp_path)) as served, client(served) as asking:
        asking.post("/query", json={"query": "Hello", "thread_id": "t"}).raise_for_status()
        assert (tmp_path / ".praison" / "sessions" / "t.json").exists()
        assert 0 == served.stop()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line.startswith("{")]
    assert [200] == [line["status"] for line in lines if line.get("route") == "/query"]


def test_agents_named_on_the_command_line_answer(tmp_path: Path) -> None:
    """Goal: --agent name=module:callable. Method: a module on PYTHONPATH."""
    (tmp_path / "my_agents.py").write_text("def shout(messages):\n    return messages[-1]['content'].upper()\n")
    with Served(tmp_path / "log", "--store", "memory://", "--agent", "shout=my_agents:shout",
                PYTHONPATH=str(tmp_path)) as served, client(served) as asking:
        assert "HELLO" == asking.post("/query", json={"query": "Hello"}).json()["answer"]
        assert ["shout"] == [one["name"] for one in asking.get("/agents").json()["agents"]]


def test_a_mistake_ends_it_with_one_line(tmp_path: Path) -> None:
    """Goal: no trace, and the exit code of the table. Method: wrong flags, a wrong file, an open address."""
    file = tmp_path / "config.yaml"
    file.write_text("sessions:\n  timeout: 5\n")
    for flags in (["--config", str(file)], ["--host", "0.0.0.0"], ["--agent", "x"], ["--store", "oracle://x"]):
        ended = subprocess.run([sys.executable, "-m", "praison_store.cli", "serve", *flags], capture_output=True,
                               text=True, check=False, timeout=LONGEST_S)
        assert 2 == ended.returncode, ended.stderr
        assert "Traceback" not in ended.stderr
        assert ended.stderr.startswith("error: ")


def test_a_service_that_cannot_begin_says_why_and_ends(tmp_path: Path) -> None:
    """Goal: no respawning workers, no traces. Method: a taken port, an agent and a token file that are not there; two workers."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for flags in (["--port", port], ["--agent", "a=no_such_module:x"], ["--tokens", str(tmp_path / "none")]):
            for workers in ("1", "2"):
                ended = subprocess.run(
                    [sys.executable, "-m", "praison_store.cli", "serve", "--store", "memory://", "--workers", workers, *flags],
                    capture_output=True, text=True, check=False, timeout=LONGEST_S)
                assert ended.returncode not in (0, 141), (flags, ended.stderr)
                assert "Traceback" not in ended.stderr
                assert "error: " in ended.stderr


def test_a_client_that_takes_nothing_is_hung_up_on(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: no answer waits for ever. Method: a large answer nobody reads, and a shorter patience; its connection ends."""
    monkeypatch.setattr(ClosingProtocol, "stalled_s", 0.5)
    asking = serve(max_body_mb=64)
    asking.put("/sessions/s", json={"messages": [{"role": "user", "content": "x" * 1000}] * 20_000}).raise_for_status()
    with socket.create_connection(("127.0.0.1", asking.service.port), timeout=LONGEST_S) as connection:
        connection.sendall(b"GET /sessions/s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        server = asking.service._server
        connections = server.server_state.connections
        for _ in range(600):
            threading.Event().wait(0.1)
            if len(connections) <= 1:  # the client's own is kept alive
                break
        assert len(connections) <= 1


def test_a_token_is_made_once_and_kept_as_a_hash(tmp_path: Path) -> None:
    """Goal: what is printed is let in, and the file tells it nobody. Method: the two commands together."""
    file = tmp_path / "tokens"
    command = [sys.executable, "-m", "praison_store.cli", "token", "alice", "--file", str(file)]
    file.write_text("# made by hand, without a newline")
    file.chmod(0o600)
    token = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert token not in file.read_text()
    assert 2 == len(file.read_text().splitlines())
    assert 0o600 == file.stat().st_mode & 0o777
    with Served(tmp_path / "log", "--store", "memory://", "--tokens", str(file)) as served, client(served) as asking:
        header = {"Authorization": f"Bearer {token}"}
        assert [200, 401] == [asking.get("/sessions", headers=one).status_code for one in (header, {})]
        assert 0 == served.stop()
    assert token not in (tmp_path / "log").read_text()


def test_requests_that_began_are_finished_when_it_ends(tmp_path: Path) -> None:
    """Goal: a graceful end loses nothing. Method: SIGTERM while an agent thinks; its answer comes and is stored."""
    (tmp_path / "slow_agents.py").write_text(
        "import pathlib, time\n\ndef slow(messages):\n"
        f"    pathlib.Path({str(tmp_path / 'asked')!r}).touch()\n    time.sleep(1)\n    return 'done'\n")
    with Served(tmp_path / "log", "--dir", str(tmp_path / "s"), "--agent", "slow=slow_agents:slow",
                PYTHONPATH=str(tmp_path)) as served:
        told: list[str] = []

        def ask() -> None:
            with client(served) as asking:
                told.append(asking.post("/query", json={"query": "x", "thread_id": "t"}).json()["answer"])

        thread = threading.Thread(target=ask)
        thread.start()
        while not (tmp_path / "asked").exists():
            threading.Event().wait(0.01)
        assert 0 == served.stop()
        thread.join()
    assert ["done"] == told
    with DefaultSessionStore(str(tmp_path / "s")) as store:
        assert ["x", "done"] == [one["content"] for one in store.get_chat_history("t")]


def test_a_second_service_does_not_sweep_the_same_directory(tmp_path: Path) -> None:
    """Goal: told who sweeps already. Method: two services with a time limit on one directory; then one that sweeps not."""
    flags = ["--dir", str(tmp_path / "s"), "--timeout-hours", "1"]
    with Served(tmp_path / "log", *flags) as served:
        ended = subprocess.run([sys.executable, "-m", "praison_store.cli", "serve", "--port", "0", *flags],
                               capture_output=True, text=True, check=False, timeout=LONGEST_S)
        assert 9 == ended.returncode, ended.stderr
        assert f"The process {served.process.pid} is a service" in " ".join(ended.stderr.split())
        with Served(tmp_path / "log2", *flags, PRAISON_SERVER_CLEANUP_INTERVAL_MINUTES="0") as other:
            assert 0 == other.stop()
        with DefaultSessionStore(str(tmp_path / "s")) as store:
            assert [] == store.check().problems
        assert 0 == served.stop()
    with Served(tmp_path / "log", *flags) as served:
        assert 0 == served.stop()


@pytest.mark.parametrize("kind", ["json", "postgresql"])
def test_a_killed_worker_loses_nothing_it_acknowledged(kind: str, tmp_path: Path) -> None:
    """Goal: kill -9 under load. Method: two workers, 8 writers; one worker is killed twice, every 201 is looked for."""
    url = str(tmp_path / "s") if kind == "json" else postgresql_url(tmp_path)
    with Served(tmp_path / "log", "--store", url, "--workers", "2", PRAISON_SERVER_RATE_PER_SECOND="0") as served:
        acknowledged: list[tuple[str, str]] = []
        stop = threading.Event()

        def write(number: int) -> None:
            with client(served) as asking:
                thread_id, count = f"s{number % 4}", 0
                while not stop.is_set():
                    count += 1
                    text = f"{number}.{count}"
                    try:
                        answer = asking.post(f"/sessions/{thread_id}/messages", json={
                            "role": "user", "content": text, "message_id": text})
                    except httpx.TransportError:
                        continue  # its worker was killed; whether it is stored nobody promised
                    assert 201 == answer.status_code, answer.text
                    acknowledged.append((thread_id, text))

        with client(served) as asking:
            for number in range(4):
                asking.put(f"/sessions/s{number}", json={"messages": []}).raise_for_status()
        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for wanted in (100, 200):
            while len(acknowledged) < wanted:
                threading.Event().wait(0.01)
            os.kill(served.workers()[0], signal.SIGKILL)
        while len(acknowledged) < 400:
            threading.Event().wait(0.01)
        stop.set()
        for thread in threads:
            thread.join()
        db = from_url(url) if kind == "postgresql" else None
        with DefaultSessionStore(str(tmp_path / "s"), retention="keep_all", db=db) as store:
            stored = {(one, message["content"]) for one in ("s0", "s1", "s2", "s3")
                      for message in store.get_chat_history(one)}
        assert set() == set(acknowledged) - stored
        assert 0 == served.stop()


def test_answers_leave_at_once_on_a_socket_of_several_workers() -> None:
    """Goal: no wait for an acknowledgement. Method: the socket uvicorn makes for its workers; the option of a connection."""
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    config = uvicorn.Config(app, http=ClosingProtocol, port=free_port(), lifespan="off", log_level="error")
    server, listening = uvicorn.Server(config), config.bind_socket()
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{config.port}", timeout=60) as asking:
            assert 204 == asking.get("/").status_code
            options = [one.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                       for one in server.server_state.connections]
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
    assert [1] == [bool(option) for option in options]


def test_metrics_count_over_all_workers(tmp_path: Path) -> None:
    """Goal: one number, whoever is asked. Method: 40 requests to two workers, each answer of /metrics alike."""
    with Served(tmp_path / "log", "--dir", str(tmp_path / "s"), "--workers", "2") as served:
        for _ in range(40):
            httpx.get(f"{served.url}/agents", timeout=60).raise_for_status()
        for _ in range(6):
            text = httpx.get(f"{served.url}/metrics", timeout=60).text
            counted = [line for line in text.splitlines()
                       if line.startswith("praison_store_requests_total") and 'route="/agents"' in line]
            assert [40.0] == [float(line.split()[-1]) for line in counted]
        assert 0 == served.stop()
