"""What only a database can get wrong: text it cannot hold, numbers it rounds, turns it refuses, tables it lacks."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from places import ALL, KEY, NOW_S, retitle, say, texts
from sql_places import URLS, mariadb, postgresql, sqlite

from praison_store import SessionMessage
from praison_store.engines.memory import MemoryEngine
from praison_store.engines.sql import SqlEngine
from praison_store.engines.sql_urls import database_url
from praison_store.errors import (
    InvalidArgumentError,
    LeaseExpiredError,
    LockTimeoutError,
    StoreReadError,
    StoreWriteError,
    TableNotFoundError,
)
from praison_store.model.filters import ComparisonFilter, NotFilter
from praison_store.model.message import new_record
from praison_store.model.session import SessionData
from praison_store.model.session_id import SessionKey
from praison_store.retention import Policy, policy_named

PLACES: dict[str, Callable[..., SqlEngine]] = {"sqlite": sqlite, "postgresql": postgresql, "mariadb": mariadb}
ARCHIVE = policy_named("archive", 2)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    """Name each kind of database."""
    return str(request.param)


@pytest.fixture
def engine(place: str, tmp_path: Path) -> Iterator[SqlEngine]:
    """Give an open, empty engine; closed when the test ends."""
    made = PLACES[place](tmp_path)
    yield made
    made.close()


def rows(url: str, statement: str) -> list[Any]:
    """Return the rows of a statement, run beside the engine, and keep what it changed."""
    other = sa.create_engine(url, poolclass=sa.NullPool)
    with other.begin() as conn:
        result = conn.execute(sa.text(statement))
        return list(result) if result.returns_rows else []


ODD_TEXTS = ["", " ", "a ", "\0", "\1", "a\0\1\2b", "\1\1", "\U0001f600 é ß İ", "\\ % _ ' \" ` ;--", "\r\n\t\x7f\x85",
             "\ufeff\u2028", "e\u0301", "x" * 100_000, "\ud7ff\ue000\U0010ffff"]
ODD_VALUES: list[Any] = [True, 1, 1.0, -0.0, 0, 5e-324, 1.7976931348623157e308, 0.1, 2**63, -(2**63), 2**64 - 1, None,
                         [], {}, {"": {"\0": ["\1", None]}}]


@pytest.mark.parametrize("compress", [False, True])
def test_D6_a_message_reads_back_exactly(place: str, compress: bool, tmp_path: Path) -> None:
    """Goal: no database changes a value. Method: odd texts and values in every field, compared by their repr."""
    engine = PLACES[place](tmp_path, compress=compress)
    records = [new_record("user", text, NOW_S, {"k": text, text: 1}) for text in ODD_TEXTS]
    records += [new_record("r\0", [value, {"v": value}], 0.1, {"v": value}) for value in ODD_VALUES]
    records += [
        new_record("assistant", None, -0.0, tool_calls=[{"id": "c\0", "n": 1.0}], message_id="m\0"),
        new_record("tool", "x", 1e300, tool_call_id="c\0"),
        {**new_record("user", "x", 5e-324), "unknown": {"deep": [1, 1.0, True]}, "timestamp": 5},
    ]
    engine.append(KEY, records, now_s=NOW_S, policy=ALL)
    whole = engine.whole(KEY)
    assert whole is not None
    assert list(map(repr, records)) == [repr(message.to_dict()) for message in whole[0].messages]
    assert [record["content"] for record in records] == texts(engine)
    engine.update(KEY, lambda session: session.messages.reverse(), now_s=NOW_S, policy=ALL)
    whole = engine.whole(KEY)
    assert whole is not None
    assert list(map(repr, records[::-1])) == [repr(message.to_dict()) for message in whole[0].messages]
    engine.close()


def test_D6_a_sessions_own_fields_read_back_exactly(engine: SqlEngine) -> None:
    """Goal: ids, names and unknown fields of any text. Method: store, read, find and filter each of the odd texts."""
    for text in filter(None, ODD_TEXTS[:-2]):
        def change(session: SessionData, text: str = text) -> None:
            session.agent_name = session.user_id = session.parent_id = text
            session.metadata, session.context, session.extra = {text: text}, {"n": [-0.0, 1]}, {"own " + text: 2**64 - 1}

        key = SessionKey(text, text)
        changed = engine.update(key, change, now_s=NOW_S, policy=ALL)
        assert repr(changed) == repr(engine.read(key, None))
        [info] = engine.find(filters=ComparisonFilter("agent_name", "eq", text), namespace=text)
        assert (text, text, text, repr(changed.metadata)) == (
            info.session_id, info.namespace, info.user_id, repr(info.metadata))
    ids = [info.session_id for info in engine.find(order_by="session_id", namespace=None)]
    assert sorted(filter(None, ODD_TEXTS[:-2])) == ids


def test_D4_the_longest_ids_differ_in_their_last_character(engine: SqlEngine) -> None:
    """Goal: no index cuts an id. Method: ids of 4,096 characters of four bytes each, and namespaces that would join."""
    keys = [SessionKey("\U0001f600" * 4095 + last) for last in "ab"] + [SessionKey("bc", "a"), SessionKey("c", "ab")]
    for number, key in enumerate(keys):
        say(engine, str(number), key=key)
    assert [["0"], ["1"], ["2"], ["3"]] == [texts(engine, key) for key in keys]


TERMS = ["node.js", "foo-bar", "c++", "it's", '"', "a", "%", "_", "\\", "100%", "und", "größe", "i̇", "οδος", "k", "日本",
         "say \"hi\"", "or", "and not (", "*", "near/2", "\U0001f600", "x\0y", "part"]
HOLDS = ["We use NODE.JS here", "FOO-BAR", "C++", "It's", 'a " quote', "100% of it", "snake_case", "back\\slash",
         "und", "GRÖSSE und GRÖßE", "İstanbul", "ΟΔΟΣ", "273 \u212a", "日本語", 'Say "Hi"', "AND NOT (x OR y)", "a*b",
         "NEAR/2", "\U0001f600", "X\0Y", "é", "E\u0301"]


@pytest.mark.parametrize("compress", [False, True])
def test_a_search_finds_every_session_with_the_term_and_no_error(place: str, compress: bool, tmp_path: Path) -> None:
    """Goal: user text is never an operator. Method: hard terms, texts, parts, and long texts, against Python's `in`."""
    engine = PLACES[place](tmp_path, compress=compress)
    filler = " filler" * (300 if compress else 1)
    for number, text in enumerate(HOLDS):
        say(engine, text + filler, key=SessionKey(f"s{number}"))
    parts = [{"type": "text", "text": 'Part "one"\n' + filler}, {"type": "image", "data": "größe"}]
    engine.append(SessionKey("parts"), [new_record("user", parts, NOW_S)], now_s=NOW_S, policy=ALL)
    stored = {f"s{number}": (text + filler).lower() for number, text in enumerate(HOLDS)}
    stored["parts"] = parts[0]["text"].lower()
    for term in TERMS:
        found = {session.session_id for session, _ in engine.search([term])}
        assert set() == {name for name, text in stored.items() if term in text} - found, term
    assert {"s0", "s1"} == {session.session_id for session, _ in engine.search(["node.js", "foo-bar"])}
    assert [] == list(engine.search([]))
    engine.close()


