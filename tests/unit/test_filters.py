"""Filters: what may be built, their JSON and URL forms, three-valued logic, and patterns."""

from __future__ import annotations

import enum
import json
import pickle
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from praison_store.errors import InvalidArgumentError
from praison_store.model.filters import (
    OPERATORS,
    AndFilter,
    ComparisonFilter,
    Filter,
    NotFilter,
    OrFilter,
    evaluate,
    fields_of,
    from_dict,
    from_query,
    pattern_of,
    to_dict,
    to_query,
    truth,
    value_at,
)

UTC = timezone.utc
EQ = ComparisonFilter.eq("a", 1)


class Size(enum.IntEnum):
    """A number with a name."""

    BIG = 7


class Name(str, enum.Enum):  # noqa: UP042 - a str Enum as people write it
    """A text with a name."""

    ANN = "ann"


def test_each_operator_has_its_constructor() -> None:
    """Goal: ten operators, one function each. Method: build each by name and by hand."""
    built = [getattr(ComparisonFilter, {"in": "in_"}.get(op, op)) for op in OPERATORS]
    values: list[Any] = ["x", "x", 1, 1.5, 2, 2.5, "x%", "x%", ["x", 1], True]
    for op, make, value in zip(OPERATORS, built, values, strict=True):
        assert ComparisonFilter("field", op, value) == make("field", value)
    assert ComparisonFilter("field", "is_null", True) == ComparisonFilter.is_null("field")


@pytest.mark.parametrize("value", [
    None, b"x", [1], {"a": 1}, float("nan"), float("inf"), float("-inf"), 2**64, -(2**63) - 1, object(), 1j, "a\ud800",
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))), datetime(2026, 1, 2).date(), (),
], ids=repr)
@pytest.mark.parametrize("op", ["eq", "neq", "gt", "lte"])
def test_a_value_that_cannot_be_compared_is_refused(op: str, value: Any) -> None:
    """Goal: nothing is guessed. Method: values no field can have, alone and in a list."""
    for build in (lambda: ComparisonFilter("a", op, value), lambda: ComparisonFilter("a", "in", [1, value])):
        with pytest.raises(InvalidArgumentError):
            build()


@pytest.mark.parametrize(("op", "value"), [
    ("like", 5), ("ilike", None), ("like", True), ("in", "text"), ("in", b"x"), ("in", {"a": 1}), ("in", 5), ("in", None),
    ("is_null", 1), ("is_null", None), ("is_null", "true"), ("between", 1), ("", 1), (None, 1), (["eq"], 1), ("EQ", 1),
    ("in_", [1]),
], ids=repr)
def test_an_operator_takes_its_own_kind_of_value(op: Any, value: Any) -> None:
    """Goal: a mistake is told when it is made. Method: operators with values of other kinds, and no operators."""
    with pytest.raises(InvalidArgumentError):
        ComparisonFilter("a", op, value)


@pytest.mark.parametrize("field", ["", ".", "a.", ".a", "a..b", "1a", "a b", "a;", "a\n", "é", 5, None, "metadata.a\n",
                                   "metadata.\ud800", "metadata.a\x1fb", "-a"], ids=repr)
def test_a_field_is_a_name_or_a_path(field: Any) -> None:
    """Goal: no field can be taken for anything else. Method: what is no name."""
    with pytest.raises(InvalidArgumentError):
        ComparisonFilter.eq(field, 1)


@pytest.mark.parametrize("field", ["a", "_a1", "metadata.k", "metadata.a b", "metadata.é.😀", "metadata.'; --", "a.1"])
def test_a_path_may_lead_to_any_key(field: str) -> None:
    """Goal: metadata has any keys. Method: odd ones, found in a record, and through both forms."""
    condition = ComparisonFilter.eq(field, "x")
    record: Any = "x"
    for name in reversed(field.split(".")):
        record = {name: record}
    assert ("x", True) == (value_at(record, field), evaluate(condition, record))
    assert (condition, condition) == (from_dict(to_dict(condition)), from_query(to_query(condition)))


def test_plain_values_are_kept() -> None:
    """Goal: what is compared is what JSON holds. Method: subclasses of text and number, and a generator."""
    assert [int, str, bool, float] == [
        type(ComparisonFilter.eq("a", value).value) for value in (Size.BIG, Name.ANN, True, 1.0)]
    assert ("ann", 7) == ComparisonFilter.in_("a", iter([Name.ANN, Size.BIG])).value


