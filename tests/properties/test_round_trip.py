"""D6: whatever JSON holds comes back equal, types and bits included, by every way in and out."""

from __future__ import annotations

import tempfile
from typing import Any

import anything
from anything import typed
from effort import tried
from hypothesis import given
from hypothesis import strategies as st

from praison_store import DefaultSessionStore, SessionMessage


def reopened(store: DefaultSessionStore) -> DefaultSessionStore:
    """Return another store on the same directory, which has nothing cached."""
    assert store.session_dir is not None
    return DefaultSessionStore(store.session_dir, max_messages=store.max_messages, durability="process")


def as_stored(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message as a file holds it: with every field that is always there."""
    return {"content": None, "metadata": {}, **message}


@tried(200)
@given(st.lists(anything.messages(), min_size=1, max_size=5), st.booleans())
def test_D6_any_message_comes_back_equal_from_add_messages(messages: list[dict[str, Any]], as_objects: bool) -> None:
    """Goal: nothing is changed on the way. Method: dicts or SessionMessage in, a store with an empty cache out."""
    with tempfile.TemporaryDirectory() as directory, DefaultSessionStore(directory, durability="process") as store:
        store.add_messages("s", [SessionMessage.from_dict(m) for m in messages] if as_objects else messages)
        for reader in (store, reopened(store)):
            got = [message.to_dict() for message in reader.get_session("s").messages]
            assert typed(messages) == typed(got)
            reader.close()


@tried(120)
@given(anything.messages(), anything.messages())
def test_D6_any_fields_come_back_equal_from_add_message(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Goal: the arguments of `add_message` are stored as they are. Method: all of them but the time, twice."""
    with tempfile.TemporaryDirectory() as directory, DefaultSessionStore(directory, durability="process") as store:
        given_fields = [
            {name: message[name] for name in anything.KNOWN if name in message and name != "timestamp"}
            for message in (first, second)
        ]
        for fields in given_fields:
            assert store.add_message("s", **fields)
        got = [message.to_dict() for message in store.get_session("s").messages]
        for message in got:
            assert isinstance(message.pop("timestamp"), float)
        assert typed(given_fields) == typed(got)
        history = store.get_chat_history("s")
        wanted = ("role", "content", "tool_calls", "tool_call_id")
        assert typed([{n: m[n] for n in wanted if n in m} for m in given_fields]) == typed(history)


@tried(120)
@given(st.dictionaries(anything.names.filter(lambda n: n not in ("self", "session_id", "agent_name", "user_id")),
                       anything.json_values, max_size=4),
       anything.texts, anything.texts)
def test_D6_any_metadata_of_a_session_comes_back_equal(fields: dict[str, Any], agent: str, user: str) -> None:
    """Goal: metadata is stored as it is; None leaves a field out. Method: any keywords, agent and user too."""
    with tempfile.TemporaryDirectory() as directory, DefaultSessionStore(directory, durability="process") as store:
        assert store.update_session_metadata("s", agent_name=agent, user_id=user, **fields)
        expected = {name: value for name, value in fields.items() if value is not None}
        with reopened(store) as again:
            session = again.get_session("s")
            assert typed({"agent_name": agent, "user_id": user, **expected}) == typed(session.metadata)
            assert (agent or None, user or None) == (session.agent_name, session.user_id)
            assert ["s"] == [row["session_id"] for row in again.list_sessions()]
            assert [] == again.check().problems


@tried(80)
@given(st.lists(anything.messages(), max_size=9), anything.objects, anything.texts, st.integers(1, 4), st.booleans())
def test_D6_a_session_comes_back_equal_from_export_and_import(
    messages: list[dict[str, Any]], metadata: dict[str, Any], title: str, limit: int, overwrite: bool
) -> None:
    """Goal: an export holds everything. Method: import it into an empty directory, or over another session there."""
    with (
        tempfile.TemporaryDirectory() as here, DefaultSessionStore(here, limit, durability="process") as store,
        tempfile.TemporaryDirectory() as there, DefaultSessionStore(there, limit, durability="process") as other,
    ):
        store.add_messages("s", messages)
        store.update_session_metadata("s", data=metadata)
        store.rename_session("s", title)
        if overwrite:
            other.add_messages("s", [{"role": "user", "content": "old"}] * 7)
        exported = store.export_session("s")
        imported = other.import_session(exported, overwrite=overwrite)
        assert "s" == imported.session_id
        again = other.export_session("s")
        for each in (exported, again):
            session = each["sessions"][0]
            if overwrite:
                del session["revision"]
            session["all"] = sorted(
                (typed(m) for m in [*session.pop("archived_messages"), *session.pop("messages")]), key=repr
            )
        assert typed(exported) == typed(again)
        assert store.get_chat_history("s") == other.get_chat_history("s")
        assert [m.to_dict() for m in store.get_archived_messages("s")] == [
            m.to_dict() for m in other.get_archived_messages("s")
        ]


@tried(80)
@given(st.lists(anything.messages(), min_size=1, max_size=8), st.integers(1, 3))
def test_D6_messages_come_back_equal_through_every_way_of_keeping_them(
    messages: list[dict[str, Any]], limit: int
) -> None:
    """Goal: archive, fork and a rewritten header keep every message as it was. Method: the same list each time."""
    with (
        tempfile.TemporaryDirectory() as directory,
        DefaultSessionStore(directory, limit, durability="process") as store,
    ):
        for message in messages:
            store.add_messages("s", [message])
        store.update_session_metadata("s", x=1)
        store.fork_session("s", "fork")
        expected = sorted((typed(as_stored(message)) for message in messages), key=repr)
        for name in ("s", "fork"):
            everything = [*store.get_archived_messages(name), *store.get_session(name).messages]
            assert expected == sorted((typed(message.to_dict()) for message in everything), key=repr)


@tried(100)
@given(anything.messages(), anything.objects)
def test_D6_the_shape_for_people_loses_nothing(message: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Goal: from_dict(to_dict()) is the same message and session. Method: any message, without a store."""
    assert typed(message) == typed(SessionMessage.from_dict(message).to_dict())
    with tempfile.TemporaryDirectory() as directory, DefaultSessionStore(directory, durability="process") as store:
        store.add_messages("s", [message])
        store.update_session_metadata("s", data=metadata)
        session = store.get_session("s")
        assert session == type(session).from_dict(session.to_dict())