def test_a_search_finds_nothing_that_is_gone(engine: SqlEngine) -> None:
    """Goal: an index follows what it indexes. Method: change, cut and delete messages, then search the old words."""
    say(engine, "apple one")

    def change(session: SessionData) -> None:
        session.messages[0].content = "banana two"

    engine.update(KEY, change, now_s=NOW_S, policy=ALL)
    say(engine, "cherry", "date", "elder", policy=policy_named("truncate", 2))
    assert [[], [], [], ["s"]] == [
        [session.session_id for session, _ in engine.search([term])] for term in ("apple", "banana", "cherry", "elder")]
    engine.delete(KEY)
    assert [] == list(engine.search(["elder"]))


def random_record(pick: random.Random, number: int) -> dict[str, Any]:
    """Return a message: plain, of the system, a call of a tool, a result with or without its call's id."""
    kind = pick.choice(["user", "user", "assistant", "system", "call", "result", "bare", "part"])
    call_id = f"c{pick.randrange(4)}"
    match kind:
        case "call":
            return new_record("assistant", None, number, tool_calls=[{"id": call_id}])
        case "result":
            return new_record("tool", str(number), number, tool_call_id=call_id)
        case "bare":
            return new_record("tool", str(number), number)
        case "part":
            part = pick.choice([{"type": "tool_use", "id": call_id}, {"type": "tool_result", "tool_use_id": call_id}])
            return new_record("user", [part], number)
    message_id = f"m{pick.randrange(40)}" if pick.random() < 0.3 else None
    return new_record(kind, str(number), number, message_id=message_id)


