"""D9 through the door: what a store shows, archives and lets go, compared with a plain account of the rules."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import conversations as talk
import plain_oracle as oracle
from effort import tried
from hypothesis import given
from hypothesis import strategies as st

from praison_store import DefaultSessionStore, SessionMessage

limits = st.integers(1, 8)


@contextmanager
def new_store(**options: Any) -> Iterator[DefaultSessionStore]:
    """Give a store on an empty directory; its check is clean at the end."""
    with (
        tempfile.TemporaryDirectory() as directory,
        DefaultSessionStore(directory, **{"durability": "process", **options}) as store,
    ):
        yield store
        assert [] == store.check().problems


def numbers(messages: list[SessionMessage]) -> list[int]:
    """Return which messages these are."""
    return [message.metadata["n"] for message in messages]


def numbered(messages: list[dict[str, Any]]) -> list[int]:
    """Return which messages these records are."""
    return [message["metadata"]["n"] for message in messages]


def bare(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages as a read of the history gives them."""
    return [{name: value for name, value in message.items() if name != "metadata"} for message in messages]


def turns(messages: list[dict[str, Any]], sizes: list[int]) -> Iterator[list[dict[str, Any]]]:
    """Yield the messages in writes of these sizes, one by one when the sizes are used up."""
    place = 0
    while place < len(messages):
        size = max(1, sizes.pop()) if sizes else 1
        yield messages[place : place + size]
        place += size


