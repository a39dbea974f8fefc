"""Open the engine a configuration names: a dict, or a TOML file with a table `[session]`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import InvalidArgumentError, StoreReadError, shown
from ..model import arguments
from .contract import Engine
from .urls import from_url, scheme_of

_MOST_CONNECTIONS = 10_000
DATABASE_FILE = "sessions.db"


@dataclass(frozen=True)
class Settings:
    """
    What a session manager is configured with.

    Shape: `backend` is `sqlite`, `memory`, `json` or the URL of an engine; `storage_path` a directory, None for the
    default one; `autosave_interval` in seconds, 0 for none; `max_session_size` in megabytes.
    Source: names and defaults follow the coda session README.
    """

    backend: str = "sqlite"
    storage_path: str | None = None
    connection_pool_size: int = 5
    autosave_interval: float = 300.0
    max_session_size: float = 100.0
    compress_messages: bool = True

    def __post_init__(self) -> None:
        arguments.text(self.backend, "backend")
        if self.backend not in ("sqlite", "memory", "json") and "://" not in self.backend:
            raise InvalidArgumentError(
                f"backend is sqlite, memory, json or the URL of an engine, not {shown(self.backend)}: pass one of them."
            )
        scheme_of(self.backend)  # refuses what is no engine's
        if self.storage_path is not None and "://" in self.storage_path:
            raise InvalidArgumentError(
                f"storage_path is a directory, and {scheme_of(self.storage_path)}://... a URL: pass that as backend."
            )
        if self.storage_path is not None and (not self.storage_path or "\0" in self.storage_path):
            raise InvalidArgumentError(
                f"storage_path is the path of a directory, not {shown(self.storage_path)}: pass one."
            )
        connections = arguments.at_least(self.connection_pool_size, "connection_pool_size", 1) or 1
        if connections > _MOST_CONNECTIONS:
            raise InvalidArgumentError(f"connection_pool_size is at most {_MOST_CONNECTIONS}, not {connections}.")
        arguments.seconds(self.autosave_interval, "autosave_interval")
        size = self.max_session_size
        if isinstance(size, bool) or not isinstance(size, (int, float)) or not 0 < size < float("inf"):
            raise InvalidArgumentError(
                f"max_session_size is a number of megabytes above 0, not {shown(size)}: pass one."
            )
        if not isinstance(self.compress_messages, bool):
            raise InvalidArgumentError(
                f"compress_messages is True or False, not {shown(self.compress_messages)}: pass one of them."
            )

    @property
    def most_bytes(self) -> int:
        """Return how large a session may get, in bytes."""
        return int(self.max_session_size * 1024 * 1024)


def settings_of(config: object) -> Settings:
    """
    Return the settings of a configuration.

    Args:
        config: None for the defaults; a dict with the settings, or with them below `session`; or the path of a TOML
            file of that shape. Beside `session` other tables may stand, for other readers.
    Raises:
        InvalidArgumentError: An unknown key, or a value that cannot be meant; it is named. StoreReadError: No file.
    """
    data: object = {} if config is None else config
    if isinstance(data, (str, os.PathLike)):
        data = _toml_of(os.path.expanduser(os.fspath(data)))
    if isinstance(data, Mapping) and "session" in data:
        data = data["session"]
    if not isinstance(data, Mapping):
        raise InvalidArgumentError(f"A configuration is a dict or the path of a TOML file, not {shown(data)}.")
    names = [one.name for one in fields(Settings)]
    given: dict[str, Any] = dict(data)
    unknown = [name for name in given if name not in names]
    if unknown:
        raise InvalidArgumentError(f"There is no setting {shown(unknown[0])}: those there are: {', '.join(names)}.")
    path = given.get("storage_path")
    if isinstance(path, os.PathLike):
        given["storage_path"] = path = os.fspath(path)
    if path is not None:
        arguments.text(path, "storage_path")
    return Settings(**given)


def _toml_of(path: str) -> object:
    import tomllib  # 10 ms that only who has a file pays

    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        message = f"The configuration {path} could not be read ({error.strerror}): see that it is there."
        raise StoreReadError(message, path=path, cause=error) from error
    except ValueError as error:
        raise InvalidArgumentError(f"The configuration {shown(path)} is not TOML ({error}): mend it.") from error


def open_engine(settings: Settings, default_directory: str) -> Engine:
    """
    Return the engine of settings; its directory is made if it is missing.

    Raises:
        InvalidArgumentError: A database's URL cannot hold the directory's name. StoreWriteError: The directory cannot
            be made. MissingExtraError: The engine's package is missing.
    """
    directory = os.path.abspath(os.path.expanduser(settings.storage_path or default_directory))
    if settings.backend == "json":
        return from_url(directory)
    if settings.backend == "memory":
        return from_url("memory://")
    url = settings.backend
    if url == "sqlite":
        if "?" in directory:
            # SQLAlchemy would take what follows for a query, and open a file in another directory.
            raise InvalidArgumentError(
                f"storage_path has no ? where the backend is sqlite, not {shown(directory)}: pass another directory."
            )
        url = f"sqlite:///{directory}/{DATABASE_FILE}"
    if scheme_of(url) in ("http", "https", "file", "jsonl", "memory"):
        return from_url(url)
    from .sql import SqlEngine

    return SqlEngine(url, pool_size=settings.connection_pool_size, compress=settings.compress_messages)