def random_change(pick: random.Random, number: int) -> Callable[[SessionData], bool | None]:
    """Return a change that moves, drops, inserts, edits, or does nothing; the same each time it is called."""
    act, seed = pick.randrange(7), pick.random()

    def change(session: SessionData) -> bool | None:
        place = int(seed * (len(session.messages) or 1))
        if act == 0:
            return False
        if act == 1:
            session.messages.insert(place, SessionMessage("user", f"new {number}", float(number)))
        elif act == 2 and session.messages:
            session.messages[place].metadata["k"] = number
        elif act == 3:
            del session.messages[place:place + 2]
        elif act == 4 and session.messages:
            session.messages.append(session.messages.pop(place))
        elif act == 5:
            session.messages[:] = session.messages[place:]
        else:
            session.context["n"] = number
        return None

    return change


@pytest.mark.parametrize("seed", range(6))
def test_D9_a_database_decides_as_memory_does(place: str, seed: int, tmp_path: Path) -> None:
    """Goal: windows, archives and cuts are the same everywhere. Method: random writes on both, everything compared."""
    pick = random.Random(seed)
    policy: Policy = pick.choice([ALL, *(policy_named(name, size) for name in ("archive", "truncate") for size in (1, 5, 9))])
    engine, plain = PLACES[place](tmp_path), MemoryEngine()
    for number in range(60):
        if pick.random() < 0.8:
            records = [random_record(pick, number) for _ in range(pick.choice([1, 1, 1, 2, 6]))]
            made = [one.append(KEY, records, now_s=NOW_S, policy=policy) for one in (engine, plain)]
        else:
            change, keep = random_change(pick, number), pick.random() < 0.9
            made = [one.update(KEY, change, now_s=NOW_S, policy=policy, keep_archive=keep).revision
                    for one in (engine, plain)]
        assert made[0] == made[1]
        assert plain.whole(KEY) == engine.whole(KEY), (seed, number, policy)
        for newest in (None, 1, 3, 8, 20):
            assert plain.history(KEY, newest) == engine.history(KEY, newest), (seed, number, newest)
            assert plain.read(KEY, newest) == engine.read(KEY, newest), (seed, number, newest)
        assert [one.message_count for one in plain.find()] == [one.message_count for one in engine.find()]
    engine.close()


def test_an_append_runs_as_many_statements_at_any_length(engine: SqlEngine) -> None:
    """Goal: O(1). Method: count the statements of an append to a short and to a long session, with and without a cut."""
    counted: list[str] = []
    sa.event.listen(engine._engine, "before_cursor_execute", lambda *args: counted.append(args[2]))
    long_key = SessionKey("long")
    for policy in (ALL, policy_named("archive", 20), policy_named("truncate", 20)):
        engine.delete(KEY)
        engine.delete(long_key)
        for key, count in ((KEY, 30), (long_key, 600)):
            for start in range(0, count, 30):
                say(engine, *map(str, range(start, start + 30)), key=key, policy=policy)
        costs = []
        for key in (KEY, long_key):
            counted.clear()
            for number in range(6):
                say(engine, str(number), key=key, policy=policy)
            costs.append(len(counted))
        assert costs[0] == costs[1]


def test_a_newer_version_of_the_tables_is_refused(place: str, tmp_path: Path) -> None:
    """Goal: no old program writes to new tables. Method: raise the version beside the engine, then use a new one."""
    url = URLS[place](tmp_path)
    engine = SqlEngine(url)
    say(engine, "a")
    rows(url, "UPDATE praison_store_version SET version = 99")
    engine.close()
    newer = SqlEngine(url)
    for call in (lambda: newer.read(KEY, None), lambda: say(newer, "b"), newer.setup_models):
        with pytest.raises(TableNotFoundError, match="version 99"):
            call()
    newer.close()
    rows(url, "UPDATE praison_store_version SET version = 1")
    assert ["a"] == texts(newer)
    newer.close()


def test_missing_tables_are_told_of_until_they_are_made(place: str, tmp_path: Path) -> None:
    """Goal: `create=False` makes nothing. Method: reads and writes before and after setup_models, and after a drop."""
    url = URLS[place](tmp_path)
    engine = SqlEngine(url, create=False)
    for _ in range(2):
        for call in (lambda: engine.read(KEY, None), lambda: say(engine, "a"), lambda: engine.claim(KEY, "me", 1.0)):
            with pytest.raises(TableNotFoundError, match=r"call setup_models\(\)"):
                call()
        engine.setup_models()
        say(engine, "a")
        assert ["a"] == texts(engine)
        for table in ("messages", "sessions", "leases", "praison_store_version"):
            rows(url, f"DROP TABLE {table}")
    engine.close()