@tried(120)
@given(talk.free, limits, st.lists(st.integers(1, 9), max_size=6), st.booleans(), st.sampled_from(["", "read", "cold"]))
def test_D9_what_is_shown_and_archived_is_what_the_rules_say_after_every_write(
    messages: list[dict[str, Any]], limit: int, sizes: list[int], archive: bool, between: str
) -> None:
    """Goal: no write shows or drops a wrong message. Method: any conversation in any pieces, cache warm or cold."""
    plain = oracle.Conversation(limit, limit // 4 if archive else 0)
    with new_store(max_messages=limit, retention="archive" if archive else "truncate") as store:
        for turn in turns(messages, sizes):
            plain.say(turn)
            store.add_messages("s", turn)
            if between == "cold":
                store.invalidate_cache()
            elif between == "read":
                assert bare(plain.shown()) == store.get_chat_history("s")
        assert bare(plain.shown()) == store.get_chat_history("s")
        assert numbered(plain.shown()) == numbers(store.get_session("s").messages)
        if archive:
            assert numbered(plain.left()) == numbers(store.get_archived_messages("s"))
        for newest in range(1, limit + 2):
            assert bare(plain.shown(newest)) == store.get_chat_history("s", newest)
            assert bare(plain.shown(newest)) == store.get_session("s").get_chat_history(min(newest, limit))


@tried(80)
@given(talk.free, limits)
def test_D9_archive_and_window_are_everything_once_and_in_order(messages: list[dict[str, Any]], limit: int) -> None:
    """Goal: nothing leaves a session for good. Method: at every length, the context of one message shows all."""
    with new_store(max_messages=limit) as store:
        for count, message in enumerate(messages, start=1):
            store.add_messages("s", [message])
            both = numbers([*store.get_archived_messages("s"), *store.get_session("s").messages])
            assert list(range(count)) == sorted(both)
            rows = store.window("s", 0, 100)
            assert list(range(count)) == [row["index"] for row in rows]
            assert [m["role"] for m in messages[:count]] == [row["role"] for row in rows]
        fork = store.fork_session("s", "fork")
        assert fork.parent_id == "s"
        everything = store.export_session("fork")["sessions"][0]
        assert list(range(len(messages))) == sorted(numbered(everything["messages"] + everything["archived_messages"]))
        store.fork_session("fork", "again")
        assert [m["content"] for m in messages] == [row["content"] for row in store.window("again", 0, 100)]


@tried(80)
@given(st.integers(1, 9), limits)
def test_D9_plain_messages_of_every_length_up_to_three_windows(limit: int, write: int) -> None:
    """Goal: the bound holds for plain talk. Method: 1 to 3 windows, in writes of every size, both policies."""
    total = 3 * limit
    for retention in ("archive", "truncate", "keep_all"):
        with new_store(max_messages=limit, retention=retention) as store:
            for start in range(0, total, write):
                store.add_messages("s", [talk.said("user", str(n)) for n in range(start, min(start + write, total))])
                said = [str(n) for n in range(min(start + write, total))]
                shown = [m["content"] for m in store.get_chat_history("s")]
                assert (said if retention == "keep_all" else said[-limit:]) == shown
                left = [m.content for m in store.get_archived_messages("s")]
                assert (said[:-limit] if retention == "archive" else []) == left


@tried(60)
@given(talk.free, st.integers(0, 26), limits)
def test_D9_a_fork_never_cuts_an_exchange(messages: list[dict[str, Any]], at: int, limit: int) -> None:
    """Goal: a fork begins with a whole conversation. Method: it is the longest one the plain account allows."""
    with new_store(max_messages=limit) as store:
        store.add_messages("s", messages)
        store.fork_session("s", "fork", at=at)
        stop = max(place for place in range(min(at, len(messages)) + 1) if oracle.may_cut(messages, place))
        both = [*store.get_archived_messages("fork"), *store.get_session("fork").messages]
        assert list(range(stop)) == sorted(numbers(both))


@tried(60)
@given(talk.free, limits, st.integers(0, 30), st.integers(0, 5))
def test_D9_rows_of_window_and_search_never_cut_an_exchange(
    messages: list[dict[str, Any]], limit: int, anchor: int, around: int
) -> None:
    """Goal: context rows are whole exchanges. Method: no pair of the plain account has one end in the rows."""
    messages[min(anchor, len(messages) - 1)]["content"] = "needle"
    pairs = oracle.pairs(messages)
    with new_store(max_messages=limit) as store:
        store.add_messages("s", messages)
        shown = [store.window("s", anchor, around), *(hit.messages for hit in store.search("needle", window=around))]
        assert 2 == len(shown)
        for rows in shown:
            inside = [row["index"] for row in rows]
            assert min(anchor, len(messages) - 1) in inside
            assert [] == [pair for pair in pairs if (pair[0] in inside) != (pair[1] in inside)]


@tried(80)
@given(talk.orderly(), limits, st.integers(0, 20), st.booleans())
def test_D9_a_checkpoint_follows_the_cut(
    messages: list[dict[str, Any]], limit: int, at: int, archive: bool
) -> None:
    """Goal: working history is the summary and exactly what came after it and is still shown. Method: any place."""
    plain = oracle.Conversation(limit, limit // 4 if archive else 0)
    summary = {"role": "system", "content": "so far"}
    with new_store(max_messages=limit, retention="archive" if archive else "truncate") as store:
        at = min(at, len(messages))
        for count, message in enumerate(messages):
            if count == at:
                assert store.append_compaction_checkpoint("s", "so far")
            plain.say([message])
            store.add_messages("s", [message])
            if count >= at:
                after = [m for m in plain.shown() if m["metadata"]["n"] >= at]
                working = bare(working_after(plain.shown(), after, limit - 1))
                assert [summary, *working] == store.get_working_history("s")


def working_after(
    shown: list[dict[str, Any]], after: list[dict[str, Any]], limit: int
) -> list[dict[str, Any]]:
    """Return the newest of what came after a checkpoint, from the start of the exchange the checkpoint fell into."""
    place = len(shown) - len(after)
    while after and not oracle.may_cut(shown, place):
        place -= 1
    after = shown[place:] if after and limit else []
    leading, start = oracle.window(after, limit) if after else (0, 0)
    return after[:leading] + after[start:]
