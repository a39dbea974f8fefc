"""What the service is told: a YAML file, environment variables over it, flags over both."""

from __future__ import annotations

import ipaddress
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..disk import files
from ..engines.urls import scheme_of
from ..errors import InvalidArgumentError, MissingExtraError, StoreReadError, shown

ENVIRONMENT = "PRAISON_SERVER_"
_MEMORY_HOURS = 24.0
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Config:
    """
    The settings of one service.

    Shape: `store` is a directory or an engine's URL, None for the directory every store has by default.
    `timeout_hours` after its last write a session is gone, 0 for never; None is 24 for sessions in memory and never
    for those that are kept. `cleanup_interval_minutes` 0 leaves the sweep to another service. `max_sessions_per_user`
    0 is no limit. `token_file` names the file `praison-store token` writes; without one everybody may do everything,
    and only this machine is answered. `hosts` are the names the service answers to. `rate_per_second` and
    `max_concurrency` bound one worker, the first for each client; 0 is no bound. `agents` are `module:callable` by
    name.
    """

    store: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    timeout_hours: float | None = None
    cleanup_interval_minutes: float = 60.0
    max_sessions_per_user: int = 0
    token_file: str | None = None
    hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    max_body_mb: float = 16.0
    max_page: int = 1000
    rate_per_second: float = 2000.0
    max_concurrency: int = 64
    request_timeout_seconds: float = 10.0
    shutdown_seconds: float = 30.0
    agents: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.store is not None:
            scheme_of(self.store)
        is_memory = self.store is not None and scheme_of(self.store) == "memory"
        if is_memory and self.workers > 1:
            raise InvalidArgumentError("Sessions in memory are one process's: serve with workers 1, or another store.")
        if self.timeout_hours is None:
            object.__setattr__(self, "timeout_hours", _MEMORY_HOURS if is_memory else 0.0)
        if not self.token_file and not is_loopback(self.host):
            raise InvalidArgumentError(
                f"{self.host} is reached from other machines, and without tokens anybody there could read and delete "
                f"every session: make a file with `praison-store token` and pass it, or bind 127.0.0.1.")

    @property
    def timeout_s(self) -> float:
        """How long a session lives behind its last write, in seconds; infinite for ever."""
        return (self.timeout_hours or math.inf) * 3600

    @property
    def max_body_bytes(self) -> int:
        """How long a request's body may be."""
        return int(self.max_body_mb * _MEGABYTE)


def is_loopback(host: str) -> bool:
    """Tell whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# ---- one value ---------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("text")
    return value


def _number(least: float, most: float = 1e9) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        number = float(value) if isinstance(value, str) else value
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not least <= number <= most:
            raise ValueError(f"a number from {least:g} to {most:g}")
        return float(number)

    return check


def _whole(least: int, most: int = 1_000_000) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return number

    return check


def _texts(value: Any) -> tuple[str, ...]:
    found = value.split(",") if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(one, str) and one.strip() for one in found):
        raise ValueError("a list of texts")
    return tuple(one.strip() for one in found)


def _agents(value: Any) -> dict[str, str]:
    if isinstance(value, str):
        value = dict(part.strip().partition("=")[::2] for part in value.split(","))
    if not isinstance(value, dict) or not all(
            isinstance(name, str) and name and isinstance(place, str) and ":" in place
            for name, place in value.items()):
        raise ValueError("names with a module:callable each")
    return value


_STORAGE: dict[str, Callable[[Any], Any]] = {
    "storage_type": _text, "db_path": _text, "timeout_hours": _number(0),
    "cleanup_interval_minutes": _number(0), "max_sessions_per_user": _whole(0),
}
_SERVER: dict[str, Callable[[Any], Any]] = {
    "store": _text, "host": _text, "port": _whole(0, 65_535), "workers": _whole(1, 256), "token_file": _text,
    "hosts": _texts, "cors_origins": _texts, "max_body_mb": _number(0.001, 1000), "max_page": _whole(1, 100_000),
    "rate_per_second": _number(0), "max_concurrency": _whole(0), "request_timeout_seconds": _number(0.1, 3600),
    "shutdown_seconds": _number(0, 3600),
}
SECTIONS = {"sessions": _STORAGE, "server": _SERVER}
_SETTINGS = {**_STORAGE, **_SERVER, "agents": _agents}


def _checked(name: str, value: Any, where: str) -> Any:
    check = _SETTINGS[name]
    try:
        return check(value)
    except ValueError as error:
        wanted = str(error) if check not in (_text,) else "text of at least one character"
        wanted = wanted if not wanted.startswith(("could not", "invalid")) else "a number"
        raise InvalidArgumentError(f"{where}: {name} is {wanted}, not {shown(value)}: mend it.") from None


# ---- the three places ----------------------------------------------------------------------------------------------


def load(
    path: str | None = None, environment: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> Config:
    """
    Return the settings of a file, of environment variables `PRAISON_SERVER_<NAME>`, and of flags, the last winning.

    Raises:
        InvalidArgumentError: A key or a value that cannot be meant; it names the line, the variable or the flag.
        StoreReadError: The file cannot be read.
    """
    found = {} if path is None else _of_file(path)
    for variable, text in (os.environ if environment is None else environment).items():
        if variable.startswith(ENVIRONMENT):
            name = variable.removeprefix(ENVIRONMENT).lower()
            if name not in _SETTINGS:
                raise InvalidArgumentError(f"{variable} is no setting: those there are: {_names(_SETTINGS)}.")
            found[name] = _checked(name, text, variable)
    for name, value in (flags or {}).items():
        if value is not None:
            found[name] = _checked(name, value, f"--{name.replace('_', '-')}")
    return _config(found)


def _config(found: dict[str, Any]) -> Config:
    storage, path = found.pop("storage_type", None), found.pop("db_path", None)
    if "store" not in found and (storage is not None or path is not None):
        found["store"] = _store_of(storage or "sqlite", path)
    return Config(**found)


def _store_of(storage: str, path: str | None) -> str | None:
    """Return the URL of what 004's configuration calls a storage type."""
    if storage == "memory":
        return "memory://"
    if storage == "json":
        return path
    if storage == "jsonl" and path is not None:
        return f"jsonl://{os.path.abspath(path)}"
    if storage == "sqlite":
        file = os.path.abspath(os.path.expanduser(path or "data/sessions.db"))
        files.make_directory(os.path.dirname(file))
        return f"sqlite:///{file}"
    if "://" not in storage:
        raise InvalidArgumentError(
            f"storage_type is memory, sqlite, json or the URL of an engine, not {shown(storage)}: pass one of them.")
    scheme_of(storage)
    return storage


