"""Find, count, search and namespaces, asked of every engine in the same words."""

from __future__ import annotations

from typing import Any

import pytest
from places import ALL, ARCHIVE, KEY, NOW_S, TRUNCATE, archived, say, texts

from praison_store import InvalidArgumentError, InvalidSessionIdError
from praison_store.engines import Engine
from praison_store.model.filters import AndFilter, ComparisonFilter, OrFilter
from praison_store.model.session import SessionData
from praison_store.model.session_id import SessionKey

ALICE, BOB = SessionKey("chat_001", "alice"), SessionKey("chat_001", "bob")


def ids(engine: Engine, **options: Any) -> list[str]:
    """Return the ids an engine finds, in its order."""
    return [info.session_id for info in engine.find(**options)]


def named(engine: Engine, name: str, *, hours: float = 0.0, namespace: str = "", **fields: Any) -> None:
    """Store a session with some fields, so many hours behind the first."""

    def change(session: SessionData) -> None:
        for field, value in fields.items():
            setattr(session, field, value)

    engine.update(SessionKey(name, namespace), change, now_s=NOW_S + 3600 * hours, policy=ALL)


def test_the_most_recently_written_come_first(engine: Engine) -> None:
    """Goal: a list begins with what is current. Method: three sessions, the first one written to again."""
    for hours, name in enumerate("abc"):
        named(engine, name, hours=hours)
    assert list("cba") == ids(engine)
    named(engine, "a", hours=3)
    assert list("acb") == ids(engine)
    assert list("ac") == ids(engine, limit=2)
    assert list("cb") == ids(engine, limit=2, offset=1)
    assert list("b") == ids(engine, limit=2, offset=2)
    assert [] == ids(engine, offset=3)
    assert [] == ids(engine, limit=0)


def test_a_row_tells_everything_but_the_messages(engine: Engine) -> None:
    """Goal: listing decodes no message. Method: each field of a row, and its size."""
    named(
        engine, "a", agent_name="Agent", user_id="u", metadata={"title": "t", "n": [1, None]}, context={"k": 1.5},
        parent_id="p", extra={"model": "m"}, namespace="team",
    )
    say(engine, "x", "y", key=SessionKey("a", "team"), now_s=NOW_S + 60)
    [row] = engine.find(namespace="team")
    assert ("a", "team", 2, 2) == (row.session_id, row.namespace, row.message_count, row.revision)
    assert ("Agent", "u", "p") == (row.agent_name, row.user_id, row.parent_id)
    assert ({"title": "t", "n": [1, None]}, {"k": 1.5}, {"model": "m"}) == (row.metadata, row.context, row.extra)
    assert ("2026-01-02T04:00:00.000000+00:00", "2026-01-02T04:01:00.000000+00:00") == (row.created_at, row.updated_at)
    assert row.size_bytes > 0


def test_order_is_by_any_field_up_and_down(engine: Engine) -> None:
    """Goal: order_by sorts as the table of kinds says. Method: columns, metadata, two fields, missing ones first."""
    rows: list[tuple[str, str | None, Any]] = [("a", "x", 2), ("b", "y", 10), ("c", None, 1.5), ("d", "x", None)]
    for hours, (name, agent, number) in enumerate(rows):
        named(engine, name, hours=hours, agent_name=agent, metadata={} if number is None else {"n": number})
    assert list("abcd") == ids(engine, order_by="created_at")
    assert list("dcba") == ids(engine, order_by="-created_at")
    assert list("abcd") == ids(engine, order_by=["session_id"])
    assert list("dcab") == ids(engine, order_by="metadata.n")
    assert list("bacd") == ids(engine, order_by="-metadata.n")
    assert list("cadb") == ids(engine, order_by=["agent_name", "session_id"])
    assert list("bdac") == ids(engine, order_by=["-agent_name", "-session_id"])
    assert list("ad") == ids(engine, order_by=["agent_name", "session_id"], limit=2, offset=1)


@pytest.mark.parametrize("bad", [{"order_by": ""}, {"order_by": "-"}, {"order_by": [5]}, {"limit": -1}, {"offset": -1}])
def test_what_cannot_be_meant_is_refused(engine: Engine, bad: dict[str, Any]) -> None:
    """Goal: nothing is guessed. Method: bad orders, limits and offsets."""
    named(engine, "a")
    with pytest.raises(InvalidArgumentError):
        list(engine.find(**bad))


def test_filters_limit_and_order_work_together(engine: Engine) -> None:
    """Goal: first the filter, then the order, then offset and limit. Method: ten sessions of two agents."""
    for number in range(10):
        named(engine, f"s{number}", hours=number, agent_name="ab"[number % 2], metadata={"n": number})
    odd = ComparisonFilter.eq("agent_name", "b")
    late = AndFilter([odd, ComparisonFilter.gte("metadata.n", 3)])
    assert ["s9", "s7", "s5", "s3", "s1"] == ids(engine, filters=odd)
    assert ["s5", "s7"] == ids(engine, filters=late, order_by="metadata.n", limit=2, offset=1)
    assert (10, 5, 4) == (engine.count(), engine.count(odd), engine.count(late))


