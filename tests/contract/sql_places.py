"""Real databases for tests: one of its own for each process on each server, emptied for each test, gone at exit."""

from __future__ import annotations

import atexit
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from praison_store.engines.sql import SqlEngine

POSTGRESQL = os.environ.get("PRAISON_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/test")
MARIADB = os.environ.get("PRAISON_TEST_MARIADB", "mysql://root@127.0.0.1:3306/test")
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
    name = f"praison_test_{process}"
    admin = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")

    def drop() -> None:
        if os.getpid() == process:
            force = " WITH (FORCE)" if url.get_backend_name() == "postgresql" else ""
            with admin.connect() as conn:
                conn.execute(sa.text(f"DROP DATABASE IF EXISTS {name}{force}"))

    drop()
    with admin.connect() as conn:
        conn.execute(sa.text(f"CREATE DATABASE {name}"))
    atexit.register(drop)
    return url.set(database=name).render_as_string(hide_password=False)
