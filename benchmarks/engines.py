"""
What does a message cost on the other engines, and does it cost more in a long session?

First the append at 100 and at 100,000 messages, interleaved, of every engine that promises one cost. Then append and
read of the newest 100 beside the sessions of openai-agents: its SQLiteSession on a file, and its SQLAlchemySession on
PostgreSQL, each flushing as ours does. Databases are those of PRAISON_BENCH_POSTGRESQL and PRAISON_BENCH_MYSQL; by
default the ones named `test` on this machine.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from praison_store import DefaultSessionStore
from praison_store.engines.urls import from_url
from praison_store.errors import SessionStoreError
from praison_store.model.message import new_record
from praison_store.model.session_id import key_of
from praison_store.retention import policy_named

from .harness import Contender, interleaved, ratio
from .report import Report
from .stores import OPENAI, SESSION, Kind, Store, installed, text_of

POSTGRESQL = os.environ.get("PRAISON_BENCH_POSTGRESQL", "postgresql://postgres@127.0.0.1/test")
MYSQL = os.environ.get("PRAISON_BENCH_MYSQL", "mysql://root@127.0.0.1/test")
SHORT, LONG = 100, 100_000
ALL = policy_named("keep_all", 1)
GROWTH_BAR, PEER_BAR = 1.5, 1.0


def measure(report: Report) -> None:
    """Measure growth, then the peers."""
    _growth(report)
    sqlite = [_ours("sqlite:///{directory}/ours.db", "SQLite"), OPENAI]
    _beside(report, "SQLite", sqlite, report.rounds(1000, 10))
    postgresql = [
        Kind("ours, PostgreSQL, async", OursAsync, "full", {"url": POSTGRESQL}),
        Kind("openai-agents SQLAlchemySession", OpenAISQLAlchemy, "full", {"url": POSTGRESQL}),
    ]
    try:
        _beside(report, "PostgreSQL", postgresql, report.rounds(500, 10))
    except SessionStoreError as error:
        report.note(f"PostgreSQL: missing ({error})")


def _growth(report: Report) -> None:
    long = report.rounds(LONG, 2 * SHORT)
    urls = {"jsonl": f"jsonl://{report.directory}/jsonl", "SQLite": f"sqlite:///{report.directory}/growth.db",
            "PostgreSQL": POSTGRESQL, "MariaDB": MYSQL}
    for name, url in urls.items():
        engine = from_url(url)
        try:
            contenders = []
            for messages in (SHORT, long):
                key = key_of(f"benchmark-{messages}")
                engine.delete(key)
                for start in range(0, messages, 1000):
                    numbers = range(start, min(start + 1000, messages))
                    batch = [new_record("user", text_of(f"{number} "), 1.0) for number in numbers]
                    engine.append(key, batch, now_s=time.time(), policy=ALL)
                one = [new_record("user", text_of("one more "), 1.0)]
                add = partial(engine.append, key, one, now_s=time.time(), policy=ALL)
                contenders.append(Contender(f"{name}, {messages:,} messages", _untimed(add)))
            timings = interleaved(contenders, report.rounds(400, 10))
            short_name, long_name = (contender.name for contender in contenders)
            report.times(f"append, {name}", timings, floors={long_name: short_name})
            report.bar(f"{name}: append at {long:,} messages, x at {SHORT}", "<=", GROWTH_BAR,
                       ratio(timings, long_name, short_name))
            for messages in (SHORT, long):
                engine.delete(key_of(f"benchmark-{messages}"))
        except SessionStoreError as error:
            report.note(f"{name}: missing ({error})")
        finally:
            engine.close()


def _untimed(call: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        call()

    return run


def _beside(report: Report, name: str, kinds: list[Kind], rounds: int) -> None:
    present = installed(kinds, report.note)
    stores: dict[str, Store] = {}
    for kind in present:
        directory = report.directory / name / kind.name.replace(" ", "-")
        directory.mkdir(parents=True)
        stores[kind.name] = kind.open(directory)
        stores[kind.name].fill([text_of(f"message {number} ") for number in range(1000)])
    mine = kinds[0].name
    for what in ("append", "read the newest 100"):
        timings = interleaved([_doing(what, kind, store) for kind, store in stores.items()], rounds)
        report.times(f"{what}, {name}, 1,000 messages", timings, ours=mine)
        report.bar(f"{name}: {what}, times as fast as {kinds[1].name}", ">=", PEER_BAR,
                   ratio(timings, kinds[1].name, mine))
    for store in stores.values():
        store.fill([])
        store.close()


def _doing(what: str, name: str, store: Store) -> Contender:
    return Contender(name, partial(store.add, text_of("one more ")) if what == "append" else store.history)


def _ours(url: str, name: str) -> Kind:
    return Kind(f"ours, {name}", OursAt, "full", {"url": url})


class OursAt:
    """This package's store on an engine's URL."""

    def __init__(self, directory: Path, url: str) -> None:
        self._store = DefaultSessionStore(db=url.format(directory=directory), retention="keep_all")

    def add(self, text: str) -> None:
        """Add a message."""
        self._store.add_message(SESSION, "user", text)

    def history(self) -> None:
        """Read the newest 100 messages."""
        self._store.get_chat_history(SESSION, 100)

    def fill(self, texts: Sequence[str]) -> None:
        """Replace the messages."""
        self._store.delete_session(SESSION)
        self._store.add_messages(SESSION, [{"role": "user", "content": text} for text in texts])

    def texts(self) -> list[str]:
        """Return every message's text."""
        return [message["content"] for message in self._store.get_chat_history(SESSION)]

    def close(self) -> None:
        """Close the store."""
        self._store.close()


