"""`praison-store serve` as processes of its own, and clients that load it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

LONGEST_S = 60.0


def free_port() -> int:
    """Return a port nobody listens at now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Served:
    """A `praison-store serve` with flags, and variables beside those of this process; ended with the block."""

    def __init__(self, log: Path, *flags: str, **variables: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PRAISON_S")}
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "praison_store.cli", "serve", "--port", str(self.port), *flags],
                stdout=out, stderr=out, env={**environment, **variables}, start_new_session=True)

    def __enter__(self) -> Served:
        self.wait()
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)  # its own group: it and its workers, nobody else
        self.process.wait()

    def wait(self) -> None:
        """Wait until it answers."""
        stop_s = time.monotonic() + LONGEST_S
        while True:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < stop_s, self.log.read_text()
            try:
                httpx.get(f"{self.url}/health/ready", timeout=5).raise_for_status()
                return
            except httpx.HTTPError:
                time.sleep(0.05)

    def workers(self) -> list[int]:
        """Return the process ids of its workers, those that answer."""
        found = []
        for line in self.log.read_text().splitlines():
            if "Started server process [" in line:
                pid = int(line.partition("process [")[2].partition("]")[0])
                if Path(f"/proc/{pid}").exists():
                    found.append(pid)
        return found

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LONGEST_S)


def client(served: Served, **named: Any) -> httpx.Client:
    """Return a client of it."""
    return httpx.Client(base_url=served.url, timeout=60, **named)
