"""
Conditions on sessions and messages, as data: built in code, sent as JSON or in a URL, decided here or by a database.

Shape: a field is a name of a record (`user_id`, `updated_at`) or a path into one (`metadata.topic`). A comparison is
true, false or unknown; unknown where the field is missing or None, or of another kind than the value; `and`, `or` and
`not` go by SQL's rules, and only what is true matches. Text compares by code point, times as the ISO text they are kept
as, and True is not 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, TypeAlias

from ..errors import InvalidArgumentError, shown
from .arguments import text

OPERATORS = ("eq", "neq", "gt", "gte", "lt", "lte", "like", "ilike", "in", "is_null")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[^.\x00-\x1f\ud800-\udfff]+)*")
_QUERY = "filter"
_NESTING_LEVELS = 50
_SMALLEST, _LARGEST, _INFINITY = -(2**63), 2**64 - 1, float("inf")


@dataclass(frozen=True)
class ComparisonFilter:
    """
    One field compared with one value.

    Shape: `op` is one of OPERATORS. `value` is text, a number, a bool, or a datetime (kept as ISO text in UTC; one
    without a zone is local time); for `in` a list of them; for `is_null` whether the field is to be None.
    Raises:
        InvalidArgumentError: An unknown operator, or a value that cannot be compared. Use `is_null` for None.
    """

    field: str
    op: str
    value: Any

    def __post_init__(self) -> None:
        if not is_field(self.field):
            raise InvalidArgumentError(f"A filter's field is a name like user_id, not {shown(self.field)}: pass one.")
        if self.op not in OPERATORS:
            raise InvalidArgumentError(f"op is one of {', '.join(OPERATORS)}, not {shown(self.op)}: pass one of them.")
        object.__setattr__(self, "value", _checked(self.op, self.value))

    @classmethod
    def eq(cls, field: str, value: Any) -> ComparisonFilter:
        """The field equals the value."""
        return cls(field, "eq", value)

    @classmethod
    def neq(cls, field: str, value: Any) -> ComparisonFilter:
        """The field is there and differs from the value."""
        return cls(field, "neq", value)

    @classmethod
    def gt(cls, field: str, value: Any) -> ComparisonFilter:
        """The field is greater."""
        return cls(field, "gt", value)

    @classmethod
    def gte(cls, field: str, value: Any) -> ComparisonFilter:
        """The field is greater or equal."""
        return cls(field, "gte", value)

    @classmethod
    def lt(cls, field: str, value: Any) -> ComparisonFilter:
        """The field is less."""
        return cls(field, "lt", value)

    @classmethod
    def lte(cls, field: str, value: Any) -> ComparisonFilter:
        """The field is less or equal."""
        return cls(field, "lte", value)

    @classmethod
    def like(cls, field: str, pattern: str) -> ComparisonFilter:
        r"""The text matches a pattern: % any characters, _ one, \\ in front of either means itself."""
        return cls(field, "like", pattern)

    @classmethod
    def ilike(cls, field: str, pattern: str) -> ComparisonFilter:
        """The text matches a pattern, upper and lower case alike."""
        return cls(field, "ilike", pattern)

    @classmethod
    def in_(cls, field: str, values: Iterable[Any]) -> ComparisonFilter:
        """The field equals one of the values."""
        return cls(field, "in", values)

    @classmethod
    def is_null(cls, field: str, value: bool = True) -> ComparisonFilter:
        """The field is missing or None; with False, it is there."""
        return cls(field, "is_null", value)


@dataclass(frozen=True)
class AndFilter:
    """Every filter is true; of none, always."""

    filters: Sequence[Filter] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", _filters(self.filters))


@dataclass(frozen=True)
class OrFilter:
    """One filter is true; of none, never."""

    filters: Sequence[Filter] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", _filters(self.filters))


@dataclass(frozen=True)
class NotFilter:
    """The filter is false; what is unknown stays unknown."""

    filter: Filter

    def __post_init__(self) -> None:
        _filters([self.filter])


Filter: TypeAlias = ComparisonFilter | AndFilter | OrFilter | NotFilter


def is_field(name: object) -> bool:
    """Tell whether something is a field's name, or a path like `metadata.topic`."""
    return isinstance(name, str) and _FIELD.fullmatch(name) is not None


def evaluate(condition: Filter | None, record: Mapping[str, Any]) -> bool:
    """Tell whether a record matches; every record matches None."""
    return condition is None or truth(condition, record) is True


