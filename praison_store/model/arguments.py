"""Refuse arguments that cannot be meant, before anything is read or written. Pure; no I/O."""

from __future__ import annotations

from typing import Any

from ..errors import InvalidArgumentError, shown

_MOST_SECONDS = 1e9


def at_least(value: Any, name: str, least: int, *, none: bool = False) -> int | None:
    """Return a whole number of at least `least`, or None where `none` allows it. Raises InvalidArgumentError."""
    if value is None and none:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        allowed = " (or None)" if none else ""
        raise InvalidArgumentError(f"{name} is a whole number from {least}{allowed}, not {shown(value)}: pass one.")
    return value


def seconds(value: Any, name: str) -> float:
    """Return a number of seconds from 0 to 1e9. Raises InvalidArgumentError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _MOST_SECONDS:
        raise InvalidArgumentError(f"{name} is a number of seconds from 0 to 1e9, not {shown(value)}: pass one.")
    return float(value)


def text(value: Any, name: str, *, none: bool = False) -> str | None:
    """Return text UTF-8 can hold, or None where `none` allows it. Raises InvalidArgumentError."""
    if value is None and none:
        return None
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{name} is text, not {shown(value)} ({type(value).__name__}): pass str(...) of it.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"{name} holds a lone surrogate at character {error.start}: remove it.") from error
    return str.__str__(value)  # plain text of a str Enum too


def one_of(value: Any, name: str, choices: tuple[str, ...]) -> str:
    """Return a value that is one of the choices. Raises InvalidArgumentError."""
    if not isinstance(value, str) or value not in choices:
        raise InvalidArgumentError(f"{name} is one of {', '.join(choices)}, not {shown(value)}: pass one of them.")
    return value


def index(value: Any, name: str) -> int:
    """Return the whole number of an index, which may be given as text. Raises InvalidArgumentError."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        message = f"{name} is the index of a message, not {shown(value)}: pass anchor_index."
        raise InvalidArgumentError(message) from None
