"""Find the sessions that may hold a term, by an index of letters in threes where there is one, else by reading text."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..model.message import Record
from ..model.recall import text_of
from ..model.session import SessionData
from ..model.values import is_unicode
from . import sql_operations
from .sql_rows import DamagedRowError, text_in, unpacked
from .sql_tables import INDEX_MORE, sessions
from .sql_tables import messages as table

logger = logging.getLogger("praison_store")
_TRIGRAM_LETTERS = 3
# What is found only may hold the terms, so that the head of a term will do: an index looks up each of its letters.
_MOST_LETTERS = 64
_MOST_TERMS = 100  # of one statement; a database refuses an expression of a thousand
# Fewer messages than this behind the index are read faster than they are indexed; more than that at once would keep
# writers waiting.
_FEW_MESSAGES, _MANY_MESSAGES = 1000, 20_000


def ids(conn: Connection, terms: Sequence[str], namespace: str | None, search: str) -> list[str]:
    """
    Return the primary keys of sessions with a term in a message's text, the most recently written first.

    Args:
        terms: in lower case; taken as they are, punctuation and quotes included.
        search: what the tables' schema says: `fts5`, `trigram` or `scan`.
    Cost: with an index, what it finds, and what came since it was brought up to date; terms of one or two letters read
    every text; compressed ones are unpacked.
    """
    wanted = [text_in(term) for term in dict.fromkeys(term[:_MOST_LETTERS] for term in terms if is_unicode(term))]
    if not wanted:
        return []
    plain = sa.select(table.c.session_id).distinct()
    packed = sa.select(table.c.session_id, table.c.packed).where(table.c.packed.is_not(None))
    ordered = sa.select(sessions.c.id).order_by(sessions.c.written.desc())
    if namespace is not None:
        is_within = sessions.c.namespace == text_in(namespace)
        # Joined, so that what other namespaces hold is neither read nor unpacked.
        plain, packed = (one.join(sessions, sessions.c.id == table.c.session_id).where(is_within)
                         for one in (plain, packed))
        ordered = ordered.where(is_within)
    hits: set[str] = set()
    for start in range(0, len(wanted), _MOST_TERMS):
        some = wanted[start : start + _MOST_TERMS]
        hits |= set(conn.scalars(plain.where(sa.or_(*(_holds(conn, term, search) for term in some)))))
    for row in conn.execute(packed):
        if row.session_id not in hits and _packed_holds(row, terms):
            hits.add(row.session_id)
    return [identity for identity in conn.scalars(ordered) if identity in hits]


def wants_indexing(conn: Connection, search: str) -> bool:
    """Tell whether so many messages came since the last time that a search had better index them first."""
    if search != "fts5":
        return False
    unread = sa.text("SELECT coalesce(max(id), 0) - (SELECT upto FROM messages_indexed) FROM messages")
    return int(conn.scalar(unread) or 0) > _FEW_MESSAGES


def index_more(conn: Connection) -> None:
    """Index the oldest messages that are not yet; a part of them where they are many."""
    unread = sa.text(
        "SELECT max(id) FROM (SELECT id FROM messages, (SELECT upto FROM messages_indexed) WHERE messages.id > upto "
        "ORDER BY id LIMIT :most)")
    last = conn.scalar(unread, {"most": _MANY_MESSAGES})
    if last is not None:
        for statement in INDEX_MORE:
            conn.execute(sa.text(statement), {"last": last})


def found(
    conn: Connection, terms: Sequence[str], namespace: str | None, search: str
) -> list[tuple[SessionData, list[Record]]]:
    """Return the sessions `ids` names, whole, in one transaction."""
    wholes = (whole_of(conn, identity) for identity in ids(conn, terms, namespace, search))
    return [one for one in wholes if one is not None]


def whole_of(conn: Connection, identity: str) -> tuple[SessionData, list[Record]] | None:
    """Return a session found, whole; None, with a log record, where it is damaged, so that it hides no other (D5)."""
    try:
        return sql_operations.whole_of(conn, identity)
    except DamagedRowError as error:
        logger.warning("a session was left out: %s", error)
        return None


def _packed_holds(row: Any, terms: Sequence[str]) -> bool:
    try:
        text = text_of(unpacked(row)).lower()
    except DamagedRowError as error:
        logger.warning("a message was not searched: %s", error)
        return False
    return any(term in text for term in terms)


def _holds(conn: Connection, term: str, search: str) -> sa.ColumnElement[bool]:
    """Return the condition that a message's text has a term in it; letters outside ASCII are in lower case already."""
    text = sa.func.coalesce(table.c.search_text, table.c.content, type_=sa.Text())
    dialect = conn.dialect.name
    if dialect == "postgresql":
        return text.ilike(f"%{_escaped(term)}%", escape="\\")
    if dialect == "mysql":
        return sa.func.instr(sa.func.lower(text), sa.func.lower(sa.literal(term, sa.Text))) > 0
    if search == "fts5" and len(term) >= _TRIGRAM_LETTERS:
        index: Any = sa.literal_column("messages_text")
        quoted = '"' + term.replace('"', '""') + '"'  # a phrase: nothing in it is an operator
        matching: Any = sa.select(sa.literal_column("rowid")).select_from(sa.table("messages_text"))
        matching = matching.where(index.op("MATCH")(sa.literal(quoted, sa.Text)))
        number: Any = sa.literal_column("messages.id")
        upto = sa.literal_column("(SELECT upto FROM messages_indexed)", sa.BigInteger)
        return sa.or_(number.in_(matching), sa.and_(number > upto, _reads(text, term)))
    return _reads(text, term)


def _reads(text: sa.ColumnElement[str], term: str) -> sa.ColumnElement[bool]:
    return sa.func.instr(sa.func.lower(text), sa.literal(term, sa.Text)) > 0


def _escaped(term: str) -> str:
    return term.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
