"""Decide whether a value can be stored so that it reads back equal (D6). Pure; no I/O."""

from __future__ import annotations

import json
from typing import Any

from ..errors import InvalidMessageError, shown

# orjson writes 254 levels; what wraps a value in a file (document, list, message, field) needs a few of them.
NESTING_LEVELS = 200
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
_LONGEST = 10**4300  # Python itself reads and writes no more digits
_INFINITY = float("inf")
# str() of a str Enum is its name, not its text; `str.__str__` is the text.
_PLAIN: tuple[tuple[type, Any], ...] = ((str, str.__str__), (int, int), (float, float), (dict, dict), (list, list))


def storable(value: Any, where: str, level: int = 0, *, foreign: bool = False) -> Any:
    """
    Return `value` if JSON holds it exactly, or the plain value equal to it.

    Args:
        value: text, int of 64 bits, finite float, bool, None, list, or dict with text keys; nested up to 200 levels.
        foreign: let NaN, Infinity, longer integers and half surrogate pairs pass too; another store may hold them.
        where: the path of the value inside the message, for the error.
    Returns:
        The value itself, or an equal one of plain types where it holds a subclass (a str Enum, an OrderedDict).
    Raises:
        InvalidMessageError: Anything else, because it would not read back equal. Says where it is.
    Cost: one walk of containers, and one of each text that is not ASCII.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        if _reads_back(value, foreign):
            return value
        raise _refused(where, "half of a surrogate pair", "remove it")
    if kind is int:
        if _SMALLEST <= value <= _LARGEST or (foreign and -_LONGEST < value < _LONGEST):
            return value
        raise _refused(where, "an integer past 64 bits", "store it as text")
    if kind is float:
        if foreign or -_INFINITY < value < _INFINITY:
            return value
        raise _refused(where, f"{shown(value)}, which JSON does not have", "store None or text")
    if level > NESTING_LEVELS:
        raise _refused(where[:60] + "...", f"more than {NESTING_LEVELS} levels deep, or holds itself", "flatten it")
    if kind is dict:
        return _storable_dict(value, where, level, foreign)
    if kind is list:
        return _storable_list(value, where, level, foreign)
    return _plain(value, where, level)


def is_unicode(text: str) -> bool:
    """Tell whether UTF-8 holds a text: no half of a surrogate pair is in it."""
    # Another store may have written half of a pair; JSON holds it as an escape, and no database holds it as text.
    try:
        return text.isascii() or bool(text.encode("utf-8"))
    except UnicodeEncodeError:
        return False


def _reads_back(text: str, foreign: bool) -> bool:
    if not foreign:
        return is_unicode(text)
    # As escapes in JSON the halves of a pair that stand side by side become one character.
    return is_unicode(text) or text == text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _storable_dict(value: dict[Any, Any], where: str, level: int, foreign: bool) -> dict[str, Any]:
    changed: dict[str, Any] | None = None
    for key, item in value.items():
        if type(key) is not str:
            raise _refused(where, f"the key {shown(key)}, which is {type(key).__name__}", "use text keys")
        if not _reads_back(key, foreign):
            raise _refused(where, f"the key {shown(key)} with half of a surrogate pair", "remove it")
        kind = type(item)
        if item is None or kind is bool or (kind is str and item.isascii()):
            continue
        stored = storable(item, f"{where}.{key}", level + 1, foreign=foreign)
        if stored is not item:
            changed = dict(value) if changed is None else changed
            changed[key] = stored
    return value if changed is None else changed


def _storable_list(value: list[Any], where: str, level: int, foreign: bool) -> list[Any]:
    stored = [storable(item, f"{where}[{i}]", level + 1, foreign=foreign) for i, item in enumerate(value)]
    return value if all(new is old for new, old in zip(stored, value, strict=True)) else stored


def _plain(value: Any, where: str, level: int) -> Any:
    """Accept a subclass of a JSON type where the plain value equals it; a tuple or a date does not."""
    for base, as_plain in _PLAIN:
        if isinstance(value, base):
            plain = as_plain(value)
            if plain == value:
                return storable(plain, where, level)
    raise _refused(where, f"{type(value).__name__}, which JSON does not have", "convert it to plain data")


def _refused(where: str, found: str, advice: str) -> InvalidMessageError:
    return InvalidMessageError(f"{where} is or holds {found} and would not read back equal: {advice}.", where=where)


def exact(value: Any) -> str:
    """Return text that is equal only for values JSON tells apart: 1, 1.0 and True are three."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def size_bytes_of(text: str) -> int:
    """Return how many bytes a text takes in a file."""
    return len(text.encode("utf-8", "surrogatepass"))
