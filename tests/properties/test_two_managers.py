"""Two managers on one engine, in any order of calls: nothing saved is lost, and any message comes back as given."""

from __future__ import annotations

from typing import Any

from anything import json_values, messages, names
from effort import tried
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from praison_store import RevisionConflictError, Session, SessionManager
from praison_store.model.given import as_given, exact, record_of
from praison_store.model.session import SessionData
from praison_store.model.session_id import SessionKey

WHO = st.sampled_from([0, 1])
given_messages = st.one_of(
    messages(),
    st.builds(lambda role, content, more: {**more, "role": role, "content": content}, names, names,
              st.dictionaries(st.text(max_size=5), json_values, max_size=4)),
    st.builds(lambda message, time: {**message, "timestamp": time}, messages(),
              st.one_of(st.datetimes().map(str), st.text(max_size=9))),
)


@given(given_messages)
@tried(150)
def test_D6_any_message_is_given_back_as_it_was_given(message: dict[str, Any]) -> None:
    """Goal: any keys, none added, none changed. Method: to a record and back; the caller's dict stays as it is."""
    before = exact(message)
    record = record_of(message, 5.0)
    assert before == exact(as_given(record)) == exact(message)
    assert isinstance(record["timestamp"], (int, float))
    assert isinstance(record["metadata"], dict)
    assert record["message_id"]


class TwoManagers(RuleBasedStateMachine):
    """
    Two managers that share an engine, as two processes do, and a model of what either may expect.

    Each message has a text of its own. A save may take away only what its session showed when it was saved or loaded
    last; everything else that is stored stays, in its order.
    """

    def __init__(self) -> None:
        super().__init__()
        config = {"backend": "memory", "autosave_interval": 0}
        self.managers = [SessionManager(config), SessionManager(config)]
        self.managers[1]._engine = self.managers[0]._engine
        self.sessions: list[Session] = [manager.create_session("s") for manager in self.managers]
        self.shown: list[list[str]] = [[], []]
        self.number = 0

    def stored(self) -> SessionData:
        """Return what the engine has."""
        session = self.managers[0]._engine.read(SessionKey("s"), None)
        assert session is not None
        return session

    def texts(self) -> list[Any]:
        """Return the texts of what is stored."""
        return [message.content for message in self.stored().messages]

    @rule(who=WHO, count=st.integers(1, 3))
    def add(self, who: int, count: int) -> None:
        """Say something."""
        for _ in range(count):
            self.number += 1
            self.sessions[who].add_message({"role": "user", "content": f"m{self.number}", "n": self.number})

    @rule(who=WHO)
    def clear(self, who: int) -> None:
        """Take all away."""
        self.sessions[who].clear_messages()

    @rule(who=WHO, most=st.integers(0, 4))
    def truncate(self, who: int, most: int) -> None:
        """Take the oldest away."""
        self.sessions[who].truncate_messages(most)

    @rule(who=WHO, name=st.sampled_from("ab"), value=st.sampled_from([1, 1.0, True, None, [1]]))
    def note(self, who: int, name: str, value: Any) -> None:
        """Set a key of the metadata."""
        self.sessions[who].update_metadata({name: value})

    @rule(who=WHO)
    def load(self, who: int) -> None:
        """Load the session again: one with changes keeps them."""
        clean = not self.sessions[who]._is_changed()
        assert self.sessions[who] is self.managers[who].load_session("s")
        if clean:
            self.shown[who] = self.texts()
            assert self.shown[who] == [message["content"] for message in self.sessions[who].messages]

    @rule(who=WHO)
    def save(self, who: int) -> None:
        """Save: what others stored stays, except what this one saw and took away."""
        session, before, data = self.sessions[who], self.texts(), exact(self.stored().to_dict())
        mine = [message["content"] for message in session.messages]
        removed = set(self.shown[who]) - set(mine)
        metadata = exact(session.metadata)
        try:
            self.managers[who].save_session(session)
        except RevisionConflictError:
            assert data == exact(self.stored().to_dict()), "a refused save writes nothing"
            assert mine == [message["content"] for message in session.messages], "and takes nothing away"
            assert metadata == exact(session.metadata)
            # The user gives in: what could not be saved is dropped, and the session shows what is stored.
            session._follow(self.stored())
        else:
            kept = [text for text in before if text not in removed]
            added = [text for text in mine if text not in self.shown[who]]
            assert kept + added == self.texts()
        self.shown[who] = self.texts()
        assert self.shown[who] == [message["content"] for message in session.messages]
        assert exact(self.stored().metadata) == exact(session.metadata)

    @invariant()
    def no_message_is_stored_twice(self) -> None:
        """Every text is there once."""
        assert len(set(self.texts())) == len(self.texts())

    def teardown(self) -> None:
        """Close both."""
        for manager in self.managers:
            manager.close()


TestTwoManagers = TwoManagers.TestCase
TestTwoManagers.settings = tried(60)
