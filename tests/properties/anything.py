"""Values JSON holds, values it does not, and messages made of either."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid
from typing import Any

from hypothesis import strategies as st

SMALLEST, LARGEST = -(2**63), 2**64 - 1

integers = st.one_of(
    st.integers(SMALLEST, LARGEST), st.sampled_from([SMALLEST, LARGEST, 2**63, 2**63 - 1, 2**53 + 1, 0, -1]),
)
floats = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([-0.0, 0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 1e22, 123456789012345680.0]),
)
texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "\0", "\n", '",\n{"role":"', "]}\n", "\u2028\u2029", "e\u0301", "\u00e9", "\U0001f600"]),
    st.sampled_from(["\x7f\x1f", "\ufeff", "tool"]),
)
scalars = st.one_of(st.none(), st.booleans(), integers, floats, texts)
json_values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)
objects = st.dictionaries(texts, json_values, max_size=4)
names = texts.filter(bool)
KNOWN = ("role", "content", "timestamp", "metadata", "tool_calls", "tool_call_id", "message_id")
contents = st.one_of(texts, st.none(), st.lists(json_values, max_size=3))
calls = st.lists(st.one_of(objects, st.fixed_dictionaries({"id": names})), min_size=1, max_size=3)
extras = st.dictionaries(names.filter(lambda name: name not in KNOWN), json_values, max_size=3)


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a message as the file holds it: every field JSON can hold, the optional ones sometimes."""
    message: dict[str, Any] = {
        "role": draw(names),
        "content": draw(contents),
        "timestamp": draw(st.one_of(floats, integers)),
        "metadata": draw(objects),
    }
    optional = {"tool_calls": calls, "tool_call_id": names, "message_id": st.uuids().map(str)}
    for name, values in optional.items():
        if draw(st.booleans()):
            message[name] = draw(values)
    return {**message, **draw(extras)}


class Colour(enum.Enum):
    """A plain Enum, which JSON does not have."""

    RED = "red"


@dataclasses.dataclass
class Point:
    """A dataclass, which an encoder might turn into a dict without a word."""

    x: int = 1


class Opaque:
    """An object no encoder knows."""


class Shouting(str):
    """Text that calls itself equal to no plain text."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shouting) and str.__eq__(self, other)


class Hidden(dict[str, int]):
    """A dict that shows only a part of what it holds."""

    def __eq__(self, other: object) -> bool:
        return other == {}

    __hash__ = None


def _holding_itself(kind: type) -> Any:
    value: Any = kind()
    if kind is dict:
        value["self"] = value
    else:
        value.append(value)
    return value


def nested(levels: int, kind: type = list) -> Any:
    """Return a value inside so many containers."""
    value: Any = 1
    for _ in range(levels):
        value = [value] if kind is list else {"k": value}
    return value


UNSTORABLE: dict[str, Any] = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "minus_infinity": float("-inf"),
    "int_65_bits": 2**64,
    "int_below_64_bits": -(2**63) - 1,
    "huge_int": 10**400,
    "int_too_long_to_print": 10**5000,
    "key_too_long_to_print": {10**5000: 1},
    "high_surrogate": "a\ud800",
    "low_surrogate": "\udfff",
    "surrogate_pair": "\ud83d\ude00",
    "surrogate_key": {"\udc00": 1},
    "surrogate_deep": [{"k": ["\ud83d"]}],
    "int_key": {1: 1},
    "none_key": {None: 1},
    "bytes_key": {b"k": 1},
    "bool_key": {True: 1},
    "bytes": b"x",
    "bytearray": bytearray(b"x"),
    "set": {1},
    "frozenset": frozenset(),
    "tuple": (1, 2),
    "empty_tuple": (),
    "range": range(2),
    "datetime": datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
    "date": datetime.date(2026, 1, 2),
    "time": datetime.time(1, 2),
    "timedelta": datetime.timedelta(1),
    "decimal": decimal.Decimal("1.5"),
    "dataclass": Point(),
    "uuid": uuid.UUID(int=1),
    "enum": Colour.RED,
    "complex": 1j,
    "unequal_text": Shouting("x"),
    "unequal_dict": Hidden(a=1),
    "object": Opaque(),
    "type": dict,
    "function": nested,
    "generator": iter(()),
    "too_deep_list": nested(260),
    "too_deep_dict": nested(260, dict),
    "far_too_deep": nested(5000),
    "list_in_itself": _holding_itself(list),
    "dict_in_itself": _holding_itself(dict),
}


def typed(value: Any) -> Any:
    """Return a form in which two values are equal only when their types and bits are: -0.0 is not 0.0, 1 not True."""
    if isinstance(value, float):
        return "float", value.hex()
    if isinstance(value, dict):
        return "dict", sorted((key, typed(item)) for key, item in value.items())
    if isinstance(value, list):
        return "list", [typed(item) for item in value]
    return type(value).__name__, value
