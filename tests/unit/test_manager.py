"""The sync manager: named sessions held live, saved when asked or by a timer, branched, and merged where two save."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from praison_store import (
    DefaultSessionStore,
    InvalidArgumentError,
    InvalidMessageError,
    InvalidSessionIdError,
    OutcomeUnknownError,
    RevisionConflictError,
    Session,
    SessionExistsError,
    SessionManager,
    SessionNotFoundError,
    StoreReadError,
    StoreWriteError,
)

Make = Callable[..., SessionManager]
LONGEST_S = 30.0


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make managers on one directory, without a timer unless asked for one; closed when the test ends."""
    made: list[SessionManager] = []

    def manager(**settings: Any) -> SessionManager:
        made.append(SessionManager({"backend": "json", "storage_path": str(tmp_path / "s"), "autosave_interval": 0,
                                    **settings}))
        return made[-1]

    yield manager
    for one in made:
        one.close()


def said(session: Session) -> list[Any]:
    """Return the texts of a session."""
    return [message["content"] for message in session.messages]


def talk(manager: SessionManager, *texts: str, name: str = "s") -> Session:
    """Say something in a session and save it."""
    session = manager.create_session(name)
    for text in texts:
        session.add_message({"role": "user", "content": text})
    manager.save_session(session)
    return session


class Between:
    """An engine that lets something happen in front of or behind each update."""

    def __init__(self, engine: Any, before: Callable[[], None] | None = None, after: Callable[[], None] | None = None):
        self.engine, self.before, self.after = engine, before, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def update(self, *given: Any, **named: Any) -> Any:
        """Update, with what happens around it."""
        if self.before is not None:
            self.before()
        found = self.engine.update(*given, **named)
        if self.after is not None:
            self.after()
        return found


# ---- keeping -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["sqlite", "json", "jsonl", "sqlite url"])
def test_what_is_saved_is_loaded_by_the_next_manager(make: Make, backend: str, tmp_path: Path) -> None:
    """Goal: each backend keeps sessions. Method: save with one manager, load, list and search with another."""
    url = {"jsonl": f"jsonl://{tmp_path}/l", "sqlite url": f"sqlite:///{tmp_path}/x.db"}.get(backend, backend)
    first = make(backend=url)
    session = talk(first, "Hello there", "b")
    session.update_metadata({"topic": "Greeting", "n": 1.0})
    first.save_session(session)
    first.close()
    second = make(backend=url)
    loaded = second.load_session("s")
    assert (["Hello there", "b"], {"topic": "Greeting", "n": 1.0}) == (said(loaded), loaded.metadata)
    [info] = second.list_sessions()
    assert ("s", 2, {"topic": "Greeting", "n": 1.0}) == (info.name, info.message_count, info.metadata)
    assert info == second.get_session_info("s")
    assert info.size_bytes > 0
    assert info.created_at <= info.updated_at
    assert ["s"] == [hit.session_id for hit in second.search("hello")]
    assert [] == second.search("xyzzy")
    assert (True, False) == (second.delete_session("s"), second.delete_session("s"))


def test_sessions_in_memory_are_gone_with_their_manager() -> None:
    """Goal: the memory backend keeps nothing. Method: two managers."""
    config = {"session": {"backend": "memory"}}
    with SessionManager(config) as first, SessionManager(config) as second:
        talk(first, "a")
        assert [] == second.list_sessions()


def test_the_default_backend_is_sqlite_below_the_default_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: no configuration is needed. Method: a home of the test's own; look for the file."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PRAISON_SESSION_DIR", raising=False)
    with SessionManager() as manager:
        talk(manager, "a")
    assert (tmp_path / ".praison" / "sessions" / "sessions.db").is_file()


