"""One table of filter cases: what every engine must find, letter for letter, and `evaluate` too."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from praison_store.engines import Engine
from praison_store.model.filters import AndFilter, ComparisonFilter, Filter, NotFilter, OrFilter
from praison_store.model.session import SessionData
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named

ALL = policy_named("keep_all", 1)
START_S = 1_767_326_400.0  # 2026-01-02T04:00:00Z; each session was written an hour after the one before
START = datetime(2026, 1, 2, 4, tzinfo=timezone.utc)
BIG = 2**53 + 1  # a double cannot hold it

# name: agent_name, user_id, metadata, context
SESSIONS: dict[str, tuple[str | None, str | None, dict[str, Any], dict[str, Any]]] = {
    "a": ("Alice", "u1", {"n": 1, "flag": True, "topic": "billing", "deep": {"k": "v"}}, {"step": 1}),
    "b": ("alice", None, {"n": 2.5, "flag": False, "topic": "Billing"}, {"step": 2}),
    "c": (None, "u1", {"n": "1", "topic": None}, {}),
    "d": ("Émile", "U1", {"n": 10, "topic": "100%", "deep": {"k": None}}, {"step": 10}),
    "e": ("bob_1", "u2", {"n": -3, "flag": 1, "topic": "a\\b"}, {"step": "2"}),
    "f": ("", "123", {"n": True, "flag": None, "topic": ["billing"]}, {}),
    "g": ("zoë\nx", "u%", {"n": BIG, "flag": "true", "topic": "naïve 😀"}, {"step": 0}),
}

eq, neq, gt, gte = ComparisonFilter.eq, ComparisonFilter.neq, ComparisonFilter.gt, ComparisonFilter.gte
lt, lte, like, ilike = ComparisonFilter.lt, ComparisonFilter.lte, ComparisonFilter.like, ComparisonFilter.ilike
in_, is_null = ComparisonFilter.in_, ComparisonFilter.is_null


def hour(number: float) -> datetime:
    """Return a time so many hours behind the first session's."""
    return START + timedelta(hours=number)