def test_alices_and_bobs_session_of_one_id_are_two(engine: Engine) -> None:
    """Goal: a namespace is part of the identity. Method: one id in three namespaces, every call on each."""
    say(engine, "nobody", key=SessionKey("chat_001"))
    for key in (ALICE, BOB):
        say(engine, key.namespace, "x", "y", key=key, policy=ARCHIVE)
    assert (["nobody"], ["x", "y"]) == (texts(engine, SessionKey("chat_001")), texts(engine, BOB))
    assert ["alice"] == archived(engine, ALICE)
    for namespace, count in (("", 1), ("alice", 1), ("carol", 0), (None, 3)):
        assert count == engine.count(namespace=namespace)
        assert ["chat_001"] * count == ids(engine, namespace=namespace)
    assert ["", "alice", "bob"] == sorted(info.namespace for info in engine.find(namespace=None))
    assert 1 == engine.count(ComparisonFilter.eq("namespace", "bob"), namespace=None)
    assert [["x", "y"]] == [[m.content for m in found[0].messages] for found in engine.search(["bob"], namespace="bob")]
    assert 2 == len(list(engine.search(["x"], namespace=None)))
    assert [] == list(engine.search(["bob"]))
    assert engine.delete(ALICE)
    assert (False, True, True) == tuple(engine.exists(key) for key in (ALICE, BOB, SessionKey("chat_001")))


@pytest.mark.parametrize("namespace", ["../up", "/etc", ".", "é\n", "CON", "a/b", "A", "x" * 200, "@", "é" * 30])
def test_D8_a_namespace_may_be_any_text(engine: Engine, namespace: str) -> None:
    """Goal: no namespace reaches another's sessions. Method: hostile names, beside a plain one."""
    say(engine, "plain", key=SessionKey("s", "a"))
    key = SessionKey("s", namespace)
    say(engine, "hostile", key=key)
    assert (["plain"], ["hostile"]) == (texts(engine, SessionKey("s", "a")), texts(engine, key))
    assert [namespace] == [info.namespace for info in engine.find(namespace=namespace)]
    assert {"a", namespace} == {info.namespace for info in engine.find(namespace=None)}


def test_D4_namespaces_too_long_for_a_name_stay_apart(engine: Engine) -> None:
    """Goal: a long namespace is one of its own. Method: two that differ at their ends."""
    for end in "ab":
        say(engine, end, key=SessionKey("s", "é" * 2000 + end))
    assert [["a"], ["b"]] == [texts(engine, SessionKey("s", "é" * 2000 + end)) for end in "ab"]
    assert [1, 1, 0, 2] == [engine.count(namespace=name) for name in ("é" * 2000 + "a", "é" * 2000 + "b", "", None)]


@pytest.mark.parametrize("bad", ["x" * 4097, "\ud800"])
def test_D4_a_bad_namespace_is_refused(engine: Engine, bad: str) -> None:
    """Goal: what one engine refuses, all refuse. Method: a read and a write."""
    for call in (lambda: engine.read(SessionKey("s", bad), None), lambda: say(engine, "x", key=SessionKey("s", bad))):
        with pytest.raises(InvalidSessionIdError):
            call()


def test_what_may_hold_a_term_is_found(engine: Engine) -> None:
    """Goal: a search misses nothing. Method: a word in a window, in an archive, in another case."""
    say(engine, "A Needle here")
    for text in ("needle", "x", "y", "z"):
        say(engine, text, key=SessionKey("t"), policy=ARCHIVE)
    found = {session.session_id for session, _archived in engine.search(["needle"])}
    assert {"s", "t"} <= found
    assert {"t"} == {session.session_id for session, past in engine.search(["needle"]) if past}


@pytest.mark.parametrize("text", ["node.js", "foo-bar", "c++", 'an "odd quote', "it's", "100%", "a_b", "NEAR/2", "*", "é",
                                  "AND", "日本語", "\\", "(", "-x", "col:umn", "😀"])
def test_a_search_takes_any_text_as_it_is(engine: Engine, text: str) -> None:
    """Goal: no sign of a query language means anything. Method: sessions that hold such a text; each is found by it."""
    say(engine, f"before {text} behind")
    say(engine, "nothing of the kind", key=SessionKey("t"))
    assert "s" in {session.session_id for session, _archived in engine.search([text.lower()])}
    assert 2 == len(list(engine.search([text.lower(), "nothing"])))


def test_a_search_without_a_match_is_empty_or_left_to_who_asks(engine: Engine) -> None:
    """Goal: `may hold` is a superset, and never an unknown session. Method: a word nobody said."""
    say(engine, "x")
    assert {session.session_id for session, _archived in engine.search(["needle"])} <= {"s"}
    engine.delete(KEY)
    assert [] == list(engine.search(["x"]))


def test_rows_follow_cuts_and_deletes(engine: Engine) -> None:
    """Goal: a row counts the window. Method: a truncated session, then its deletion."""
    for text in "abcde":
        say(engine, text, policy=TRUNCATE)
    assert [(2, 5)] == [(info.message_count, info.revision) for info in engine.find()]
    engine.delete(KEY)
    assert ([], 0) == (list(engine.find()), engine.count())


def test_a_search_and_a_filter_may_be_long(engine: Engine) -> None:
    """Goal: no database's bounds are the caller's. Method: 1,200 words, a word of 20,000 letters, 3,000 conditions."""
    say(engine, "an apple", "z" * 20_000)
    words = [f"w{number:04}" for number in range(1200)]
    assert ["s"] == [session.session_id for session, _ in engine.search([*words, "apple"])]
    assert ["s"] == [session.session_id for session, _ in engine.search(["z" * 20_000])]
    none = [ComparisonFilter.eq("session_id", word) for word in words]
    assert ["s"] == ids(engine, filters=OrFilter([*none, *none, ComparisonFilter.eq("session_id", "s")]))
    assert [] == ids(engine, filters=AndFilter([ComparisonFilter.eq("session_id", "s"), *none]))
    assert 1 == engine.count(OrFilter([ComparisonFilter.in_("session_id", [*words, "s"]), *none]))