MESSAGES: dict[str, dict[str, Any]] = {
    "plain": {"role": "user", "content": "x"},
    "a time as text": {"role": "user", "content": "x", "timestamp": "2025-01-01T12:00:00.5+02:00", "model": "gpt-4"},
    "a time of no calendar": {"role": "user", "content": "x", "timestamp": "yesterday"},
    "a time as a number": {"role": "user", "content": "x", "timestamp": 5},
    "no time": {"role": "user", "content": "x", "timestamp": None},
    "odd numbers": {"role": "user", "content": "x", "a": 1, "b": 1.0, "c": True, "d": -0.0, "e": 2**64 - 1},
    "parts": {"role": "user", "content": [{"type": "text", "text": "ä😀\u2028"}], "metadata": {}},
    "no content": {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}], "tool_call_id": None},
    "calls only": {"role": "assistant", "tool_calls": [{"id": "1"}]},
    "odd fields": {"role": "tool", "content": "", "metadata": "text", "tool_calls": {}, "tool_call_id": 5, "message_id": ""},
    "our own field": {"role": "user", "content": "x", "as_given": {"absent": [], "values": {}}},
    "names of ours": {"role": "user", "content": "x", "extra": {}, "revision": 5, "": None},
}


@pytest.mark.parametrize("backend", ["json", "sqlite", "memory"])
@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_D6_a_message_comes_back_exactly_as_it_was_given(make: Make, message: dict[str, Any], backend: str) -> None:
    """Goal: any keys, none added. Method: each message, saved, loaded, and saved again."""
    manager = make(backend=backend)
    session = manager.create_session("s")
    session.add_message(message)
    manager.save_session(session)
    revision = session.revision
    manager.save_session(session)
    assert revision == session.revision, "nothing was left to save"
    later = manager if backend == "memory" else make(backend=backend)
    [found] = later.load_session("s").get_messages()
    assert repr(sorted(message.items())) == repr(sorted(found.items()))


@pytest.mark.parametrize("bad", [
    None, "text", 5, [], {}, {"content": "x"}, {"role": "", "content": "x"}, {"role": "user"}, {"role": 5, "content": "x"},
    {"role": "user", "content": 5}, {"role": "user", "content": "x", "k": float("nan")}, {"role": "user", "content": "x", 5: 1},
    {"role": "user", "content": "x", "k": b"x"}, {"role": "user", "content": "\ud800"}, {"role": "user", "content": "x", "k": 2**64},
    {"role": "user", "content": "x", "k": (1,)}, {"role": "user", "contnet": "x"},
], ids=repr)
def test_D6_what_would_not_come_back_is_refused_at_once(make: Make, bad: Any) -> None:
    """Goal: a clear error, and nothing added. Method: each bad message, added, then put into the list by hand."""
    manager = make()
    session = manager.create_session("s")
    with pytest.raises(InvalidMessageError):
        session.add_message(bad)
    assert [] == session.messages
    session.messages.append(bad)
    with pytest.raises(InvalidMessageError):
        manager.save_session(session)
    assert 0 == manager.get_session_info("s").message_count
    session.messages.clear()


@pytest.mark.parametrize("bad", [None, [], {5: 1}, {"k": {1}}, {"k": float("inf")}, {"k": "\ud800"}], ids=repr)
def test_D6_metadata_that_would_not_come_back_is_refused(make: Make, bad: Any) -> None:
    """Goal: the same for metadata. Method: each bad dict."""
    session = make().create_session("s")
    with pytest.raises((InvalidMessageError, InvalidArgumentError)):
        session.update_metadata(bad)
    assert {} == session.metadata


def test_a_session_is_changed_by_its_methods_or_in_place(make: Make) -> None:
    """Goal: either way is saved. Method: both, and a second manager looks."""
    manager = make()
    session = talk(manager, *"abcde")
    assert list("de") == [message["content"] for message in session.get_messages(limit=2)]
    assert ([], list("abcde")) == (session.get_messages(0), [m["content"] for m in session.get_messages(99)])
    session.get_messages()[0]["content"] = "spoilt"
    session.truncate_messages(max_messages=3)
    session.messages[0]["content"] = "C"
    session.messages.append({"role": "user", "content": "f"})
    session.metadata["k"] = [1]
    manager.save_session(session)
    session.metadata["k"].append(2)
    later = make().load_session("s")
    assert (["C", "d", "e", "f"], {"k": [1]}) == (said(later), later.metadata)
    session.clear_messages()
    session.metadata.clear()
    manager.save_session(session)
    later = make().load_session("s")
    assert ([], {}) == (later.messages, later.metadata)