# label: filter, names of the sessions that match
CASES: dict[str, tuple[Filter | None, str]] = {
    "none": (None, "abcdefg"),
    # text
    "text eq": (eq("agent_name", "Alice"), "a"),
    "text eq other case": (eq("agent_name", "ALICE"), ""),
    "text eq accent": (eq("agent_name", "Emile"), ""),
    "text eq accent itself": (eq("agent_name", "Émile"), "d"),
    "text eq empty": (eq("agent_name", ""), "f"),
    "text eq trailing space": (eq("agent_name", "Alice "), ""),
    "text eq digits": (eq("user_id", "123"), "f"),
    "text eq with a number": (eq("user_id", 123), ""),
    "text neq": (neq("agent_name", "Alice"), "bdefg"),
    "text neq with a number": (neq("user_id", 123), "acdefg"),
    "text gt": (gt("agent_name", "alice"), "deg"),
    "text gte": (gte("agent_name", "alice"), "bdeg"),
    "text lt": (lt("agent_name", "alice"), "af"),
    "text lte": (lte("agent_name", "alice"), "abf"),
    "text gt with a number": (gt("agent_name", 1), ""),
    "text in": (in_("agent_name", ["Alice", "alice", "nobody"]), "ab"),
    "text in with a number": (in_("user_id", [123, "u2"]), "e"),
    "in nothing": (in_("agent_name", []), ""),
    "not in nothing": (NotFilter(in_("agent_name", [])), "abdefg"),
    "not in": (NotFilter(in_("agent_name", ["Alice", "alice"])), "defg"),
    "id eq": (eq("session_id", "c"), "c"),
    "id in": (in_("session_id", ["c", "g", "C"]), "cg"),
    # patterns
    "like": (like("agent_name", "al%"), "b"),
    "like upper": (like("agent_name", "AL%"), ""),
    "ilike": (ilike("agent_name", "AL%"), "ab"),
    "ilike accent": (ilike("agent_name", "éMILE"), "d"),
    "ilike without accent": (ilike("agent_name", "emile"), ""),
    "like underscore": (like("agent_name", "bob_1"), "e"),
    "like underscore is one": (like("agent_name", "_lice"), "ab"),
    "like escaped underscore": (like("agent_name", "%\\_%"), "e"),
    "like escaped percent": (like("user_id", "u\\%"), "g"),
    "like percent": (like("user_id", "u%"), "aceg"),
    "like backslash": (like("metadata.topic", "a\\\\b"), "e"),
    "like a newline": (like("agent_name", "zoë%x"), "g"),
    "like a newline by one": (like("agent_name", "zoë_x"), "g"),
    "like empty": (like("agent_name", ""), "f"),
    "like all": (like("agent_name", "%"), "abdefg"),
    "like emoji": (like("metadata.topic", "naïve _"), "g"),
    "like on a number": (like("metadata.n", "1%"), "c"),
    "not like": (NotFilter(like("agent_name", "%l%")), "efg"),
    # None and missing
    "null": (is_null("agent_name"), "c"),
    "not null": (is_null("agent_name", False), "abdefg"),
    "null in metadata": (is_null("metadata.flag"), "cdf"),
    "not null in metadata": (is_null("metadata.flag", False), "abeg"),
    "null of nothing": (is_null("metadata.nothing"), "abcdefg"),
    "null deep": (is_null("metadata.deep.k"), "bcdefg"),
    "not null object": (is_null("metadata.deep", False), "ad"),
    "neq leaves unknown out": (neq("metadata.topic", "billing"), "bdefg"),
    "not eq leaves unknown out": (NotFilter(eq("metadata.topic", "billing")), "bdefg"),
    "eq of nothing": (eq("metadata.nothing", "x"), ""),
    "neq of nothing": (neq("metadata.nothing", "x"), ""),
    # numbers
    "number eq": (eq("metadata.n", 1), "a"),
    "number eq as float": (eq("metadata.n", 1.0), "a"),
    "number eq text": (eq("metadata.n", "1"), "c"),
    "number neq": (neq("metadata.n", 1), "bcdefg"),
    "number gt": (gt("metadata.n", 1), "bdg"),
    "number gte": (gte("metadata.n", 1), "abdg"),
    "number lt": (lt("metadata.n", 2.5), "ae"),
    "number lte": (lte("metadata.n", 2.5), "abe"),
    "number gt is no text": (gt("metadata.n", 9), "dg"),
    "number in": (in_("metadata.n", [1, 10.0, "10"]), "ad"),
    "number past a double": (eq("metadata.n", BIG), "g"),
    "number beside one past a double": (eq("metadata.n", BIG - 1), ""),
    "number in context": (gte("context.step", 2), "bd"),
    "number of a column": (gte("message_count", 0), "abcdefg"),
    "revision": (eq("revision", 1), "abcdefg"),
    "number of a column against text": (eq("revision", "1"), ""),
    # booleans
    "true": (eq("metadata.flag", True), "a"),
    "false": (eq("metadata.flag", False), "b"),
    "not true": (neq("metadata.flag", True), "beg"),
    "one is not true": (eq("metadata.flag", 1), "e"),
    "true is not one": (eq("metadata.n", True), "f"),
    "true as text": (eq("metadata.flag", "true"), "g"),
    "bool in": (in_("metadata.flag", [True, False]), "ab"),
    "bool order": (gt("metadata.flag", False), "a"),
    # times
    "time eq": (eq("updated_at", hour(2)), "c"),
    "time neq": (neq("updated_at", hour(2)), "abdefg"),
    "time gt": (gt("updated_at", hour(4)), "fg"),
    "time gte": (gte("updated_at", hour(4)), "efg"),
    "time lt": (lt("updated_at", hour(1)), "a"),
    "time lte": (lte("created_at", hour(1)), "ab"),
    "time between": (AndFilter([gt("updated_at", hour(0.5)), lt("updated_at", hour(2.5))]), "bc"),
    "time of another zone": (eq("updated_at", hour(2).astimezone(timezone(timedelta(hours=5, minutes=30)))), "c"),
    "time in": (in_("updated_at", [hour(0), hour(6)]), "ag"),
    "time as text": (lt("updated_at", "2026-01-02T05:30"), "ab"),
    # other kinds
    "list is no text": (eq("metadata.topic", "billing"), "a"),
    "deep": (eq("metadata.deep.k", "v"), "a"),
    "object neq": (neq("metadata.deep", "v"), "ad"),
    "object gt": (gt("metadata.deep", "v"), ""),
    "below text is nothing": (is_null("metadata.topic.k", False), ""),
    # and, or, not
    "and": (AndFilter([ilike("agent_name", "alice"), eq("user_id", "u1")]), "a"),
    "and of none": (AndFilter([]), "abcdefg"),
    "or": (OrFilter([eq("agent_name", "Alice"), eq("metadata.n", 10)]), "ad"),
    "or of none": (OrFilter([]), ""),
    "or with unknown": (OrFilter([eq("agent_name", "x"), eq("user_id", "u1")]), "ac"),
    "and with unknown": (NotFilter(AndFilter([eq("agent_name", "x"), eq("user_id", "u1")])), "abdefg"),
    "not or with unknown": (NotFilter(OrFilter([eq("agent_name", "x"), eq("user_id", "u1")])), "defg"),
    "not": (NotFilter(eq("user_id", "u1")), "defg"),
    "not not": (NotFilter(NotFilter(eq("user_id", "u1"))), "ac"),
    "not is_null": (NotFilter(is_null("user_id")), "acdefg"),
    "nested": (
        AndFilter([
            OrFilter([eq("user_id", "u1"), eq("user_id", "u2"), AndFilter([is_null("user_id"), gt("metadata.n", 2)])]),
            NotFilter(OrFilter([eq("metadata.flag", True), like("metadata.topic", "x%")])),
        ]), "be",
    ),
}


def fill(engine: Engine) -> None:
    """Store the sessions, one write each."""
    for number, (name, (agent_name, user_id, metadata, context)) in enumerate(SESSIONS.items()):

        def change(
            session: SessionData, row: tuple[Any, ...] = (agent_name, user_id, metadata, context)
        ) -> None:
            session.agent_name, session.user_id, session.metadata, session.context = row

        engine.update(SessionKey(name), change, now_s=START_S + 3600 * number, policy=ALL)
