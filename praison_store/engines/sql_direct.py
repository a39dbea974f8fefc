"""
Statements of the hot path: on SQLite by the driver's own cursor, on a server by SQLAlchemy's connection.

SQLite runs such a statement in a few microseconds, and SQLAlchemy keeps its books of each for ten times as long, about
as long as the commit takes. The statements are SQLAlchemy's own either way, and so are the errors. A server's statement
takes a journey, beside which that is nothing, and a cancelled one leaves a connection SQLAlchemy knows to throw away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from sqlalchemy import exc
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.sql.expression import Executable

Values = Mapping[str, Any]
_DRIVER = "pysqlite"


def first(conn: Connection, statement: Executable, values: Values) -> SimpleNamespace | None:
    """Return the first row of a SELECT, a copy that may be changed; None where there is none."""
    if conn.dialect.driver != _DRIVER:
        row = conn.execute(statement, values).first()
        return None if row is None else SimpleNamespace(**row._mapping)
    cursor = _run(conn, statement, values)
    found = cursor.fetchone()
    names = (column[0] for column in cursor.description)
    return None if found is None else SimpleNamespace(**dict(zip(names, found, strict=True)))


def write(conn: Connection, statement: Executable, rows: Sequence[Values]) -> None:
    """Run an INSERT or UPDATE for each of some rows, at least one; all of them have the same columns."""
    if conn.dialect.driver == _DRIVER and len(rows) == 1:
        _run(conn, statement, rows[0])
    else:
        conn.execute(statement, rows if len(rows) > 1 else rows[0])


def begin(conn: Connection, text: str) -> None:
    """Begin a transaction on SQLite."""
    if conn.dialect.driver != _DRIVER:
        conn.exec_driver_sql(text)
    else:
        _execute(conn, text, ())


def _run(conn: Connection, statement: Executable, values: Values) -> Any:
    text, names, fixed = _compiled(statement, tuple(values), conn.dialect)
    given = {**fixed, **values}
    return _execute(conn, text, [given[name] for name in names])


def _execute(conn: Connection, text: str, values: Sequence[Any]) -> Any:
    connection: Any = conn.connection.dbapi_connection
    kind = conn.dialect.loaded_dbapi.Error
    try:
        return connection.execute(text, values)
    except kind as error:
        raise exc.DBAPIError.instance(text, values, error, kind, dialect=conn.dialect) from error


@lru_cache(maxsize=64)
def _compiled(statement: Any, names: tuple[str, ...], dialect: Dialect) -> tuple[str, Sequence[str], Values]:
    """Return a statement's text, the names of its values in their order, and the values it brings itself."""
    compiled = statement.compile(dialect=dialect, column_keys=list(names))
    return compiled.string, compiled.positiontup or (), compiled.params
