"""Any sequence of calls, by two stores, PraisonAI's store and an editor, shows what a plain dict would."""

from __future__ import annotations

import copy
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import stores_side_by_side as others
from effort import tried
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from praison_store import DefaultSessionStore, SessionExistsError, SessionNotFoundError
from praison_store.model.session_id import file_stem

PLAIN_IDS = ("a", "D")
IDS = (*PLAIN_IDS, "b c", "ü")
LIMIT = 4
ids = st.sampled_from(IDS)
which = st.integers(0, 1)


class Model:
    """One session as plain lists: what is shown, what left, both oldest first, and what else is known of it."""

    def __init__(self) -> None:
        self.left: list[dict[str, Any]] = []
        self.shown: list[dict[str, Any]] = []
        self.metadata: dict[str, Any] = {}
        self.agent_name: str | None = None
        self.parent_id: str | None = None

    def show(self, messages: list[dict[str, Any]]) -> None:
        """Let these be the newest messages; what does not fit leaves."""
        self.left += messages[:-LIMIT]
        self.shown = messages[-LIMIT:]

    def said(self) -> list[dict[str, Any]]:
        """Return every message there is."""
        return self.left + self.shown


def texts(messages: list[dict[str, Any]]) -> list[str]:
    """Return the texts of messages."""
    return [message["content"] for message in messages]


