"""Open an engine by its URL for `await`: SQL and HTTP by native drivers, files in worker threads."""

from __future__ import annotations

import inspect
from typing import cast

from ..engines import urls
from ..engines.contract import Engine
from ..errors import InvalidArgumentError, shown
from .contract import AsyncEngine
from .threads import ThreadedEngine


def engine_from_url(url: str) -> AsyncEngine:
    """Return the engine of a URL, or of a directory's path; see `engines.urls.from_url`."""
    scheme = urls.scheme_of(url)
    if scheme in ("http", "https"):
        from .http import AsyncHttpEngine

        return AsyncHttpEngine(url)
    if scheme in urls.SQL_DIALECTS:
        from .sql import AsyncSqlEngine

        return AsyncSqlEngine(url)
    return ThreadedEngine(urls.from_url(url))


def awaited(engine: AsyncEngine | Engine) -> AsyncEngine:
    """Return an engine that is awaited: itself, or a sync one in worker threads. Raises InvalidArgumentError."""
    read = getattr(engine, "read", None)
    if inspect.iscoroutinefunction(read):
        return cast(AsyncEngine, engine)
    if not callable(read) or not hasattr(engine, "claim"):
        raise InvalidArgumentError(f"engine is an engine, not {shown(engine)}: pass one, or a URL as endpoint.")
    return ThreadedEngine(cast(Engine, engine))