def truth(condition: Filter, record: Mapping[str, Any]) -> bool | None:
    """Return whether a condition is true of a record; None where that is unknown."""
    if isinstance(condition, ComparisonFilter):
        return _compare(condition, value_at(record, condition.field))
    if isinstance(condition, NotFilter):
        found = truth(condition.filter, record)
        return None if found is None else not found
    results = [truth(part, record) for part in condition.filters]
    decisive = isinstance(condition, OrFilter)
    if decisive in results:
        return decisive
    return None if None in results else not decisive


def value_at(record: Mapping[str, Any], path: str) -> Any:
    """Return what stands at a dotted path of a record; None where nothing does."""
    value: Any = record
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def fields_of(condition: Filter | None) -> set[str]:
    """Return the names of all fields a filter compares."""
    if condition is None:
        return set()
    if isinstance(condition, ComparisonFilter):
        return {condition.field}
    parts = [condition.filter] if isinstance(condition, NotFilter) else condition.filters
    return set().union(*map(fields_of, parts))


def to_dict(condition: Filter) -> dict[str, Any]:
    """Return a filter's JSON form; `from_dict` gives it back."""
    if isinstance(condition, ComparisonFilter):
        value = list(condition.value) if condition.op == "in" else condition.value
        return {"type": "comparison", "field": condition.field, "op": condition.op, "value": value}
    if isinstance(condition, NotFilter):
        return {"type": "not", "filter": to_dict(condition.filter)}
    kind = "and" if isinstance(condition, AndFilter) else "or"
    return {"type": kind, "filters": [to_dict(part) for part in condition.filters]}


def from_dict(data: Any, level: int = 0) -> Filter:
    """Return the filter of its JSON form. Raises InvalidArgumentError, naming what is wrong."""
    if level > _NESTING_LEVELS:
        raise _too_deep()
    kind = data.get("type") if isinstance(data, Mapping) else None
    wanted = {"comparison": {"field", "op", "value"}, "and": {"filters"}, "or": {"filters"}, "not": {"filter"}}
    if not isinstance(kind, str) or kind not in wanted:
        raise InvalidArgumentError(f"A filter is a dict with a type of {', '.join(wanted)}, not {shown(data)}.")
    if set(data) != wanted[kind] | {"type"}:
        raise InvalidArgumentError(f"A filter of type {kind} has {', '.join(sorted(wanted[kind]))}, not {shown(data)}.")
    if kind == "comparison":
        op = {"in_": "in"}.get(data["op"], data["op"]) if isinstance(data["op"], str) else data["op"]
        return ComparisonFilter(data["field"], op, data["value"])
    if kind == "not":
        return NotFilter(from_dict(data["filter"], level + 1))
    if not isinstance(data["filters"], list):
        raise InvalidArgumentError(f"filters is a list of filters, not {shown(data['filters'])}.")
    parts = [from_dict(part, level + 1) for part in data["filters"]]
    return AndFilter(parts) if kind == "and" else OrFilter(parts)


def to_query(condition: Filter) -> str:
    """
    Return a filter as the query part of a URL; `from_query` gives an equal one back.

    Shape: `field__op=<JSON>` for a comparison and for an `and` of comparisons, so that `"123"` stays text;
    `filter=<JSON form>` for the rest.
    """
    from urllib.parse import urlencode  # 2 ms that only who sends a filter pays

    parts = condition.filters if isinstance(condition, AndFilter) else [condition]
    if len(parts) == 0 or not all(isinstance(part, ComparisonFilter) for part in parts):
        return urlencode({_QUERY: _compact(to_dict(condition))})
    if isinstance(condition, AndFilter) and len(parts) == 1:
        return urlencode({_QUERY: _compact(to_dict(condition))})
    forms = [to_dict(part) for part in parts]
    return urlencode([(f"{form['field']}__{form['op']}", _compact(form["value"])) for form in forms])


