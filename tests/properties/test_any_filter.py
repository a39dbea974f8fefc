"""Any filter on any record: three-valued logic against brute force, both forms there and back, patterns, refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from effort import tried
from hypothesis import example, given
from hypothesis import strategies as st

from praison_store.errors import InvalidArgumentError
from praison_store.model.filters import (
    AndFilter,
    ComparisonFilter,
    Filter,
    NotFilter,
    OrFilter,
    evaluate,
    from_dict,
    from_query,
    pattern_of,
    to_dict,
    to_query,
    truth,
)
from praison_store.model.selection import selected

NAMES = ("a", "b", "m.k", "m.k.x", "m")
# Few and alike, so that they meet: 1, 1.0 and True, text of digits, letter case, the signs of patterns.
values = st.one_of(
    st.sampled_from([0, 1, 2, -1, 1.0, 1.5, 0.0, -0.0, True, False, 2**53, 2**53 + 1, "", "1", "a", "A", "ab", "é", "É", "%", "_"]),
    st.text("aA%_\\\n", max_size=4), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False),
)
anything = st.one_of(values, st.none(), st.lists(values, max_size=2), st.dictionaries(st.sampled_from("kx"), values, max_size=2))
records = st.fixed_dictionaries(
    {}, optional={"a": anything, "b": anything, "m": st.one_of(anything, st.fixed_dictionaries({}, optional={"k": anything}))},
)
fields = st.sampled_from(NAMES)
comparisons = st.one_of(
    st.builds(ComparisonFilter, fields, st.sampled_from(["eq", "neq", "gt", "gte", "lt", "lte"]), values),
    st.builds(ComparisonFilter, fields, st.sampled_from(["like", "ilike"]), st.text("aAé%_\\\n", max_size=5)),
    st.builds(ComparisonFilter.in_, fields, st.lists(values, max_size=3)),
    st.builds(ComparisonFilter.is_null, fields, st.booleans()),
)
filters: st.SearchStrategy[Filter] = st.recursive(
    comparisons, lambda inner: st.one_of(
        st.builds(AndFilter, st.lists(inner, max_size=3)), st.builds(OrFilter, st.lists(inner, max_size=3)),
        st.builds(NotFilter, inner)), max_leaves=8,
)


def at(record: Any, path: str) -> Any:
    """Return what stands at a path, step by step."""
    for name in path.split("."):
        if not isinstance(record, dict) or name not in record:
            return None
        record = record[name]
    return record


def matches(pattern: str, text: str) -> bool:
    """Decide LIKE by trying everything."""
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(matches(pattern[1:], text[cut:]) for cut in range(len(text) + 1))
    if not text:
        return False
    if pattern[0] == "_":
        return matches(pattern[1:], text[1:])
    if pattern[0] == "\\" and len(pattern) > 1:
        pattern = pattern[1:]
    return pattern[0] == text[0] and matches(pattern[1:], text[1:])


def kind(value: Any) -> type:
    """Return what a value may be compared with: numbers are one kind, booleans another."""
    return float if type(value) is int else type(value)


def oracle(condition: Filter, record: dict[str, Any]) -> bool | None:
    """Decide a filter as SQL would, in the plainest words: False < unknown < True, `and` the least, `or` the greatest."""
    grade: dict[bool | None, int] = {False: 0, None: 1, True: 2}
    back: dict[int, bool | None] = {number: value for value, number in grade.items()}
    if isinstance(condition, NotFilter):
        return back[2 - grade[oracle(condition.filter, record)]]
    if isinstance(condition, AndFilter):
        return back[min((grade[oracle(part, record)] for part in condition.filters), default=2)]
    if isinstance(condition, OrFilter):
        return back[max((grade[oracle(part, record)] for part in condition.filters), default=0)]
    found, value = at(record, condition.field), condition.value
    if condition.op == "is_null":
        return (found is None) == value
    if found is None:
        return None
    if condition.op in ("like", "ilike"):
        if not isinstance(found, str):
            return None
        return matches(value, found) if condition.op == "like" else matches(value.lower(), found.lower())
    if condition.op in ("eq", "neq", "in"):
        wanted = value if condition.op == "in" else [value]
        return any(kind(found) is kind(one) and found == one for one in wanted) != (condition.op == "neq")
    if kind(found) is not kind(value):
        return None
    return {"gt": found > value, "gte": found >= value, "lt": found < value, "lte": found <= value}[condition.op]


@tried(600)
@given(filters, records)
@example(AndFilter([ComparisonFilter.neq("a", 1), ComparisonFilter.eq("b", 1)]), {"a": True, "b": 1.0})
def test_a_filter_says_what_brute_force_says(condition: Filter, record: dict[str, Any]) -> None:
    """Goal: three-valued logic and every comparison. Method: any filter on any record, against the plainest words."""
    expected = oracle(condition, record)
    assert expected is truth(condition, record)
    assert (expected is True) == evaluate(condition, record)
    opposite = oracle(NotFilter(condition), record)
    assert (expected is None) == (opposite is None)


@tried(400)
@given(filters)
def test_both_forms_give_the_filter_back(condition: Filter) -> None:
    """Goal: a filter sent is the filter received, kinds included. Method: any filter through JSON and through a URL."""
    for again in (from_dict(json.loads(json.dumps(to_dict(condition)))), from_query(to_query(condition))):
        assert condition == again
        assert repr(condition) == repr(again)


@tried(600)
@given(st.text("aAb%_\\\n.[", max_size=8), st.text("aAb%_\\\n.[", max_size=10))
def test_a_pattern_matches_what_trying_everything_matches(like: str, text: str) -> None:
    """Goal: LIKE. Method: any pattern on any text, against every way to cut the text."""
    assert matches(like, text) == (pattern_of(like, ignore_case=False).fullmatch(text) is not None)


junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
              st.sampled_from(["and", "or", "not", "comparison", "eq", "in", "a"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["type", "filters", "filter", "field", "op", "value"]), inner, max_size=4)),
    max_leaves=12,
)


@tried(500)
@given(junk)
def test_any_json_is_a_filter_or_refused(data: Any) -> None:
    """Goal: no stranger's JSON raises anything else. Method: any value, with the right words in it."""
    try:
        condition = from_dict(data)
    except InvalidArgumentError:
        return
    assert condition == from_dict(to_dict(condition))