def _of_file(path: str) -> dict[str, Any]:
    try:
        import yaml
    except ModuleNotFoundError as error:
        if error.name != "yaml":
            raise
        message = "A configuration file needs pyyaml: pip install 'praison_store[server]'."
        raise MissingExtraError(message, extra="server") from error
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        message = f"The configuration {path} cannot be read: {error.strerror}."
        raise StoreReadError(message, path=path, cause=error) from error
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{path} is no UTF-8 at byte {error.start}: mend it.") from error
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        return {} if root is None else _of_sections(path, loader, root)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = path if mark is None else f"{path}, line {mark.line + 1}"
        problem = getattr(error, "problem", error)
        raise InvalidArgumentError(f"{where}: this is no YAML ({problem}): mend it.") from error
    finally:
        loader.dispose()


def _of_sections(path: str, loader: Any, root: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, node, where in _pairs(path, loader, root):
        if name == "agents":
            found["agents"] = _checked("agents", loader.construct_object(node, deep=True), where)
        elif name in SECTIONS:
            for key, value, place in _pairs(path, loader, node):
                if key not in SECTIONS[name]:
                    raise InvalidArgumentError(
                        f"{place}: {shown(key)} is no setting of {name}: those there are: {_names(SECTIONS[name])}.")
                found[key] = _checked(key, loader.construct_object(value, deep=True), place)
        else:
            raise InvalidArgumentError(
                f"{where}: {shown(name)} is no section: those there are: {_names([*SECTIONS, 'agents'])}.")
    return found


def _pairs(path: str, loader: Any, node: Any) -> list[tuple[Any, Any, str]]:
    """Return keys, nodes and places of a mapping. Raises InvalidArgumentError where it is none, or a key is twice."""
    if node.id != "mapping":
        raise InvalidArgumentError(f"{path}, line {node.start_mark.line + 1}: here stand names with values: add them.")
    pairs = [(loader.construct_object(key), value, f"{path}, line {key.start_mark.line + 1}")
             for key, value in node.value]
    names = [str(key) for key, _, _ in pairs]
    for index, (key, _, place) in enumerate(pairs):
        if str(key) in names[:index]:
            raise InvalidArgumentError(f"{place}: {shown(key)} is there twice: remove one.")
    return pairs


def _names(names: Any) -> str:
    return ", ".join(names)


def to_dict(config: Config) -> dict[str, Any]:
    """Return the settings as plain data, for the worker processes; `of_dict` gives them back."""
    return {one.name: getattr(config, one.name) for one in fields(config)}


def of_dict(data: Mapping[str, Any]) -> Config:
    """Return the settings of plain data."""
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    return Config(**given)
