"""JSON text of one value, exact both ways: orjson where it is exact, the standard library where it is not."""

from __future__ import annotations

import json
from typing import Any

import orjson

from ..errors import InvalidMessageError

# Without these orjson would store a dataclass, a date or a subclass as some other value without a word.
_EXACT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_DIGITS = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))
_LONG_INTEGER = b"0" * 19


def dumps(value: Any, where: str = "message") -> bytes:
    """
    Return the JSON of a value that `model.values.storable` let pass, in UTF-8, without a newline.

    Raises:
        InvalidMessageError: A text holds a lone surrogate, which no UTF-8 file can hold.
    """
    try:
        return orjson.dumps(value, option=_EXACT)
    except TypeError as error:
        raise InvalidMessageError(f"{where} would not read back equal: {error}. Remove it.", where=where) from error


def loads(raw: bytes | bytearray) -> Any:
    """Return the value of JSON this package wrote. Raises ValueError where it is damaged."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        # orjson tells of both by this error, and a whole log must not be moved aside as damaged for want of memory.
        if error.msg.startswith("Not enough memory"):
            raise MemoryError(error.msg) from error
        raise


def loads_any(raw: bytes | bytearray) -> tuple[Any, bool]:
    """
    Return the value of anybody's JSON, and whether it needs the standard library to be exact.

    Shape: the flag is True for NaN and Infinity, integers past 64 bits (orjson reads them as floats), lone
    surrogates and other encodings than UTF-8; such a value goes back through `dumps_extended`.
    Raises:
        ValueError: Not JSON, or nested too deep to read.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        # The standard library reads more than orjson, so its word is asked before a file is called damaged.
        return loads_extended(raw), True
    if _LONG_INTEGER not in raw.translate(_DIGITS):
        return value, False
    exact = loads_extended(raw)
    # By their texts: a large integer equals the float that orjson makes of it.
    return exact, repr(value) != repr(exact)


def loads_extended(raw: bytes | bytearray) -> Any:
    """Return the value of JSON with what orjson cannot hold. Raises ValueError where it is damaged."""
    try:
        return json.loads(raw)
    except RecursionError as error:
        raise ValueError("nested too deep to read") from error


def has_twin_names(raw: bytes | bytearray) -> bool:
    """Tell whether a name stands twice in one object of readable JSON: every reader keeps one of the values alone."""
    found = False

    def noted(pairs: list[tuple[str, Any]]) -> None:
        nonlocal found
        found = found or len({name for name, _ in pairs}) < len(pairs)

    json.loads(raw, object_pairs_hook=noted)
    return found


def dumps_extended(value: Any) -> bytes:
    """
    Return the JSON of a value read by `loads_any`, with nothing lost that orjson would lose.

    Raises:
        InvalidMessageError: It holds what no JSON holds. A lone surrogate is written as its escape.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidMessageError(f"message would not read back equal: {error}. Remove it.", where="message") from error
    return text.encode("utf-8", "backslashreplace")
