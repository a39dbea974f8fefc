"""D9, decided without a file: where a conversation may be cut, compared with a plain account of the rules."""

from __future__ import annotations

from typing import Any

import conversations as talk
import plain_oracle as oracle
import pytest
from effort import tried
from hypothesis import given
from hypothesis import strategies as st

from praison_store.model.exchanges import exchange_marks, newest_window, whole_exchanges
from praison_store.retention import policy_named

limits = st.integers(1, 12)


@tried(800)
@given(talk.free)
def test_D9_a_cut_is_marked_exactly_where_it_parts_a_call_from_a_result(messages: list[dict[str, Any]]) -> None:
    """Goal: every cut is judged right. Method: compare each place of any conversation with the plain account."""
    expected = [not oracle.may_cut(messages, place) for place in range(len(messages) + 1)]
    assert expected == [bool(mark) for mark in exchange_marks(messages)]


@tried(800)
@given(talk.free, limits)
def test_D9_the_newest_window_is_the_longest_that_fits_or_the_newest_exchange(
    messages: list[dict[str, Any]], limit: int
) -> None:
    """Goal: a window is neither too short nor too long. Method: compare with trying every possible start."""
    assert oracle.window(messages, limit) == newest_window(messages, limit)


@tried(400)
@given(talk.orderly(), limits)
def test_D9_a_window_shows_at_most_the_limit_except_for_one_exchange(
    messages: list[dict[str, Any]], limit: int
) -> None:
    """Goal: the bound holds. Method: what is over it is the leading messages and one exchange, nothing more."""
    leading, start = newest_window(messages, limit)
    shown = leading + len(messages) - start
    newest = max(place for place in range(len(messages)) if oracle.may_cut(messages, place))
    assert shown <= limit or newest == start or start == leading
    assert messages[start:], "never empty"


@tried(400)
@given(talk.free, st.integers(0, 30), st.integers(0, 6))
def test_D9_context_around_a_message_holds_whole_exchanges_and_the_message(
    messages: list[dict[str, Any]], anchor: int, around: int
) -> None:
    """Goal: context is never half an exchange. Method: no pair of the plain account has one end in the range."""
    anchor = min(anchor, len(messages) - 1)
    asked, until = max(0, anchor - around), min(len(messages), anchor + around + 1)
    inside = range(*whole_exchanges(messages, asked, until, anchor))
    assert anchor in inside
    assert [] == [pair for pair in oracle.pairs(messages) if (pair[0] in inside) != (pair[1] in inside)]


@tried(300)
@given(talk.free, st.integers(0, 30), st.integers(0, 6))
def test_D9_rows_are_the_widest_whole_ones_within_what_was_asked(
    messages: list[dict[str, Any]], anchor: int, around: int
) -> None:
    """Goal: nothing that fits is left out. Method: compare both edges with the first place that may be cut."""
    anchor = min(anchor, len(messages) - 1)
    asked, until = max(0, anchor - around), min(len(messages), anchor + around + 1)
    places = [place for place in range(len(messages) + 1) if oracle.may_cut(messages, place)]
    first = max(place for place in places if place <= anchor)
    last = min(place for place in places if place > anchor)
    expected = (
        min(first, min((place for place in places if asked <= place <= first), default=first)),
        max(last, max((place for place in places if last <= place <= until), default=last)),
    )
    assert expected == whole_exchanges(messages, asked, until, anchor)


@pytest.mark.parametrize("style", ["openai", "anthropic"])
def test_D9_a_window_of_three_shows_a_call_with_three_results_whole(style: str) -> None:
    """Goal: the newest exchange is never cut, even where it alone is longer. Method: both styles of tools."""
    exchange = (
        [talk.calling("a", "b", "c"), *map(talk.answering, "abc")] if style == "openai"
        else [talk.using("a", "b", "c"), *(talk.resulting(name) for name in "abc")]
    )
    assert (0, 2) == newest_window([talk.said("user"), talk.said("user"), *exchange], 3)


def test_D9_an_id_used_again_belongs_to_the_call_in_front_of_it() -> None:
    """Goal: a reused id does not tie two exchanges together. Method: two exchanges with the same id, cut between."""
    messages = [talk.calling("a"), talk.answering("a"), talk.calling("a"), talk.answering("a")]
    assert (0, 2) == newest_window(messages, 3)
    assert [0, 1, 0, 1, 0] == list(exchange_marks(messages))


def test_D9_exchanges_that_interleave_are_one() -> None:
    """Goal: no place inside interleaved exchanges may be cut. Method: b is called before a is answered."""
    messages = [talk.calling("a"), talk.calling("b"), talk.answering("a"), talk.said("user"), talk.answering("b")]
    assert [0, 1, 1, 1, 1, 0] == list(exchange_marks(messages))


def test_D9_a_result_of_nobodys_call_is_a_message_like_another() -> None:
    """Goal: an orphan does not keep a window from being cut. Method: orphans only, window of one."""
    assert (0, 2) == newest_window([talk.answering("x"), talk.answering(None), talk.said("user")], 1)


@tried(60)
@given(limits, st.integers(0, 60))
def test_D9_a_policy_cuts_only_what_is_over_window_and_slack(limit: int, count: int) -> None:
    """Goal: archive cuts a quarter window late, truncate at once, keep_all never. Method: every count."""
    archive, truncate = policy_named("archive", limit), policy_named("truncate", limit)
    assert (count > limit + limit // 4) == archive.overflows(count)
    assert (count > limit) == truncate.overflows(count)
    assert not policy_named("keep_all", limit).overflows(count)
    assert (0, 0) == policy_named("keep_all", limit).cut([talk.said("user")] * count, None)
