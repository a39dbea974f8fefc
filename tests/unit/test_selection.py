"""Choosing in Python as a database would: order, limit, offset."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from praison_store.errors import InvalidArgumentError
from praison_store.model.filters import ComparisonFilter
from praison_store.model.selection import names_of, selected

ROWS: list[dict[str, Any]] = [
    {"id": "a", "n": 2, "name": "x", "metadata": {"k": "b"}}, {"id": "b", "n": 10, "name": "y", "metadata": {"k": "a"}},
    {"id": "c", "n": 1.5, "name": None, "metadata": {}}, {"id": "d", "name": "x", "metadata": {"k": True}},
    {"id": "e", "n": -1, "name": "X", "metadata": {"k": 3}},
]


def ids(order_by: Any = None, limit: int | None = None, offset: int = 0, filters: Any = None) -> str:
    """Return the ids of the rows that are selected, in order."""
    return "".join(selected(((row, row["id"]) for row in ROWS), filters, order_by, limit, offset))


def test_names_are_fields_with_a_direction() -> None:
    """Goal: what may be given. Method: none, one, many; text, list, tuple; a minus."""
    assert [] == names_of(None) == names_of([])
    assert [("a", False)] == names_of("a") == names_of(("a",))
    assert [("metadata.k", True), ("b", False)] == names_of(["-metadata.k", "b"])


@pytest.mark.parametrize("order_by", ["", "-", "--a", "a b", "a;", [""], [5], [None], 5, 0, False, {"a": 1}, {"a"}, [["a"]], "a,b"],
                         ids=repr)
def test_what_is_no_order_is_refused(order_by: Any) -> None:
    """Goal: nothing is guessed. Method: what names no field."""
    with pytest.raises(InvalidArgumentError):
        names_of(order_by)


@pytest.mark.parametrize(("limit", "offset"), [(-1, 0), (None, -1), (1.5, 0), (True, 0), ("1", 0), (None, None), (None, 0.0)])
def test_what_is_no_limit_is_refused_before_anything_is_read(limit: Any, offset: Any) -> None:
    """Goal: a bad call does nothing. Method: limits and offsets of other kinds, on rows that must not be asked for."""
    with pytest.raises(InvalidArgumentError):
        selected(iter(lambda: pytest.fail("a row was read"), None), None, None, limit, offset)


def test_without_an_order_rows_stay_as_they_come() -> None:
    """Goal: filter, offset, limit, in this order. Method: each alone and all together."""
    assert ("abcde", "ab", "de", "cd", "") == (ids(), ids(limit=2), ids(offset=3), ids(limit=2, offset=2), ids(limit=0))
    small = ComparisonFilter.lt("n", 5)
    assert ("ace", "ce") == (ids(filters=small), ids(filters=small, limit=2, offset=1))


def test_an_unlimited_stream_is_read_no_further_than_needed() -> None:
    """Goal: fifty of ten thousand cost fifty. Method: count what is taken from the source."""
    taken: list[int] = []

    def source() -> Any:
        for number in range(100):
            taken.append(number)
            yield {"n": number}, number

    assert [1, 2] == list(selected(source(), None, None, 2, 1))
    assert 3 == len(taken)


def test_rows_are_sorted_by_kind_and_value() -> None:
    """Goal: missing, booleans, numbers, text. Method: each field both ways; equal ones stay in their order."""
    assert "decab" == ids("n")
    assert "baced" == ids("-n")
    assert "ceadb" == ids("name")
    assert "badec" == ids("-name")
    assert "cdeba" == ids("metadata.k")
    assert "abedc" == ids("-metadata.k")
    assert "cedab" == ids(["name", "-id"])
    assert "ec" == ids("n", limit=2, offset=1)


def test_an_order_does_not_depend_on_how_rows_come() -> None:
    """Goal: a full order is one order. Method: all permutations of the rows."""
    for rows in permutations(ROWS):
        assert "cedab" == "".join(selected(((row, row["id"]) for row in rows), None, ["name", "-id"], None, 0))
