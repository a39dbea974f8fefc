"""Find and count sessions: the database decides what it decides exactly, and Python the rest, over no fewer rows."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..model.filters import AndFilter, ComparisonFilter, Filter, NotFilter, OrFilter, evaluate
from ..model.selection import OrderBy, names_of, page_of, selected
from ..model.session import SessionInfo
from ..model.values import is_unicode
from .sql_rows import DamagedRowError, info_of, text_in
from .sql_tables import sessions

logger = logging.getLogger("praison_store")
Clause = sa.ColumnElement[bool]
_TEXTS: dict[str, sa.Column[Any]] = {
    "session_id": sessions.c.name, **{name: sessions.c[name] for name in (
        "namespace", "agent_name", "user_id", "created_at", "updated_at", "parent_id")},
}
_NUMBERS: dict[str, sa.Column[Any]] = {name: sessions.c[name] for name in ("message_count", "size_bytes", "revision")}
# MySQL sorts by the first kilobyte of a text, which a name may exceed and a time does not.
_SHORT = ("created_at", "updated_at")
_LARGEST = 2**63 - 1
_MOST_VALUES = 500  # of a filter: a database refuses a statement of too many, and Python decides as well


def find(
    conn: Connection, *, filters: Filter | None, order_by: OrderBy, limit: int | None, offset: int,
    namespace: str | None,
) -> list[SessionInfo]:
    """
    Return the sessions that match; see `Engine.find`.

    Cost: where the database decides everything, the rows returned; else every row its part of the filter lets pass.
    """
    names = names_of(order_by)
    limit, offset = page_of(limit, offset)
    clause, is_exact = translated(filters)
    chosen = sa.select(sessions).where(clause, *_within(namespace))
    exact_order = all(name in _NUMBERS or (name in _TEXTS and (conn.dialect.name != "mysql" or name in _SHORT))
                      for name, _ in names)
    if not (is_exact and exact_order):
        infos = _infos(conn.execute(chosen.order_by(sessions.c.written.desc())))
        return list(selected(((info.record(), info) for info in infos), filters, order_by, limit, offset))
    for name, descends in names:
        column = _TEXTS.get(name, _NUMBERS.get(name))
        for part in (column.is_not(None), column) if column is not None else ():
            chosen = chosen.order_by(part.desc() if descends else part.asc())
    chosen = chosen.order_by(sessions.c.written.desc()).limit(limit).offset(offset or None)
    return list(_infos(conn.execute(chosen)))


def count(conn: Connection, filters: Filter | None, *, namespace: str | None) -> int:
    """Return how many sessions match; see `Engine.count`."""
    clause, is_exact = translated(filters)
    if is_exact:
        counted = sa.select(sa.func.count()).select_from(sessions).where(clause, *_within(namespace))
        return int(conn.scalar(counted) or 0)
    infos = _infos(conn.execute(sa.select(sessions).where(clause, *_within(namespace))))
    return sum(1 for info in infos if evaluate(filters, info.record()))


def _infos(rows: Iterable[Any]) -> Iterator[SessionInfo]:
    """Yield what rows tell; a damaged one is told in the log and left out, so that it hides no other (D5)."""
    for row in rows:
        try:
            yield info_of(row)
        except DamagedRowError as error:
            logger.warning("a session was left out: %s", error)


def _within(namespace: str | None) -> list[Clause]:
    return [] if namespace is None else [sessions.c.namespace == text_in(namespace)]


def translated(condition: Filter | None) -> tuple[Clause, bool]:
    """
    Return a condition that is true of every session the filter matches, and whether it is true of no other.

    Shape: a part the database cannot decide counts as true; under `not`, where that would lose sessions, so does the
    whole `not`.
    """
    if condition is None:
        return sa.true(), True
    if _size(condition) > _MOST_VALUES:
        return sa.true(), False
    return _clause(condition)


def _size(condition: Filter) -> int:
    """Return how many parts a filter has, and values to compare with; a database takes so many and no more."""
    size, parts = 0, [condition]
    while parts:
        part = parts.pop()
        size += 1
        if isinstance(part, ComparisonFilter):
            size += len(part.value) if part.op == "in" else 0
        else:
            parts += [part.filter] if isinstance(part, NotFilter) else part.filters
    return size


def _clause(condition: Filter) -> tuple[Clause, bool]:
    if isinstance(condition, ComparisonFilter):
        clause = _comparison(condition)
        return (sa.true(), False) if clause is None else (clause, True)
    if isinstance(condition, NotFilter):
        clause, is_exact = _clause(condition.filter)
        return (sa.not_(clause), True) if is_exact else (sa.true(), False)
    parts = [_clause(part) for part in condition.filters]
    clauses, is_exact = [clause for clause, _ in parts], all(exact for _, exact in parts)
    if isinstance(condition, OrFilter):
        return sa.or_(sa.false(), *clauses), is_exact
    assert isinstance(condition, AndFilter)  # nosec B101 # the only kind left
    return sa.and_(sa.true(), *clauses), is_exact


def _comparison(condition: ComparisonFilter) -> Clause | None:
    """Return the comparison as SQL, unknown where Python's is; None where the database would decide otherwise."""
    op, value = condition.op, condition.value
    text, number = _TEXTS.get(condition.field), _NUMBERS.get(condition.field)
    column = text if text is not None else number
    if column is None or op in ("like", "ilike"):
        return None
    if op == "is_null":
        return column.is_(None) if value else column.is_not(None)
    if op == "in":
        of_kind = [one for one in value if _is_kind(one, text is not None)]
        bounds = [_text(one) if text is not None else _number(one) for one in of_kind]
        if None in bounds:
            return None
        return column.in_(bounds) if bounds else column != column  # false, and unknown for NULL
    if not _is_kind(value, text is not None):
        same: dict[str, Clause] = {"eq": column != column, "neq": column == column}  # as above
        return same.get(op)
    bound = _text(value) if text is not None else _number(value)
    if bound is None:
        return None
    compared: dict[str, Clause] = {
        "eq": column == bound, "neq": column != bound, "gt": column > bound, "gte": column >= bound,
        "lt": column < bound, "lte": column <= bound,
    }
    return compared[op]


def _is_kind(value: Any, is_text: bool) -> bool:
    return isinstance(value, str) if is_text else isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(value: Any) -> str | None:
    return text_in(value) if is_unicode(value) else None


def _number(value: Any) -> int | None:
    return int(value) if -_LARGEST <= value <= _LARGEST and value == int(value) else None