def test_what_stands_in_a_session_by_hand_is_checked_when_it_is_saved(make: Make) -> None:
    """Goal: nothing odd is written, nor forgotten by the timer. Method: values of a wrong kind; then mend them."""
    manager = make(autosave_interval=300)
    session = talk(manager, "a")
    messages = session.messages
    for spoil in (
        lambda: setattr(session, "messages", "text"), lambda: setattr(session, "metadata", []),
        lambda: setattr(session, "metadata", {"k": {1}}), lambda: setattr(session, "metadata", {"k": "\ud800"}),
    ):
        spoil()
        with pytest.raises((InvalidArgumentError, InvalidMessageError)):
            manager.close()
        session.messages, session.metadata = messages, {}
    manager.close()
    assert (["a"], {}) == (said(session), make().load_session("s").metadata)


def test_D9_a_truncation_keeps_the_system_message_and_cuts_no_exchange(make: Make) -> None:
    """Goal: what is left makes sense to a model. Method: a system message, a call with its result, and more."""
    session = make().create_session("s")
    for message in (
        {"role": "system", "content": "be kind"}, {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "r", "tool_call_id": "1"}, {"role": "user", "content": "b"},
    ):
        session.add_message(message)
    session.truncate_messages(3)
    assert ["be kind", "b"] == said(session)
    session.truncate_messages(0)
    assert [] == session.messages


def test_tokens_are_counted_by_the_text(make: Make) -> None:
    """Goal: a number to decide by. Method: none, then texts of known length."""
    session = make().create_session("s")
    assert 0 == session.get_token_count()
    session.add_message({"role": "user", "content": "x" * 400})
    assert 104 == session.get_token_count()
    session.add_message({"role": "user", "content": [{"type": "text", "text": "y" * 40}]})
    assert 118 == session.get_token_count()


@pytest.mark.parametrize("call", [
    lambda s: s.get_messages(limit=-1), lambda s: s.get_messages(limit="1"), lambda s: s.truncate_messages(-1),
    lambda s: s.truncate_messages(None), lambda s: s.truncate_messages(1.5),
])
def test_limits_that_cannot_be_meant_are_refused(make: Make, call: Callable[[Session], Any]) -> None:
    """Goal: nothing is guessed. Method: each bad limit."""
    with pytest.raises(InvalidArgumentError):
        call(make().create_session("s"))


def test_a_session_stays_below_its_largest_size(make: Make) -> None:
    """Goal: the limit holds, and what is there stays. Method: a tenth of a megabyte, by method and by hand."""
    manager = make(max_session_size=0.1)
    session = talk(manager, "x" * 60_000)
    with pytest.raises(InvalidMessageError, match="max_session_size"):
        session.add_message({"role": "user", "content": "é" * 25_000})
    assert 1 == len(session.messages)
    session.messages.append({"role": "user", "content": "z" * 60_000})
    with pytest.raises(InvalidMessageError, match="max_session_size"):
        manager.save_session(session)
    session.truncate_messages(1)
    session.add_message({"role": "user", "content": "small"})
    manager.save_session(session)
    assert 2 == manager.get_session_info("s").message_count


# ---- configuration -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("config", "named"), [
    ({"backendd": "json"}, "backendd"), ({"session": {"storage": "/x"}}, "storage"), ({"backend": "redis"}, "backend"),
    ({"backend": "redis://h"}, "redis"), ({"backend": 5}, "backend"), ({"storage_path": 5}, "storage_path"),
    ({"storage_path": ""}, "storage_path"), ({"storage_path": "a\0b"}, "storage_path"), ({"connection_pool_size": 0}, "connection_pool_size"),
    ({"connection_pool_size": True}, "connection_pool_size"), ({"connection_pool_size": 10**9}, "connection_pool_size"),
    ({"autosave_interval": -1}, "autosave_interval"), ({"autosave_interval": "5"}, "autosave_interval"),
    ({"max_session_size": 0}, "max_session_size"), ({"max_session_size": float("nan")}, "max_session_size"),
    ({"compress_messages": 1}, "compress_messages"), ({"compress_messages": "yes"}, "compress_messages"),
    ({"session": 5}, "configuration"), (5, "configuration"), ([], "configuration"), ({5: 1}, "5"),
])
def test_a_configuration_that_cannot_be_meant_is_refused_by_name(config: Any, named: str) -> None:
    """Goal: a misspelt setting is not ignored. Method: each bad configuration; its key is in the message."""
    with pytest.raises(InvalidArgumentError, match=named):
        SessionManager(config)