def from_query(query: str) -> Filter | None:
    """Return the filter of a URL's query part; None for an empty one. Raises InvalidArgumentError."""
    from urllib.parse import parse_qsl

    parts: list[Filter] = []
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        for name, text in pairs:
            value = json.loads(text)
            named, _, op = name.removesuffix("_").rpartition("__")  # in_ is in
            parts.append(from_dict(value) if name == _QUERY else ComparisonFilter(named, op, value))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InvalidArgumentError):
            raise
        raise InvalidArgumentError(
            f"A filter in a URL is field__op=<JSON>, with quotes around text: {shown(query)} is not ({error})."
        ) from error
    return parts[0] if len(parts) == 1 else AndFilter(parts) if parts else None


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _filters(filters: Any) -> tuple[Filter, ...]:
    parts = tuple(filters) if isinstance(filters, Iterable) and not isinstance(filters, (str, bytes, Mapping)) else ()
    wrong = [part for part in parts if not isinstance(part, (ComparisonFilter, AndFilter, OrFilter, NotFilter))]
    if wrong or (not parts and filters not in ((), [])):
        raise InvalidArgumentError(f"Filters are a list of filters, not {shown(wrong[0] if wrong else filters)}.")
    if any(_levels(part) >= _NESTING_LEVELS for part in parts):
        raise _too_deep()
    return parts


def _levels(condition: Filter) -> int:
    if isinstance(condition, ComparisonFilter):
        return 0
    parts = [condition.filter] if isinstance(condition, NotFilter) else condition.filters
    return 1 + max(map(_levels, parts), default=0)


def _too_deep() -> InvalidArgumentError:
    return InvalidArgumentError(f"A filter nests at most {_NESTING_LEVELS} levels: make it flatter.")


def _checked(op: str, value: Any) -> Any:
    if op == "in":
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
            raise InvalidArgumentError(f"in takes a list of values, not {shown(value)}: pass [...].")
        return tuple(_checked("eq", one) for one in value)
    if op == "is_null":
        if not isinstance(value, bool):
            raise InvalidArgumentError(f"is_null takes True or False, not {shown(value)}: pass one of them.")
        return value
    if isinstance(value, datetime):
        try:
            # Not by way of a float, which would be a microsecond off now and then.
            value = value.astimezone(timezone.utc).isoformat(timespec="microseconds")
        except (OverflowError, ValueError, OSError) as error:
            raise InvalidArgumentError(f"{shown(value)} is no time in UTC: pass one between the years 1 and 9999."
                                       ) from error
    if op in ("like", "ilike") and not isinstance(value, str):
        raise InvalidArgumentError(f"{op} takes a pattern of text, not {shown(value)}: pass text.")
    if isinstance(value, str):
        return text(value, "A filter's value")
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and _SMALLEST <= value <= _LARGEST:
        return int(value)
    if isinstance(value, float) and -_INFINITY < value < _INFINITY:
        return float(value)
    raise InvalidArgumentError(
        f"A filter compares with text, a finite number of 64 bits, a bool or a datetime, not {shown(value)}: use "
        f"is_null for None."
    )


def _kind(value: Any) -> str:
    return "bool" if isinstance(value, bool) else "number" if isinstance(value, (int, float)) else type(value).__name__


_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda found, value: found > value,
    "gte": lambda found, value: found >= value,
    "lt": lambda found, value: found < value,
    "lte": lambda found, value: found <= value,
}


def _compare(condition: ComparisonFilter, found: Any) -> bool | None:
    op, value = condition.op, condition.value
    if op == "is_null":
        return (found is None) is value
    if found is None:
        return None
    if op == "in":
        return any(_kind(found) == _kind(one) and found == one for one in value)
    if op in ("like", "ilike"):
        if not isinstance(found, str):
            return None
        return pattern_of(value, ignore_case=op == "ilike").fullmatch(found) is not None
    same_kind = _kind(found) == _kind(value)
    if op == "eq":
        return same_kind and found == value
    if op == "neq":
        return not (same_kind and found == value)
    return _ORDER[op](found, value) if same_kind else None


@lru_cache(maxsize=64)
def pattern_of(like: str, *, ignore_case: bool) -> re.Pattern[str]:
    """Return the regular expression of a LIKE pattern, for `fullmatch`. Cost of a match: text times pattern."""
    pieces = [""]
    for part in re.findall(r"\\.|.", like, re.DOTALL):
        if part == "%":
            pieces.append("")
        else:
            pieces[-1] += "." if part == "_" else re.escape(part[-1])
    # The first place where a piece fits is as good as any later one, so no match is ever tried again: with plain .*
    # a pattern of ten % signs could keep a server busy for hours.
    first, *between = pieces
    last = ".*" + between.pop() if between else ""
    text = first + "".join(f"(?>.*?{piece})" for piece in between if piece) + last
    return re.compile(text, re.DOTALL | (re.IGNORECASE if ignore_case else 0))