def test_a_time_is_its_utc_text_to_the_microsecond() -> None:
    """Goal: equal times are found equal. Method: every microsecond near one that a float misses, zones, years."""
    for microsecond in range(0, 1000, 7):
        when = datetime(2026, 1, 2, 4, 0, 0, microsecond, tzinfo=UTC)
        assert f"2026-01-02T04:00:00.{microsecond:06d}+00:00" == ComparisonFilter.eq("at", when).value
    east = datetime(2026, 1, 2, 4, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert "2026-01-01T22:30:00.000000+00:00" == ComparisonFilter.eq("at", east).value
    assert "0033-01-01T00:00:00.000000+00:00" == ComparisonFilter.eq("at", datetime(33, 1, 1, tzinfo=UTC)).value
    local = datetime(2026, 1, 2, 4)
    assert ComparisonFilter.eq("at", local.astimezone()) == ComparisonFilter.eq("at", local)


@pytest.mark.parametrize("filters", [None, 5, "x", b"x", {"a": 1}, [1], [EQ, None], ["x"], EQ], ids=repr)
@pytest.mark.parametrize("kind", [AndFilter, OrFilter])
def test_what_is_no_list_of_filters_is_refused(kind: Any, filters: Any) -> None:
    """Goal: a mistake is told when it is made. Method: other things in place of the list and in it."""
    with pytest.raises(InvalidArgumentError):
        kind(filters)


@pytest.mark.parametrize("inner", [None, True, "x", [EQ]], ids=repr)
def test_not_takes_one_filter(inner: Any) -> None:
    """Goal and method: as for the lists."""
    with pytest.raises(InvalidArgumentError):
        NotFilter(inner)


BAD_FORMS: list[Any] = [
    None, 5, "x", [], {}, {"type": "xor", "filters": []}, {"type": ["and"]}, {"type": "and"}, {"type": "not"},
    {"type": "and", "filters": {}}, {"type": "and", "filters": [5]}, {"type": "or", "filters": [], "more": 1},
    {"type": "not", "filter": None}, {"type": "comparison", "field": "a", "op": "eq"},
    {"type": "comparison", "field": "a", "op": "eq", "value": None}, {"type": "comparison", "field": 5, "op": "eq", "value": 1},
    {"type": "comparison", "field": "a", "op": {}, "value": 1}, {"type": "comparison", "field": "a", "op": "in", "value": 1},
]


@pytest.mark.parametrize("data", BAD_FORMS, ids=repr)
def test_a_json_form_that_is_none_is_refused(data: Any) -> None:
    """Goal: what comes from a stranger is checked. Method: forms with each part missing or of another kind."""
    for call in (lambda: from_dict(data), lambda: from_dict({"type": "not", "filter": data})):
        with pytest.raises(InvalidArgumentError):
            call()


@pytest.mark.parametrize("query", [
    "a", "a=1", "a__eq", "a__eq=", "a__eq=x", "a__eq=null", "a__between=1", "__eq=1", "a__eq=1&b", "filter=", "filter=5",
    "filter={", "a__in=1", "a__eq=NaN", "a__eq=Infinity", "filter=" + "[" * 100_000, "a__eq=" + "9" * 30, "eq=1", "&",
], ids=lambda query: query[:20])
def test_a_query_that_is_none_is_refused(query: str) -> None:
    """Goal: what stands in a URL is checked. Method: queries with each part missing or of another kind."""
    with pytest.raises(InvalidArgumentError):
        from_query(query)


def test_nesting_ends_somewhere() -> None:
    """Goal: no stranger exhausts the stack, and whoever builds such a filter is told at once. Method: 50 levels and 51."""
    form: dict[str, Any] = to_dict(EQ)
    condition: Filter = EQ
    for level in range(50):
        form, condition = {"type": "not", "filter": form}, NotFilter(condition) if level % 2 else AndFilter([condition])
    assert evaluate(condition, {"a": 1}) is not None
    assert condition == from_dict(to_dict(condition))
    assert condition == from_query(to_query(condition))
    from_dict(form)
    with pytest.raises(InvalidArgumentError):
        NotFilter(condition)
    for levels in (1, 100_000):
        for _ in range(levels):
            form = {"type": "and", "filters": [form]}
        with pytest.raises(InvalidArgumentError):
            from_dict(form)


def test_the_query_form_keeps_kinds_apart() -> None:
    """Goal: "123" stays text and 123 a number. Method: the texts themselves, and what they are read as."""
    forms: dict[str, Filter] = {
        "user_id__eq=%22123%22": ComparisonFilter.eq("user_id", "123"), "n__eq=123": ComparisonFilter.eq("n", 123),
        "n__eq=1.0": ComparisonFilter.eq("n", 1.0), "n__eq=true": ComparisonFilter.eq("n", True),
        "a__in=%5B1%2C%221%22%5D": ComparisonFilter.in_("a", [1, "1"]), "a__is_null=false": ComparisonFilter.is_null("a", False),
        "a__gte=1&a__lt=5": AndFilter([ComparisonFilter.gte("a", 1), ComparisonFilter.lt("a", 5)]),
    }
    for query, condition in forms.items():
        assert query == to_query(condition)
        found = from_query(query)
        assert condition == found
        assert repr(condition) == repr(found)
    assert None is from_query("")
    assert ComparisonFilter.in_("a", [1]) == from_query("a__in_=[1]")
    assert AndFilter([EQ, NotFilter(EQ)]) == from_query(f"a__eq=1&{to_query(NotFilter(EQ))}")


@pytest.mark.parametrize("condition", [
    EQ, AndFilter(), OrFilter(), AndFilter([EQ]), OrFilter([EQ]), AndFilter([EQ, EQ]), NotFilter(AndFilter()),
    OrFilter([AndFilter([EQ, NotFilter(EQ)]), ComparisonFilter.in_("b", [])]),
], ids=repr)
def test_forms_give_an_equal_filter_back(condition: Filter) -> None:
    """Goal: JSON and URL round trip, pickle too. Method: each kind, empty and single ones too."""
    assert condition == from_dict(json.loads(json.dumps(to_dict(condition))))
    assert condition == from_query(to_query(condition))
    assert condition == pickle.loads(pickle.dumps(condition))
    assert hash(condition) == hash(from_dict(to_dict(condition)))


TRUE, FALSE, UNKNOWN = ComparisonFilter.eq("t", 1), ComparisonFilter.eq("t", 2), ComparisonFilter.eq("nothing", 1)


@pytest.mark.parametrize(("condition", "expected"), [
    (TRUE, True), (FALSE, False), (UNKNOWN, None), (NotFilter(UNKNOWN), None), (NotFilter(FALSE), True),
    (AndFilter([TRUE, UNKNOWN]), None), (AndFilter([FALSE, UNKNOWN]), False), (AndFilter([UNKNOWN, FALSE]), False),
    (OrFilter([TRUE, UNKNOWN]), True), (OrFilter([UNKNOWN, TRUE]), True), (OrFilter([FALSE, UNKNOWN]), None),
    (AndFilter(), True), (OrFilter(), False), (ComparisonFilter.in_("nothing", []), None), (ComparisonFilter.in_("t", []), False),
], ids=repr)
def test_unknown_goes_by_sqls_rules(condition: Filter, expected: bool | None) -> None:
    """Goal: three values. Method: the tables of and, or and not."""
    assert expected is truth(condition, {"t": 1})
    assert (expected is True) == evaluate(condition, {"t": 1})


def test_none_matches_everything_and_fields_are_listed() -> None:
    """Goal: no filter is no condition. Method: evaluate None; the fields of a nested one."""
    assert evaluate(None, {})
    assert set() == fields_of(None)
    assert {"a", "t", "nothing"} == fields_of(AndFilter([EQ, NotFilter(OrFilter([TRUE, UNKNOWN]))]))


@pytest.mark.parametrize(("like", "text", "expected"), [
    ("", "", True), ("", "a", False), ("%", "", True), ("%", "a\nb", True), ("_", "\n", True), ("_", "", False),
    ("__", "a", False), ("a%", "abc", True), ("%c", "abc", True), ("%b%", "abc", True), ("a%c", "abcbc", True),
    ("a%b%c", "axbxbxc", True), ("a%b%c", "axcxb", False), ("%a%a", "a", False), ("%a%a", "aa", True), ("a%a", "a", False),
    ("\\%", "%", True), ("\\%", "a", False), ("\\_", "_", True), ("\\_", "a", False), ("\\\\", "\\", True), ("a\\", "a\\", True),
    ("\\a", "a", True), (".", "a", False), ("[a]", "[a]", True), ("^$", "^$", True), ("(a", "(a", True), ("%%", "x", True),
    ("%_b", "aab", True), ("_%_", "a", False), ("_%_", "ab", True), ("%ab_", "abab", False), ("%ab_", "ababc", True),
    ("%ab%b", "abb", True), ("%ab%b", "ab", False), ("A", "a", False),
])
def test_a_pattern_is_sqls(like: str, text: str, expected: bool) -> None:
    """Goal: LIKE. Method: wildcards alone, doubled, at both ends, escaped, and signs of regular expressions."""
    assert expected == (pattern_of(like, ignore_case=False).fullmatch(text) is not None)


def test_a_pattern_of_many_wildcards_is_decided_at_once() -> None:
    """Goal: no stranger's pattern keeps a server busy. Method: 30 wildcards on a long text that almost fits."""
    assert not evaluate(ComparisonFilter.like("a", "%a" * 30 + "%b"), {"a": "a" * 5000})


@pytest.mark.parametrize(("like", "text"), [("É%", "éa"), ("ω", "Ω"), ("strasse", "STRASSE"), ("ПРИ%", "привет")])
def test_letter_case_is_every_scripts(like: str, text: str) -> None:
    """Goal: ilike knows more than ASCII. Method: pairs that differ in case only; like tells them apart."""
    assert evaluate(ComparisonFilter.ilike("a", like), {"a": text})
    assert not evaluate(ComparisonFilter.like("a", like), {"a": text})
