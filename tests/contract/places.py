"""Every engine, each on a real place of its own, and the few acts the tests of the contract are made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from http_place import http
from service_place import served
from sql_places import mariadb, postgresql, sqlite

from praison_store.engines import Engine
from praison_store.engines.json_files import JsonFilesEngine
from praison_store.engines.jsonl import JsonlEngine
from praison_store.engines.memory import MemoryEngine
from praison_store.model.message import new_record
from praison_store.model.session import SessionData
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named

KEY = SessionKey("s")
ALL, ARCHIVE, TRUNCATE = policy_named("keep_all", 1), policy_named("archive", 2), policy_named("truncate", 2)
NOW_S = 1_767_326_400.0
ENGINES: dict[str, Callable[[Path], Engine]] = {
    "json_files": lambda path: JsonFilesEngine(str(path), durability="process"),
    "memory": lambda _path: MemoryEngine(),
    "jsonl": lambda path: JsonlEngine(str(path), durability="process"),
    "sqlite": sqlite,
    "postgresql": postgresql,
    "mariadb": mariadb,
    "http": http,
    "service": served,
}

# One parameter a place. Our own service comes with --long: the stand-in speaks the same protocol, and tests/server asks ours.
EACH = [pytest.param(name, marks=pytest.mark.long) if name == "service" else name for name in ENGINES]


def say(engine: Engine, *texts: str, key: SessionKey = KEY, policy: Any = ALL, now_s: float = NOW_S) -> int:
    """Append messages in one write."""
    return engine.append(key, [new_record("user", text, now_s) for text in texts], now_s=now_s, policy=policy)


def texts(engine: Engine, key: SessionKey = KEY, newest: int | None = None) -> list[Any]:
    """Return what a history shows."""
    return [message["content"] for message in engine.history(key, newest)]


def retitle(session: SessionData) -> None:
    """Change a session's metadata."""
    session.metadata["title"] = "new"


def archived(engine: Engine, key: SessionKey = KEY) -> list[Any]:
    """Return what a session's archive holds."""
    return [record["content"] for record in (engine.whole(key) or (None, []))[1]]
