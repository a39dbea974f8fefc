"""The tables of a database: made when they are first needed, safe when many processes do so at once, and versioned."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles

from ..errors import LockTimeoutError, TableNotFoundError

logger = logging.getLogger("praison_store")
VERSION = 1
_TURN = "praison_store tables"
_TURN_NUMBER = 7_261_904_233  # the same for every process; PostgreSQL names an advisory lock by a number


class ExactText(sa.Text):
    """Text of any length that compares by code point, trailing blanks included."""

    cache_ok = True


class KeyText(sa.String):
    """Text of 64 hexadecimal digits, as short as the database keeps it."""

    cache_ok = True


class Number(sa.Float[float]):
    """A float of 64 bits."""

    cache_ok = True


@compiles(ExactText)
def _exact_text(_kind: ExactText, compiler: Any, **_options: Any) -> str:
    dialect = compiler.dialect
    if dialect.name == "postgresql":
        return 'TEXT COLLATE "C"'
    if dialect.name == "mysql":
        collation = "utf8mb4_nopad_bin" if dialect.is_mariadb else "utf8mb4_0900_bin"
        return f"LONGTEXT CHARACTER SET utf8mb4 COLLATE {collation}"
    return "TEXT"


@compiles(KeyText)
def _key_text(_kind: KeyText, compiler: Any, **_options: Any) -> str:
    dialect = compiler.dialect
    if dialect.name == "mysql":
        return "CHAR(64) CHARACTER SET ascii COLLATE ascii_bin"
    return 'VARCHAR(64) COLLATE "C"' if dialect.name == "postgresql" else "TEXT"


@compiles(Number)
def _number(_kind: Number, compiler: Any, **_options: Any) -> str:
    return {"postgresql": "DOUBLE PRECISION", "mysql": "DOUBLE"}.get(compiler.dialect.name, "REAL")


Bytes = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql")
_INNODB: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4"}


def _required(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


metadata = sa.MetaData()

# The key is made of namespace and name, so that no index holds a name of 4,096 characters, and every table begins with
# it: a session never crosses a shard.
sessions = sa.Table(
    "sessions", metadata,
    sa.Column("id", KeyText(64), primary_key=True), _required("namespace", ExactText), _required("name", ExactText),
    sa.Column("agent_name", ExactText), sa.Column("user_id", ExactText),
    _required("created_at", ExactText), _required("updated_at", ExactText), _required("revision", sa.BigInteger),
    sa.Column("parent_id", ExactText), _required("metadata", ExactText), _required("context", ExactText),
    _required("extra", ExactText), sa.Column("last_compaction", ExactText),
    # What is counted here is never counted by reading messages.
    _required("message_count", sa.BigInteger), sa.Column("leading_messages", sa.BigInteger),
    _required("leading_system", sa.BigInteger), _required("size_bytes", sa.BigInteger),
    _required("last_seq", sa.BigInteger), _required("first_seq", sa.BigInteger), _required("body_seq", sa.BigInteger),
    _required("head_messages", sa.BigInteger), _required("written", sa.BigInteger),
    sa.Index("sessions_by_written", "written"), **_INNODB,
)
_MESSAGE_COLUMNS: list[tuple[str, Any, bool]] = [
    ("role", ExactText, False), ("content", ExactText, True), ("is_json", sa.SmallInteger, False),
    ("packed", Bytes, True), ("search_text", ExactText, True), ("timestamp", Number, True),
    ("metadata", ExactText, True), ("record", ExactText, False), ("message_key", KeyText(64), True),
    ("exchange", sa.SmallInteger, False), ("archived", sa.SmallInteger, False), ("size_bytes", sa.BigInteger, False),
]


def _messages(into: sa.MetaData, key: list[Any], *constraints: Any) -> sa.Table:
    columns = [sa.Column(name, kind, nullable=nullable) for name, kind, nullable in _MESSAGE_COLUMNS]
    return sa.Table("messages", into, *key, *columns, *constraints, **_INNODB)


def _session_id() -> sa.Column[Any]:
    return sa.Column("session_id", KeyText(64), sa.ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False)


def _by_message(table: sa.Table) -> sa.Index:
    column = table.c.message_key
    return sa.Index(
        "messages_by_key", table.c.session_id, column, sqlite_where=column.is_not(None),
        postgresql_where=column.is_not(None),
    )


messages = _messages(
    metadata, [_session_id(), _required("seq", sa.BigInteger)], sa.PrimaryKeyConstraint("session_id", "seq")
)
_by_message(messages)
leases = sa.Table(
    "leases", metadata,
    sa.Column("id", KeyText(64), primary_key=True), _required("namespace", ExactText), _required("name", ExactText),
    sa.Column("owner", ExactText), _required("generation", sa.BigInteger), _required("expires_at", Number),
    _required("ttl", Number), **_INNODB,
)
version = sa.Table(
    "praison_store_version", metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False), _required("version", sa.Integer),
    _required("search", sa.String(16)), **_INNODB,
)

# SQLite's full-text index names a message by its rowid, which keeps its value only as a column of its own.
_sqlite_metadata = sa.MetaData()
for _table in (sessions, leases, version):
    _table.to_metadata(_sqlite_metadata)
_by_message(_messages(
    _sqlite_metadata,
    [sa.Column("id", sa.Integer, primary_key=True), _session_id(), sa.Column("seq", sa.BigInteger, nullable=False)],
    sa.UniqueConstraint("session_id", "seq"),
))

_TEXT = "coalesce({0}.search_text, {0}.content)"
# Indexing a message with its write would triple the pages a write flushes; a search indexes what came since the last.
# A number is given anew only when the last message goes, so that is when the mark goes back.
_FTS5 = (
    "CREATE VIRTUAL TABLE messages_text USING fts5(body, content='', tokenize='trigram')",
    "CREATE TABLE messages_indexed (id INTEGER PRIMARY KEY CHECK (id = 1), upto INTEGER NOT NULL)",
    "INSERT INTO messages_indexed VALUES (1, 0)",
    f"CREATE TRIGGER messages_text_gone AFTER DELETE ON messages BEGIN "  # nosec B608 # no value of a caller is in it
    f"INSERT INTO messages_text(messages_text, rowid, body) SELECT 'delete', old.id, {_TEXT.format('old')} "
    f"FROM messages_indexed WHERE {_TEXT.format('old')} IS NOT NULL AND old.id <= upto; "
    f"UPDATE messages_indexed SET upto = (SELECT coalesce(max(id), 0) FROM messages) "
    f"WHERE upto > (SELECT coalesce(max(id), 0) FROM messages); END",
)
INDEX_MORE = (
    "INSERT INTO messages_text(rowid, body) SELECT id, coalesce(search_text, content) FROM messages, "
    "(SELECT upto FROM messages_indexed) WHERE messages.id > upto AND messages.id <= :last AND "
    "coalesce(search_text, content) IS NOT NULL",
    "UPDATE messages_indexed SET upto = :last WHERE upto < :last",
)
_TRIGRAM = (
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "CREATE INDEX IF NOT EXISTS messages_text ON messages USING gin ((coalesce(search_text, content)) gin_trgm_ops)",
)


class Schema(NamedTuple):
    """What a database says of its tables: their version, and what its search asks (`fts5`, `trigram` or `scan`)."""

    version: int
    search: str


def check(conn: Connection, place: str) -> Schema | None:
    """Return what the tables say of themselves; None where there are none. Raises TableNotFoundError for newer ones."""
    if not _has_table(conn, version.name):
        return None
    row = conn.execute(sa.select(version.c.version, version.c.search)).first()
    if row is None:
        return None
    if row.version > VERSION:
        raise TableNotFoundError(
            f"The tables in {place} have version {row.version}, and this praison_store knows versions up to {VERSION}: "
            f"install a newer praison_store.", table=version.name,
        )
    return Schema(row.version, row.search)


def _has_table(conn: Connection, name: str) -> bool:
    return bool(sa.inspect(conn).has_table(name))


def absent(table: str, place: str) -> TableNotFoundError:
    """Return the error of a database without our tables."""
    return TableNotFoundError(f"Table '{table}' does not exist in {place}: call setup_models().", table=table)


def create(conn: Connection, place: str, wait_s: float) -> Schema:
    """
    Make what is missing of the tables, in one's own turn, within the caller's transaction.

    Raises:
        TableNotFoundError: The tables are of a newer version. LockTimeoutError: Another makes them for too long.
    """
    dialect = conn.dialect.name
    if dialect == "postgresql":
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.literal(_TURN_NUMBER, sa.BigInteger))))
    elif dialect == "mysql" and conn.scalar(sa.select(sa.func.get_lock(_TURN, max(wait_s, 1.0)))) != 1:
        raise LockTimeoutError(
            f"Another process has been making the tables in {place} for {wait_s:g} s: try again.", path=place,
            waited_s=wait_s, holder=(),
        )
    try:
        return check(conn, place) or _created(conn)
    finally:
        if dialect == "mysql":
            conn.execute(sa.select(sa.func.release_lock(_TURN)))


def _created(conn: Connection) -> Schema:
    dialect = conn.dialect.name
    if dialect == "sqlite":
        _sqlite_metadata.create_all(conn)
        search = "fts5" if _index_made(conn, _FTS5) else "scan"
    else:
        metadata.create_all(conn)
        search = "trigram" if dialect == "postgresql" and _index_made(conn, _TRIGRAM) else "scan"
    # Last, because MySQL commits each table by itself: who reads the version finds all of them.
    conn.execute(version.insert().values(id=1, version=VERSION, search=search))
    if dialect == "mysql":
        conn.exec_driver_sql("COMMIT")  # before the turn is given up, or the next one finds no version and makes one
    return Schema(VERSION, search)


def _index_made(conn: Connection, statements: tuple[str, ...]) -> bool:
    try:
        with conn.begin_nested():
            for statement in statements:
                conn.exec_driver_sql(statement)
    except DBAPIError as error:
        logger.warning("no index for search, which will read every message instead: %s", error.orig)
        return False
    return True