class _Awaited:
    """What both async contenders share: a loop of their own, and the time of the awaited call alone."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def _run(self, awaitable: Awaitable[Any]) -> Any:
        async def awaited() -> Any:
            return await awaitable

        return self._loop.run_until_complete(awaited())

    def _timed(self, call: Callable[[], Awaitable[Any]]) -> int:
        async def timed() -> int:
            start_ns = time.perf_counter_ns()
            await call()
            return time.perf_counter_ns() - start_ns

        return self._loop.run_until_complete(timed())


class OursAsync(_Awaited):
    """This package's awaited SQL engine."""

    def __init__(self, _directory: Path, url: str) -> None:
        super().__init__()
        from praison_store.aio.sql import AsyncSqlEngine

        self._engine, self._key = AsyncSqlEngine(url), key_of(SESSION)

    def add(self, text: str) -> int:
        """Add a message."""
        record = new_record("user", text, 1.0)
        return self._timed(lambda: self._engine.append(self._key, [record], now_s=time.time(), policy=ALL))

    def history(self) -> int:
        """Read the newest 100 messages."""
        return self._timed(lambda: self._engine.history(self._key, 100))

    def fill(self, texts: Sequence[str]) -> None:
        """Replace the messages."""
        self._run(self._engine.delete(self._key))
        records = [new_record("user", text, 1.0) for text in texts]
        if records:
            self._run(self._engine.append(self._key, records, now_s=time.time(), policy=ALL))

    def texts(self) -> list[str]:
        """Return every message's text."""
        return [message["content"] for message in self._run(self._engine.history(self._key, None))]

    def close(self) -> None:
        """Close the engine and the loop."""
        self._run(self._engine.close())
        self._loop.close()


class OpenAISQLAlchemy(_Awaited):
    """The SQLAlchemy session of openai-agents."""

    def __init__(self, _directory: Path, url: str) -> None:
        super().__init__()
        from agents.extensions.memory import SQLAlchemySession

        self._session = SQLAlchemySession.from_url(
            SESSION, url=url.replace("postgresql://", "postgresql+asyncpg://"), create_tables=True,
            sessions_table="bench_agent_sessions", messages_table="bench_agent_messages",
        )

    def add(self, text: str) -> int:
        """Add an item."""
        return self._timed(lambda: self._session.add_items([{"role": "user", "content": text}]))

    def history(self) -> int:
        """Read the newest 100 items."""
        return self._timed(lambda: self._session.get_items(100))

    def fill(self, texts: Sequence[str]) -> None:
        """Replace the items."""
        self._run(self._session.clear_session())
        items: Any = [{"role": "user", "content": text} for text in texts]
        if items:
            self._run(self._session.add_items(items))

    def texts(self) -> list[str]:
        """Return every item's text."""
        return [str(item["content"]) for item in self._run(self._session.get_items())]

    def close(self) -> None:
        """Close the engine and the loop."""
        self._run(self._session.engine.dispose())
        self._loop.close()