def test_a_manager_that_cannot_be_made_leaves_no_directory(tmp_path: Path) -> None:
    """Goal: a refusal comes before anything is written. Method: a URL as a path, and a database without its driver."""
    with pytest.raises(InvalidArgumentError, match="pass that as backend"):
        SessionManager({"storage_path": "postgresql://localhost/x"})
    code = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "from praison_store import MissingExtraError, SessionManager\n"
        "try:\n    SessionManager({'storage_path': sys.argv[1]})\n"
        "except MissingExtraError as error:\n    print(error.extra)\n"
    )
    where = tmp_path / "never"
    told = subprocess.run([sys.executable, "-c", code, str(where)], capture_output=True, text=True, check=True)
    assert ("sql\n", False) == (told.stdout, where.exists())


def test_a_configuration_file_is_read(make: Make, tmp_path: Path) -> None:
    """Goal: TOML with other readers' tables is fine. Method: a good file, one that is no TOML, one that is not there."""
    path = tmp_path / "config.toml"
    path.write_text(f'[other]\nx = 1\n[session]\nbackend = "json"\nstorage_path = "{tmp_path}/t"\n', encoding="utf-8")
    for given in (path, str(path)):
        with SessionManager(given) as manager:
            talk(manager, "a")
    assert (tmp_path / "t" / "s.json").is_file()
    path.write_text("[session", encoding="utf-8")
    with pytest.raises(InvalidArgumentError, match="TOML"):
        SessionManager(path)
    with pytest.raises(StoreReadError, match="nowhere"):
        SessionManager(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("bad", ["", None, 5, "x" * 5000])
def test_a_name_that_names_nothing_is_refused(make: Make, bad: Any) -> None:
    """Goal: names are ids. Method: bad names in every call that takes one."""
    manager = make()
    calls: tuple[Callable[[Any], Any], ...] = (
        manager.create_session, manager.load_session, manager.delete_session, manager.get_session_info)
    for call in calls:
        with pytest.raises(InvalidSessionIdError):
            call(bad)
    with pytest.raises(InvalidArgumentError):
        manager.save_session(bad)


def test_an_unknown_session_is_not_made_by_looking(make: Make) -> None:
    """Goal: only create_session begins one. Method: load, look, branch from and delete an unknown one."""
    manager = make()
    for call in (manager.load_session, manager.get_session_info):
        with pytest.raises(SessionNotFoundError):
            call("s")
    with pytest.raises(SessionNotFoundError):
        manager.create_session("t", branch_from="s")
    assert manager.delete_session("s") is False
    assert [] == manager.list_sessions()


# ---- branches ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["json", "sqlite", "memory"])
def test_a_branch_shares_nothing_that_changes_with_its_parent(make: Make, backend: str) -> None:
    """Goal: each goes its own way. Method: change both deeply, branch again, delete the parent."""
    manager = make(backend=backend)
    parent = manager.create_session("p")
    parent.add_message({"role": "user", "content": ["x"], "k": {"deep": [1]}, "timestamp": "2025-01-01"})
    parent.update_metadata({"tags": ["a"]})
    branch = manager.create_session("b", branch_from="p")
    assert parent.messages == branch.messages, "what was not saved yet is branched too"
    assert ("p", {"tags": ["a"]}) == (branch.parent, branch.metadata)
    branch.messages[0]["k"]["deep"].append(2)
    branch.messages[0]["content"].append("y")
    branch.metadata["tags"].append("b")
    assert ([1], ["x"], ["a"]) == (
        parent.messages[0]["k"]["deep"], parent.messages[0]["content"], parent.metadata["tags"])
    manager.save_session(branch)
    twig = manager.create_session("t", branch_from="b")
    assert manager.delete_session("p") is True
    assert (["x", "y"], {"tags": ["a", "b"]}, "b") == (twig.messages[0]["content"], twig.metadata, twig.parent)
    loaded = manager.load_session("b")
    assert ([1, 2], "p") == (loaded.messages[0]["k"]["deep"], loaded.parent)


def test_a_branch_may_begin_anywhere(make: Make) -> None:
    """Goal: `at` counts messages from the first. Method: some counts; a call is not parted from its result."""
    manager = make()
    session = talk(manager, *"ab")
    session.add_message({"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]})
    session.add_message({"role": "tool", "content": "r", "tool_call_id": "1"})
    for at, wanted in ((0, 0), (1, 1), (2, 2), (3, 2), (4, 4), (99, 4)):
        assert wanted == len(manager.create_session(f"b{at}", branch_from="s", at=at).messages)
    for bad in (-1, "1", 1.5):
        with pytest.raises(InvalidArgumentError):
            manager.create_session("bad", branch_from="s", at=bad)  # type: ignore[arg-type] # refused at run time
    with pytest.raises(InvalidArgumentError, match="branch_from"):
        manager.create_session("bad", at=1)


def test_a_branch_takes_no_name_that_is_taken(make: Make) -> None:
    """Goal: nothing is overwritten. Method: branch onto another session; repeat a branch, which loads it."""
    manager = make()
    talk(manager, "a")
    talk(manager, "b", name="t")
    with pytest.raises(SessionExistsError):
        manager.create_session("t", branch_from="s")
    assert ["b"] == said(manager.load_session("t"))
    branch = manager.create_session("u", branch_from="s")
    branch.add_message({"role": "user", "content": "more"})
    manager.save_session(branch)
    assert ["a", "more"] == said(manager.create_session("u", branch_from="s"))


# ---- two managers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["json", "sqlite"])
def test_D3_messages_two_managers_add_are_merged(make: Make, backend: str) -> None:
    """Goal: none overwrites the other. Method: both load, both add, both save; both sessions show all in the end."""
    one, two = make(backend=backend), make(backend=backend)
    first = talk(one, "a")
    second = two.load_session("s")
    for session, manager, text in ((first, one, "b"), (second, two, "c")):
        session.add_message({"role": "user", "content": text})
        session.update_metadata({text: text})
        manager.save_session(session)
    one.save_session(first)
    for session in (first, second, make(backend=backend).load_session("s")):
        assert (list("abc"), {"b": "b", "c": "c"}) == (said(session), session.metadata)


CONFLICTS: dict[str, tuple[Callable[[Session], Any], Callable[[Session], Any]]] = {
    "added and cleared": (lambda s: s.add_message({"role": "user", "content": "new"}), lambda s: s.clear_messages()),
    "added and truncated": (lambda s: s.add_message({"role": "user", "content": "new"}), lambda s: s.truncate_messages(1)),
    "changed and changed": (lambda s: s.messages[0].update(content="x"), lambda s: s.messages[0].update(content="y")),
    "one key twice": (lambda s: s.update_metadata({"k": 1}), lambda s: s.update_metadata({"k": 2})),
    "a key set and taken": (lambda s: s.update_metadata({"old": 1}), lambda s: s.metadata.pop("old")),
    "1 and True": (lambda s: s.update_metadata({"k": 1}), lambda s: s.update_metadata({"k": True})),
}


@pytest.mark.parametrize(("theirs", "ours"), CONFLICTS.values(), ids=CONFLICTS)
def test_D3_a_real_conflict_is_told_and_nothing_is_overwritten(
    make: Make, theirs: Callable[[Session], Any], ours: Callable[[Session], Any]
) -> None:
    """Goal: the second is told. Method: each pair of changes; what the first saved stays, and can be loaded."""
    one, two = make(), make()
    first = talk(one, *"ab")
    first.update_metadata({"old": 0})
    one.save_session(first)
    second = two.load_session("s")
    theirs(first)
    one.save_session(first)
    ours(second)
    with pytest.raises(RevisionConflictError) as caught:
        two.save_session(second)
    assert ("s", second.revision, first.revision) == (
        caught.value.session_id, caught.value.expected_revision, caught.value.revision)
    loaded = make().load_session("s")
    assert (first.messages, first.metadata) == (loaded.messages, loaded.metadata)


def both_change(session: Session, others: SessionManager, mine: str, theirs: str) -> None:
    """Change a message of a live session, and have another manager store another change of it."""
    session.messages[0]["content"] = mine
    other = others.load_session("s")
    other.messages[0]["content"] = theirs
    others.save_session(other)


def test_D3_who_met_a_conflict_begins_again_from_what_is_stored(make: Make) -> None:
    """Goal: no dead end. Method: a conflict under a timer; load again, change again; close, with a second conflict."""
    mine, theirs = make(autosave_interval=3600), make()
    old = talk(mine, "one")
    both_change(old, theirs, "mine", "theirs")
    for _ in range(2):
        with pytest.raises(RevisionConflictError):
            mine.save_session(old)
    fresh = mine.load_session("s")
    assert ["theirs"] == said(fresh)
    assert ["mine"] == said(old), "what was refused stays in the hands of its holder"
    fresh.messages[0]["content"] = "mine"
    mine.save_session(fresh)
    assert ["mine"] == said(make().load_session("s"))
    both_change(fresh, theirs, "again mine", "again theirs")
    with pytest.raises(RevisionConflictError):
        mine.close()
    mine.close()
    assert ["again theirs"] == said(make().load_session("s"))


def test_D3_a_conflict_mended_in_place_is_over(make: Make) -> None:
    """Goal: what is added later is not given up. Method: a conflict, mended in the same object; add, load, close."""
    mine, theirs = make(autosave_interval=3600), make()
    session = talk(mine, "one")
    both_change(session, theirs, "mine", "theirs")
    with pytest.raises(RevisionConflictError):
        mine.save_session(session)
    session.messages[0]["content"] = "theirs"
    mine.save_session(session)
    session.add_message({"role": "user", "content": "precious"})
    assert session is mine.load_session("s")
    mine.close()
    assert ["theirs", "precious"] == said(make().load_session("s"))


def test_changes_that_agree_or_do_not_meet_are_no_conflict(make: Make) -> None:
    """Goal: only what was changed twice is a conflict. Method: the same change by both, and changes side by side."""
    one, two = make(), make()
    first = talk(one, *"ab")
    second = two.load_session("s")
    for manager, session in ((one, first), (two, second)):
        session.truncate_messages(1)
        session.update_metadata({"k": 1})
        manager.save_session(session)
    first.update_metadata({"x": 1})
    one.save_session(first)
    second.clear_messages()
    two.save_session(second)
    del first.metadata["k"]
    one.save_session(first)
    two.save_session(second)
    assert ([], {"x": 1}) == (second.messages, second.metadata)
    second.update_metadata({"k": 1})
    two.save_session(second)
    assert ([], {"k": 1, "x": 1}) == (second.messages, second.metadata)


def test_a_session_deleted_elsewhere_is_not_brought_back(make: Make) -> None:
    """Goal: a deletion is a change too. Method: delete it with one manager, save it with the other."""
    one, two = make(), make()
    session = talk(one, "a")
    two.delete_session("s")
    session.add_message({"role": "user", "content": "b"})
    with pytest.raises(RevisionConflictError, match="deleted"):
        one.save_session(session)
    assert [] == two.list_sessions()


def test_a_clean_session_shows_what_others_saved_when_it_is_loaded_again(make: Make) -> None:
    """Goal: loading is up to date, and takes no change away. Method: load again, clean and with a change in it."""
    one, two = make(), make()
    session = talk(one, "a")
    talk(two, "b")
    assert session is one.load_session("s")
    assert ["a", "b"] == said(session)
    session.add_message({"role": "user", "content": "mine"})
    talk(two, "c")
    assert ["a", "b", "mine"] == said(one.create_session("s"))
    one.save_session(session)
    assert ["a", "b", "c", "mine"] == said(session)


def test_D9_a_save_of_other_things_keeps_what_a_store_archived_meanwhile(make: Make, tmp_path: Path) -> None:
    """Goal: only a clear forgets an archive. Method: a store archives behind a session that was empty; then clear it."""
    manager = make()
    session = manager.create_session("s")
    with DefaultSessionStore(str(tmp_path / "s"), max_messages=2) as store:
        for text in "abcde":
            store.add_user_message("s", text)
        archived = len(store.get_archived_messages("s"))
        session.update_metadata({"k": 1})
        manager.save_session(session)
        assert archived == len(store.get_archived_messages("s")) > 0
        assert "e" == said(session)[-1]
        session.clear_messages()
        manager.save_session(session)
        assert [] == store.get_archived_messages("s")


def test_D7_a_save_whose_outcome_is_unknown_may_be_repeated(make: Make) -> None:
    """Goal: stored once. Method: an engine that stores and then loses the answer; save again."""
    manager = make()
    session = talk(manager, "a")
    session.add_message({"role": "user", "content": "b"})

    def lose() -> None:
        raise OutcomeUnknownError("lost", path="x")

    engine = Between(manager._engine, after=lose)
    manager._engine = engine  # type: ignore[assignment] # an engine is whatever has its methods
    with pytest.raises(OutcomeUnknownError):
        manager.save_session(session)
    manager._engine = engine.engine
    session.add_message({"role": "user", "content": "c"})
    manager.save_session(session)
    assert list("abc") == said(session) == said(make().load_session("s"))


def test_what_is_added_while_a_save_is_under_way_is_not_lost(make: Make) -> None:
    """Goal: a change during a save waits for the next one. Method: change it behind the moment it was looked at."""
    one, two = make(), make()
    session = talk(one, "a")
    talk(two, "b")

    def meanwhile() -> None:
        session.messages.append({"role": "user", "content": "later"})
        session.metadata["later"] = 1

    engine = Between(one._engine, before=meanwhile)
    one._engine = engine  # type: ignore[assignment] # an engine is whatever has its methods
    session.update_metadata({"k": 1})
    one.save_session(session)
    one._engine = engine.engine
    assert (["a", "b", "later"], {"k": 1, "later": 1}) == (said(session), session.metadata)
    assert ["a", "b"] == said(make().load_session("s"))
    one.save_session(session)
    assert ["a", "b", "later"] == said(make().load_session("s"))


# ---- the timer ---------------------------------------------------------------------------------------------------


def timers() -> list[threading.Thread]:
    """Return the timers that run."""
    return [thread for thread in threading.enumerate() if thread.name == "praison_store autosave"]


def test_the_timer_saves_and_ends_with_its_manager(make: Make) -> None:
    """Goal: nobody needs to save. Method: wait for the timer's write; after close no thread is left."""
    manager = make(autosave_interval=0.01)
    written = threading.Event()
    session = manager.create_session("s")
    manager._engine = Between(manager._engine, after=written.set)  # type: ignore[assignment] # has its methods
    session.add_message({"role": "user", "content": "a"})
    assert written.wait(LONGEST_S)
    assert ["a"] == said(make().load_session("s"))
    manager.close()
    assert [] == timers()


def test_a_closed_manager_has_saved_and_may_be_used_again(make: Make) -> None:
    """Goal: the last change is never lost. Method: close long before the timer's first turn, then begin again."""
    manager = make(autosave_interval=300)
    for text in "ab":
        manager.create_session("s").messages.append({"role": "user", "content": text})
        manager.close()
        assert [] == timers()
    assert ["a", "b"] == said(make().load_session("s"))


def test_without_a_timer_only_a_save_saves(make: Make) -> None:
    """Goal: 0 means off. Method: close without a save."""
    manager = make()
    manager.create_session("s").add_message({"role": "user", "content": "a"})
    manager.close()
    assert [] == make().load_session("s").messages
    assert [] == timers()


PROGRAM = """
import sys
from praison_store import SessionManager
manager = SessionManager({"backend": sys.argv[1], "storage_path": sys.argv[2], "autosave_interval": 300})
manager.create_session("s").add_message({"role": "user", "content": "last"})
del manager
if sys.argv[3] == "raise":
    raise SystemExit(3)
"""


@pytest.mark.parametrize("backend", ["json", "sqlite"])
@pytest.mark.parametrize("end", ["return", "raise"])
def test_the_last_change_is_not_lost_at_exit(make: Make, tmp_path: Path, backend: str, end: str) -> None:
    """Goal: a program that forgets to save loses nothing. Method: one that ends right after a message."""
    arguments = [sys.executable, "-W", "error", "-c", PROGRAM, backend, str(tmp_path / "s"), end]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (3 if end == "raise" else 0, "") == (ended.returncode, ended.stderr)
    assert ["last"] == said(make(backend=backend).load_session("s"))


def test_D7_a_close_that_cannot_save_says_so_and_forgets_nothing(make: Make) -> None:
    """Goal: one failure hides no other session and loses nothing. Method: an engine without room, then with it."""
    manager = make(autosave_interval=300)
    sessions = [manager.create_session(name) for name in "ab"]
    for session in sessions:
        session.add_message({"role": "user", "content": "x"})
    failures = iter([True, False])

    def fail() -> None:
        if next(failures, False):
            raise StoreWriteError("no room", path="x")

    engine = Between(manager._engine, before=fail)
    manager._engine = engine  # type: ignore[assignment] # an engine is whatever has its methods
    with pytest.raises(StoreWriteError, match="no room"):
        manager.close()
    assert [0, 1] == [make().get_session_info(name).message_count for name in "ab"]
    manager.close()
    assert [1, 1] == [make().get_session_info(name).message_count for name in "ab"]


def test_a_deleted_session_is_not_saved_by_the_timer(make: Make) -> None:
    """Goal: delete is the last word. Method: change, delete, close."""
    manager = make(autosave_interval=300)
    session = manager.create_session("s")
    session.add_message({"role": "user", "content": "a"})
    assert manager.delete_session("s") is True
    manager.close()
    assert [] == make().list_sessions()


def test_D3_threads_add_to_one_session_while_the_timer_saves(make: Make) -> None:
    """Goal: 400 of 400. Method: four threads add, one saves all the time; a second manager adds too."""
    manager, second = make(autosave_interval=0.001, backend="sqlite"), make(backend="sqlite")
    session = manager.create_session("s")
    other = second.create_session("s")

    def add(writer: int) -> None:
        for n in range(100):
            session.add_message({"role": "user", "content": f"{writer}-{n}"})

    threads = [threading.Thread(target=add, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for n in range(20):
        other.add_message({"role": "user", "content": f"other-{n}"})
        second.save_session(other)
    for thread in threads:
        thread.join()
    manager.close()
    found = said(make(backend="sqlite").load_session("s"))
    wanted = {f"{writer}-{n}" for writer in range(4) for n in range(100)} | {f"other-{n}" for n in range(20)}
    assert wanted == set(found)
    assert 420 == len(found)


FORKED = """
import os, sys
from praison_store import SessionManager
manager = SessionManager({"backend": "json", "storage_path": sys.argv[1], "autosave_interval": 300})
session = manager.create_session("s")
session.add_message({"role": "user", "content": "a"})
pid = os.fork()
if pid:
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_D3_a_forked_child_does_not_save_what_it_inherited(make: Make, tmp_path: Path) -> None:
    """Goal: each message once. Method: fork beside an unsaved message; the child ends first, both at their exits."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED, str(tmp_path / "s")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST_S)
    assert (0, "") == (ended.returncode, ended.stderr)
    assert ["a"] == said(make().load_session("s"))


def test_a_directory_with_a_question_mark_is_refused_by_sqlite_and_kept_by_json(make: Make, tmp_path: Path) -> None:
    """Goal: no other directory is opened. Method: ? and # in storage_path, in both backends; look for the files."""
    with pytest.raises(InvalidArgumentError, match="storage_path"):
        make(backend="sqlite", storage_path=str(tmp_path / "a?b"))
    assert [] == sorted(tmp_path.iterdir())
    talk(make(backend="sqlite", storage_path=str(tmp_path / "a#b")), "a")
    talk(make(backend="json", storage_path=str(tmp_path / "a?b")), "a")
    assert [tmp_path / "a#b", tmp_path / "a?b"] == sorted(tmp_path.iterdir())
    assert (tmp_path / "a#b" / "sessions.db").is_file()


def test_importing_the_package_does_not_import_the_manager() -> None:
    """Goal: an agent starts at once. Method: a fresh interpreter, before and after the name is used."""
    program = ("import sys, praison_store; assert 'praison_store.manager' not in sys.modules; "
               "praison_store.SessionManager; assert 'praison_store.manager' in sys.modules")
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (0, "") == (ended.returncode, ended.stderr)
