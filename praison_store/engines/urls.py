"""Open an engine by its URL: one text says where sessions live, in code, in a configuration and on the command line."""

from __future__ import annotations

import os

from ..errors import InvalidArgumentError, shown
from .contract import Engine

FORMS = (
    "/directory", "file:///directory", "jsonl:///directory", "memory://", "sqlite:///file.db",
    "postgresql://user:password@host/database", "mysql://user:password@host/database", "https://host/path",
)
SQL_DIALECTS = {"sqlite": "sqlite", "postgresql": "postgresql", "postgres": "postgresql", "mysql": "mysql",
                "mariadb": "mysql"}
_SCHEMES = {"file", "jsonl", "memory", "http", "https", *SQL_DIALECTS}


def from_url(url: str, *, lock_timeout_s: float = 5.0, durability: str = "full") -> Engine:
    """
    Return the engine of a URL, or of a directory's path.

    Args:
        url: one of FORMS; a SQL dialect may name a driver, of either world (`postgresql+asyncpg://`).
        lock_timeout_s: how long a write waits for its turn, where the engine has turns.
    Raises:
        InvalidArgumentError: No text, or an unknown scheme. MissingExtraError: The engine's package is missing.
    Source: `file://` and paths follow the Codin SessionManager README, database URLs are SQLAlchemy's.
    """
    scheme = scheme_of(url)
    if scheme in ("", "file"):
        from .json_files import JsonFilesEngine

        return JsonFilesEngine(directory_of(url), lock_timeout_s=lock_timeout_s, durability=durability)
    if scheme == "jsonl":
        from .jsonl import JsonlEngine

        return JsonlEngine(directory_of(url), lock_timeout_s=lock_timeout_s, durability=durability)
    if scheme == "memory":
        from .memory import MemoryEngine

        return MemoryEngine()
    if scheme in ("http", "https"):
        from .http import HttpEngine

        return HttpEngine(url)
    from .sql import SqlEngine

    return SqlEngine(url, lock_timeout_s=lock_timeout_s)


def scheme_of(url: object) -> str:
    """Return a URL's scheme in lower case without a driver, "" for a path. Raises InvalidArgumentError."""
    if isinstance(url, os.PathLike):
        return ""
    if not isinstance(url, str) or not url or "\0" in url:
        raise InvalidArgumentError(f"A store's URL is text, not {shown(url)}: pass one like {', '.join(FORMS)}.")
    head, mark, _ = url.partition("://")
    if not mark or "/" in head:
        scheme = url.partition(":")[0].lower()
        if scheme in _SCHEMES and ":" in url:
            raise InvalidArgumentError(f"{scheme}: is followed by //: pass a URL like {', '.join(FORMS)}.")
        return ""
    scheme = head.partition("+")[0].lower()
    if scheme not in _SCHEMES:
        # The URL itself may hold a password, so only its scheme is told.
        raise InvalidArgumentError(f"No engine has the scheme {scheme!r}: pass a URL like {', '.join(FORMS)}.")
    return scheme


def directory_of(url: str) -> str:
    """Return the directory of a path, or of a `file:` or `jsonl:` URL. Raises InvalidArgumentError."""
    if scheme_of(url) == "":
        return os.path.expanduser(url)
    from urllib.parse import unquote, urlsplit  # 2 ms that a plain path does not pay

    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise InvalidArgumentError(
            f"{parts.scheme}://{parts.netloc}/... names another machine: write {parts.scheme}:/// and an absolute path."
        )
    if not parts.path.strip("/"):
        raise InvalidArgumentError(f"{shown(url)} names no directory: write {parts.scheme}:///absolute/path.")
    path = unquote(parts.path)
    if "?" in url or "#" in url or "\0" in path:
        # Without what stands behind such a mark it would be another directory than the one that was meant.
        raise InvalidArgumentError(
            f"{shown(url)} names no directory: write a ? of its name as %3F and a # as %23, and no NUL."
        )
    return path