@tried(500)
@given(st.one_of(st.text(max_size=20), st.lists(st.tuples(fields, st.sampled_from(["__eq=", "__in=", "=", "__is_null="]),
                                                         st.sampled_from(["1", '"a"', "[1]", "null", "true", "%22", "["]))).map(
    lambda parts: "&".join("".join(part) for part in parts))))
def test_any_text_is_a_query_or_refused(query: str) -> None:
    """Goal: no stranger's URL raises anything else. Method: any text, and any mixture of right parts."""
    try:
        condition = from_query(query)
    except InvalidArgumentError:
        return
    assert (condition is None) == (query == "")


@tried(300)
@given(st.lists(records, max_size=8), filters, st.lists(st.tuples(st.sampled_from(["", "-"]), fields).map("".join), max_size=2),
       st.none() | st.integers(0, 5), st.integers(0, 5))
def test_a_selection_is_a_slice_of_the_sorted_matches(
    rows: list[dict[str, Any]], condition: Filter, order_by: list[str], limit: int | None, offset: int
) -> None:
    """Goal: filter, then order, then offset and limit. Method: any rows; a page against the list it is cut from."""
    pairs = list(zip(rows, range(len(rows)), strict=True))
    everything = list(selected(pairs, condition, order_by, None, 0))
    assert sorted(everything) == [number for row, number in pairs if evaluate(condition, row)]
    stop = None if limit is None else offset + limit
    assert everything[offset:stop] == list(selected(pairs, condition, order_by, limit, offset))
    if not order_by:
        assert sorted(everything) == everything


@pytest.mark.parametrize("field", NAMES)
def test_an_order_is_turned_by_a_minus(field: str) -> None:
    """Goal: up and down are each other's mirror, where no two are equal. Method: one of each kind, both ways."""
    path = field.split(".")
    rows: list[Any] = []
    for value in (None, False, True, -1, 2.5, 3, "", "A", "a", "é"):
        row: Any = value
        for name in reversed(path):
            row = {name: row}
        rows.append(row)
    pairs = [(row, number) for number, row in enumerate(rows)]
    up, down = (list(selected(pairs, None, sign + field, None, 0)) for sign in ("", "-"))
    assert list(range(10)) == up == down[::-1]