def test_tables_are_made_once_by_many_at_the_same_time(place: str, tmp_path: Path) -> None:
    """Goal: first writes do not collide. Method: eight threads, an engine each, make tables and one session."""
    url = URLS[place](tmp_path)
    gate = threading.Barrier(8)
    failures: list[BaseException] = []

    def first_write(number: int) -> None:
        engine = SqlEngine(url, lock_timeout_s=60)
        gate.wait()
        try:
            engine.setup_models()
            say(engine, str(number))
        except BaseException as error:  # noqa: BLE001 - told by the assertion of the main thread
            failures.append(error)
        engine.close()

    threads = [threading.Thread(target=first_write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == failures
    engine = SqlEngine(url)
    assert sorted("01234567") == sorted(texts(engine))
    assert [(1,)] == rows(url, "SELECT count(*) FROM praison_store_version")
    engine.close()


def test_D3_a_turn_that_stays_taken_is_a_timeout_and_nothing_is_written(place: str, tmp_path: Path) -> None:
    """Goal: a wait is bounded and typed. Method: hold the session in a change of another engine, and write."""
    url = URLS[place](tmp_path)
    engine, other = SqlEngine(url), SqlEngine(url, lock_timeout_s=0.2)
    say(engine, "a")
    assert ["a"] == texts(other)

    def change(session: SessionData) -> None:
        with pytest.raises(LockTimeoutError):
            say(other, "b")
        assert ["a"] == texts(other), "a reader does not wait"
        session.messages[0].content = "c"

    engine.update(KEY, change, now_s=NOW_S, policy=ALL)
    assert ["c"] == texts(other)
    say(other, "d")
    assert ["c", "d"] == texts(engine)
    engine.close()
    other.close()


def test_a_write_under_a_lost_lease_is_refused(engine: SqlEngine) -> None:
    """Goal: fencing, within the write. Method: append, update and delete under a lease another one followed."""
    say(engine, "a")
    old = engine.claim(KEY, "old", 0.0)
    new = engine.claim(KEY, "new", 60.0)
    assert old is not None
    assert new is not None
    for call in (
        lambda: engine.append(KEY, [new_record("user", "b", NOW_S)], now_s=NOW_S, policy=ALL, lease=old),
        lambda: engine.update(KEY, retitle, now_s=NOW_S, policy=ALL, lease=old),
        lambda: engine.delete(KEY, lease=old), lambda: engine.renew(old, 5.0),
    ):
        with pytest.raises(LeaseExpiredError):
            call()
    assert engine.release(old) is False
    assert 2 == engine.append(KEY, [new_record("user", "b", NOW_S)], now_s=NOW_S, policy=ALL, lease=new)
    assert engine.delete(KEY, lease=new)
    later = engine.claim(KEY, "new", 60.0)
    assert later is not None
    assert new.generation == later.generation, "the same holder, although the session is gone"


def test_a_filter_the_database_cannot_decide_loses_no_session(engine: SqlEngine) -> None:
    """Goal: rows are dropped only for sure. Method: a `not` over a pattern, with limits and order, over 30 sessions."""
    for number in range(30):
        say(engine, "x", key=SessionKey(f"s{number:02}"))
    odd = NotFilter(ComparisonFilter("session_id", "like", "%0"))
    found = [info.session_id for info in engine.find(filters=odd, order_by="-session_id", limit=3, offset=1)]
    assert ["s28", "s27", "s26"] == found
    assert 27 == engine.count(odd)
    assert [f"s{number:02}" for number in (29, 28)] == [info.session_id for info in engine.find(limit=2)]


@pytest.mark.parametrize(("url", "sync", "awaited"), [
    ("postgresql://u:p@h/d", "postgresql+psycopg", "postgresql+asyncpg"),
    ("postgres://h/d", "postgresql+psycopg", "postgresql+asyncpg"),
    ("postgresql+asyncpg://h/d", "postgresql+psycopg", "postgresql+asyncpg"),
    ("postgresql+psycopg://h/d", "postgresql+psycopg", "postgresql+psycopg"),
    ("sqlite:///f.db", "sqlite+pysqlite", "sqlite+aiosqlite"),
    ("sqlite+aiosqlite:///f.db", "sqlite+pysqlite", "sqlite+aiosqlite"),
    ("mysql://h/d", "mysql+pymysql", "mysql+aiomysql"), ("mysql+aiomysql://h/d", "mysql+pymysql", "mysql+aiomysql"),
    ("mysql+pymysql://h/d", "mysql+pymysql", "mysql+aiomysql"), ("mariadb://h/d", "mysql+pymysql", "mysql+aiomysql"),
])
def test_a_url_works_in_both_worlds(url: str, sync: str, awaited: str) -> None:
    """Goal: one URL for all. Method: the driver each world takes."""
    assert (sync, awaited) == tuple(database_url(url, awaited=world).drivername for world in (False, True))


@pytest.mark.parametrize("url", ["oracle://h/d", "nothing", ""])
def test_another_url_is_refused_without_telling_it(url: str) -> None:
    """Goal: a typed error. Method: other databases, and no URLs."""
    with pytest.raises(InvalidArgumentError):
        SqlEngine(url)


@pytest.mark.parametrize("url", ["postgresql://u:secret@127.0.0.1:1/d", "mysql://u:secret@127.0.0.1:1/d"])
def test_D7_a_server_that_does_not_answer_is_an_error_without_the_password(url: str) -> None:
    """Goal: never an empty history. Method: a port nobody listens on."""
    engine = SqlEngine(url, lock_timeout_s=0.5, create=False)
    with pytest.raises(StoreReadError, match=r"127\.0\.0\.1:1") as caught:
        engine.history(KEY, None)
    assert "secret" not in str(caught.value)
    making = SqlEngine(url, lock_timeout_s=0.5)
    with pytest.raises(StoreWriteError):
        say(making, "x")


def test_a_database_in_memory_lives_as_long_as_its_engine() -> None:
    """Goal: no file is needed. Method: write and read from two threads, then close."""
    engine = SqlEngine("sqlite://")
    say(engine, "a")
    thread = threading.Thread(target=say, args=(engine, "b"))
    thread.start()
    thread.join()
    assert ["a", "b"] == texts(engine)
    assert not engine.capabilities.durable
    engine.close()
    assert [] == texts(engine)
    assert 1 == say(engine, "c")
    engine.close()


def test_D8_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Goal: no other user reads a history. Method: the modes of the directory, the file and its logs, under umask 0."""
    old = os.umask(0)
    try:
        engine = SqlEngine(f"sqlite:///{tmp_path}/new/place/f.db")
        say(engine, "a")
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "new").rglob("*")}
        engine.close()
    finally:
        os.umask(old)
    assert {"place": "0o700", "f.db": "0o600", "f.db-wal": "0o600", "f.db-shm": "0o600"} == modes


@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_a_connection_the_server_ended_is_replaced(name: str, tmp_path: Path) -> None:
    """Goal: a restart of the server is no error. Method: end its connections while idle, and within a change."""
    url = URLS[name](tmp_path)
    engine = SqlEngine(url)
    say(engine, "a")
    calls = []

    def change(session: SessionData) -> None:
        calls.append(len(session.messages))
        if len(calls) == 1:
            end_connections(url)
        session.metadata["n"] = len(calls)

    end_connections(url)
    assert ["a"] == texts(engine)
    end_connections(url)
    assert 2 == say(engine, "b")
    assert {"n": 2} == engine.update(KEY, change, now_s=NOW_S, policy=ALL).metadata
    assert [2, 2] == calls, "the first was rolled back, and the second saw what the first saw"
    engine.close()


def end_connections(url: str) -> None:
    """End every connection to a database but this one."""
    if url.startswith("postgresql"):
        rows(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                  "WHERE datname = current_database() AND pid <> pg_backend_pid()")
        return
    listed = "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
    for (number,) in rows(url, listed):
        rows(url, f"KILL {number}")


def test_without_sqlalchemy_the_extra_is_named() -> None:
    """Goal: a newcomer knows what to install. Method: import the engine where the package cannot be imported."""
    program = "import sys; sys.modules['sqlalchemy'] = None\nimport praison_store.engines.sql"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert 1 == ended.returncode
    assert "MissingExtraError" in ended.stderr
    assert "pip install 'praison_store[sql]'" in ended.stderr


@pytest.mark.parametrize("is_endless", [False, True])
def test_D3_a_session_deleted_right_after_another_made_it_is_made_again(is_endless: bool, tmp_path: Path) -> None:
    """Goal: no write meets a row that is gone. Method: another engine makes it before, and deletes it after the insert."""
    url = URLS["postgresql"](tmp_path)
    engine, other = SqlEngine(url), SqlEngine(url)
    engine.setup_models()
    made: list[int] = []

    def before(*args: Any) -> None:
        if args[2].startswith("INSERT INTO sessions") and (is_endless or not made):
            made.append(say(other, "theirs"))

    def after(*args: Any) -> None:
        if args[2].startswith("INSERT INTO sessions"):
            other.delete(KEY)

    sa.event.listen(engine._engine, "before_cursor_execute", before)
    sa.event.listen(engine._engine, "after_cursor_execute", after)
    if is_endless:
        with pytest.raises(LockTimeoutError, match="made and deleted by others"):
            say(engine, "mine")
    else:
        assert 1 == say(engine, "mine")
        assert ["mine"] == texts(engine)
    assert made
    engine.close()
    other.close()


@pytest.mark.parametrize(("owner", "ttl_s"), [("", 1.0), ("\ud800", 1.0), ("a", -1.0), ("a", float("nan"))])
def test_a_lease_that_cannot_be_meant_is_refused(engine: SqlEngine, owner: str, ttl_s: float) -> None:
    """Goal: no lease of nobody, or of no time. Method: claim and renew with values out of range."""
    with pytest.raises(InvalidArgumentError):
        engine.claim(KEY, owner, ttl_s)
    lease = engine.claim(KEY, "b", 60.0)
    assert lease is not None
    assert 1 == lease.generation
    with pytest.raises(InvalidArgumentError):
        engine.renew(lease, -1.0)


def test_D6_no_statement_asks_for_too_many_values(engine: SqlEngine) -> None:
    """Goal: no limit of a database shows. Method: 1,200 ids, new, stored and in a filter; the values of each read."""
    records = [new_record("user", "x", NOW_S, message_id=f"m{number}") for number in range(1200)]
    counted = [0]

    def count(*args: Any) -> None:
        if args[2].startswith("SELECT"):
            counted.append(len(args[3]))

    sa.event.listen(engine._engine, "before_cursor_execute", count)
    assert [1, 1] == [engine.append(KEY, records, now_s=NOW_S, policy=ALL) for _ in range(2)]
    assert len(records) == len(texts(engine))
    say(engine, "x", key=SessionKey("t"))
    one_of = ComparisonFilter("session_id", "in", ["s", *map(str, range(1200))])
    assert ["s"] == [info.session_id for info in engine.find(filters=one_of)]
    assert (1, 1) == (engine.count(one_of), engine.count(NotFilter(one_of)))
    assert max(counted) <= 510


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_forked_child_has_a_mutex_and_a_memory_of_its_own() -> None:
    """Goal: no hang and no missing table. Method: fork while the mutex is taken, then read and write in the child."""
    engine = SqlEngine("sqlite://")
    say(engine, "a")
    with engine._mutex:
        child = os.fork()
        if not child:
            status = 1
            try:
                signal.alarm(60)  # ends a child that hangs
                status = 0 if ([], 1, ["b"]) == (texts(engine), say(engine, "b"), texts(engine)) else 2
            finally:
                os._exit(status)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ["a"] == texts(engine)
    engine.close()


def test_two_threads_of_a_forked_child_renew_the_pool_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: connections in use stay in their pool. Method: another thread renews it while this one waits for the mutex."""
    engine = SqlEngine("sqlite://")
    engine._process = -1

    class Mutex:
        def __enter__(self) -> None:
            engine._process = os.getpid()

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(engine, "_mutex", Mutex())
    assert [] == texts(engine)
    assert [] == engine._inherited
    engine.close()


def test_leases_on_mariadb_do_not_follow_local_time(tmp_path: Path) -> None:
    """Goal: no lease lasts an hour longer when summer ends. Method: the time zone of an engine's connection."""
    engine = mariadb(tmp_path)
    with engine._engine.connect() as conn:
        assert "+00:00" == conn.scalar(sa.text("SELECT @@session.time_zone"))
    engine.close()


def test_a_search_unpacks_nothing_of_other_namespaces(place: str, tmp_path: Path) -> None:
    """Goal: a tenant pays for its own. Method: another namespace holds what cannot be unpacked."""
    url = URLS[place](tmp_path)
    engine = SqlEngine(url, compress=True)
    say(engine, "apple " * 1000, key=SessionKey("s", "theirs"))
    rows(url, "UPDATE messages SET packed = 'x' WHERE packed IS NOT NULL")
    say(engine, "apple " * 1000)
    for key in ("t", "u"):
        say(engine, "an apple", key=SessionKey(key))
    assert ["u", "t", "s"] == [session.session_id for session, _ in engine.search(["apple"])]
    engine.close()