class Sessions(RuleBasedStateMachine):
    """Two stores with a window of four messages and an archive, on one directory."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.stores = [DefaultSessionStore(self.directory, LIMIT, durability="process") for _ in range(2)]
        self.model: dict[str, Model] = {}
        self.count = 0

    def teardown(self) -> None:
        """End with a clean check and nothing left open."""
        problems = self.stores[0].check().problems
        for store in self.stores:
            store.close()
        shutil.rmtree(self.directory)
        assert [] == problems

    def path(self, name: str) -> Path:
        """Return the file of a session."""
        return self.directory / f"{file_stem(name)}.json"

    def next_text(self) -> str:
        """Return a text of its own for every message, always of the same length."""
        self.count += 1
        return f"text {self.count:04d}"

    def say(self, name: str, message: dict[str, Any]) -> None:
        """Add a message to the plain session, unless its id is there."""
        session = self.model.setdefault(name, Model())
        message_id = message.get("message_id")
        if message_id is None or message_id not in [m.get("message_id") for m in session.said()]:
            session.show([*session.shown, message])

    @initialize()
    def begin_empty(self) -> None:
        """See an empty directory."""
        assert [] == self.stores[0].list_sessions()

    @rule(store=which, name=ids, role=st.sampled_from(["user", "assistant"]), repeat=st.integers(0, 3))
    def add_message(self, store: int, name: str, role: str, repeat: int) -> None:
        """Store one message; sometimes with an id that may be there already."""
        text = self.next_text()
        message_id = f"id {self.count % 5}" if repeat == 0 else None
        assert self.stores[store].add_message(name, role, text, message_id=message_id)
        self.say(name, {"content": text, "message_id": message_id})

    @rule(store=which, name=ids, size=st.integers(0, 7))
    def add_messages(self, store: int, name: str, size: int) -> None:
        """Store a whole turn, sometimes of more messages than the window has."""
        turn = [{"role": "user", "content": self.next_text(), "message_id": f"id {n % 3}" if n % 4 == 3 else None}
                for n in range(size)]
        assert bool(turn) == self.stores[store].add_messages(name, turn)
        for message in turn:
            self.say(name, message)

    @rule(name=st.sampled_from(PLAIN_IDS))
    def praisonai_adds_a_message(self, name: str) -> None:
        """Let PraisonAI's store append; it drops the message ids of what the file holds."""
        text = self.next_text()
        message = {"role": "user", "content": text, "timestamp": 1.5, "metadata": {}}
        held = others.foreign_append(self.path(name), message)
        session = self.model.setdefault(name, Model())
        for old in session.said()[len(session.said()) - held :]:
            old.pop("message_id", None)
        session.show([*session.shown, {"content": text}])
        session.parent_id = None

    @rule(name=ids, in_place=st.booleans(), longer=st.booleans())
    def somebody_edits_the_newest_message(self, name: str, in_place: bool, longer: bool) -> None:
        """Let a person change a text by hand, to one of the same size or another."""
        if name in self.model and self.model[name].shown:
            old, new = self.model[name].shown[-1]["content"], self.next_text().upper() + "!" * longer
            edit = others.edit_in_place if in_place else others.edit_in_a_copy
            assert edit(self.path(name), old, new)
            self.model[name].shown[-1]["content"] = new

    @rule(store=which, name=ids)
    def clear(self, store: int, name: str) -> None:
        """Forget every message."""
        assert (name in self.model) == self.stores[store].clear_session(name)
        if name in self.model:
            self.model[name].left, self.model[name].shown = [], []

    @rule(store=which, name=ids)
    def delete(self, store: int, name: str) -> None:
        """Forget the session."""
        assert (name in self.model) == self.stores[store].delete_session(name)
        self.model.pop(name, None)

    @rule(store=which, name=ids, size=st.integers(0, 6))
    def set_chat_history(self, store: int, name: str, size: int) -> None:
        """Replace the window; what left it stays."""
        turn = [{"role": "user", "content": self.next_text()} for _ in range(size)]
        assert self.stores[store].set_chat_history(name, turn)
        self.model.setdefault(name, Model()).show(turn)

    @rule(store=which, name=ids, title=st.sampled_from(["", "A title", " another "]))
    def rename(self, store: int, name: str, title: str) -> None:
        """Give a title, or take it away."""
        old = self.model[name].metadata.get("title", "") if name in self.model else ""
        assert bool(old or title) == self.stores[store].rename_session(name, title)
        if old or title:
            metadata = self.model.setdefault(name, Model()).metadata
            metadata.pop("title", None)
            metadata.update({"title": title.strip()} if title else {})

    @rule(store=which, name=ids, value=st.one_of(st.none(), st.integers(0, 3), st.text(max_size=3)))
    def update_metadata(self, store: int, name: str, value: int | str | None) -> None:
        """Set a field of the metadata; None sets nothing."""
        assert (value is not None) == self.stores[store].update_session_metadata(name, key=value)
        if value is not None:
            self.model.setdefault(name, Model()).metadata["key"] = value

    @rule(store=which, name=ids, agent=st.sampled_from(["x", "y"]))
    def set_agent(self, store: int, name: str, agent: str) -> None:
        """Name the agent."""
        assert self.stores[store].set_agent_info(name, agent_name=agent)
        self.model.setdefault(name, Model()).agent_name = agent

    @rule(store=which, name=ids, new=ids, at=st.one_of(st.none(), st.integers(0, 9)))
    def fork(self, store: int, name: str, new: str, at: int | None) -> None:
        """Start a session with the messages of another."""
        if name not in self.model or new in self.model:
            wanted = SessionNotFoundError if name not in self.model else SessionExistsError
            with pytest.raises(wanted):
                self.stores[store].fork_session(name, new, at)
            return
        assert name == self.stores[store].fork_session(name, new, at).parent_id
        self.model[new] = copy.deepcopy(self.model[name])
        fork = self.model[new]
        if at is not None:
            # What was archived stays archived, as long as there is something behind it.
            behind = at > len(fork.left)
            fork.left, shown = (fork.left, fork.said()[len(fork.left) : at]) if behind else ([], fork.said()[:at])
            fork.show(shown)
        self.model[new].parent_id = name

    @rule(store=which, name=ids, overwrite=st.booleans(), later=st.integers(0, 6))
    def export_and_import(self, store: int, name: str, overwrite: bool, later: int) -> None:
        """Take a copy, go on, and bring the copy back."""
        if name not in self.model:
            with pytest.raises(SessionNotFoundError):
                self.stores[store].export_session(name)
            return
        copied, expected = self.stores[store].export_session(name), copy.deepcopy(self.model[name])
        self.add_messages(1 - store, name, later)
        if not overwrite:
            with pytest.raises(SessionExistsError):
                self.stores[store].import_session(copied)
            self.delete(1 - store, name)
        self.stores[store].import_session(copied, overwrite=overwrite)
        self.model[name] = expected

    @precondition(lambda self: self.model)
    @rule(store=which)
    def forget_what_is_cached(self, store: int) -> None:
        """Forget the cache; it is never needed for a right answer."""
        self.stores[store].invalidate_cache()

    @rule(store=which, name=ids, newest=st.integers(0, 6))
    def read_some(self, store: int, name: str, newest: int) -> None:
        """Read the newest few messages, and what an unknown session shows."""
        session = self.model.get(name, Model())
        history = self.stores[store].get_chat_history(name, newest)
        assert texts(session.shown[-(newest or LIMIT) :]) == texts(history)
        assert (name in self.model) == self.stores[store].session_exists(name)

    @invariant()
    def every_store_shows_what_the_model_says(self) -> None:
        """Compare everything a reader can see."""
        for store in self.stores:
            rows = {row["session_id"]: row for row in store.list_sessions()}
            assert set(self.model) == set(rows)
            for name, expected in self.model.items():
                session = store.get_session(name)
                assert texts(expected.shown) == [message.content for message in session.messages]
                assert texts(expected.left) == [message.content for message in store.get_archived_messages(name)]
                assert texts(expected.shown) == texts(store.get_chat_history(name))
                assert texts(expected.said()) == texts(store.window(name, 0, 1000))
                assert (expected.metadata, expected.agent_name) == (session.metadata, session.agent_name)
                assert expected.parent_id == session.parent_id
                assert len(expected.shown) == rows[name]["message_count"]
                assert expected.metadata.get("title") == rows[name]["title"]


TestSessions = Sessions.TestCase
TestSessions.settings = tried(120, steps=30)
