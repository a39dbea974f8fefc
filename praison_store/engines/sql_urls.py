"""Read a database's URL in either world: the driver it names, or the one the caller's world needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InvalidArgumentError, MissingExtraError, shown
from .urls import SQL_DIALECTS

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

# The first of each is what a URL without a driver gets, and one with a driver of the other world.
SYNC_DRIVERS = {"sqlite": ("pysqlite",), "postgresql": ("psycopg",), "mysql": ("pymysql", "mysqldb")}
ASYNC_DRIVERS = {"sqlite": ("aiosqlite",), "postgresql": ("asyncpg", "psycopg"), "mysql": ("aiomysql", "asyncmy")}


def database_url(url: str, *, awaited: bool) -> URL:
    """
    Return the URL of a database with the driver of the caller's world.

    Args:
        url: `postgresql://`, `postgres://`, `sqlite:///`, `mysql://` or `mariadb://`, with `+driver` or without.
    Raises:
        InvalidArgumentError: No URL of a database we know. MissingExtraError: SQLAlchemy is missing.
    """
    try:
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError
    except ModuleNotFoundError as error:
        raise missing(error) from error
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        # The URL itself may hold a password, so it is not shown.
        raise InvalidArgumentError("That is no database's URL: pass one like postgresql://user@host/name.") from error
    name, _, driver = parsed.drivername.partition("+")
    dialect = SQL_DIALECTS.get(name.lower())
    if dialect is None:
        raise InvalidArgumentError(f"No SQL engine for {shown(name)}: pass one of {', '.join(SQL_DIALECTS)}.")
    drivers = (ASYNC_DRIVERS if awaited else SYNC_DRIVERS)[dialect]
    parsed = parsed.set(drivername=f"{dialect}+{driver if driver in drivers else drivers[0]}")
    if dialect == "mysql" and "charset" not in parsed.query:
        parsed = parsed.update_query_dict({"charset": "utf8mb4"})
    return parsed


def missing(error: ModuleNotFoundError) -> MissingExtraError:
    """Return the error of a package that is not installed."""
    return MissingExtraError(
        f"A SQL database needs the package {error.name}: pip install 'praison_store[sql]'", extra="sql", name=error.name
    )
