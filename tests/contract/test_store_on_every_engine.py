"""The store's every call on every engine: the same conversation gives the same answers as on JSON files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from places import ENGINES

from praison_store import DefaultSessionStore, SessionExistsError, SessionNotFoundError

RETENTIONS = ("archive", "truncate", "keep_all")
CALL = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


def talk(store: DefaultSessionStore) -> None:
    """Lead a conversation longer than the window, with everything a message may hold."""
    store.add_message("s", "system", "be kind")
    for number in range(6):
        store.add_user_message("s", f"question {number}", {"k": [number, None, 1.0, True, {"é": "\U0001f600"}]})
    store.add_messages("s", [
        {"role": "assistant", "content": None, "tool_calls": CALL, "message_id": "call"},
        {"role": "tool", "content": "42", "tool_call_id": "c", "message_id": "result"},
        {"role": "assistant", "content": [{"type": "text", "text": "a needle\u0000 in here"}], "message_id": "end"},
    ])
    store.add_messages("s", [{"role": "tool", "content": "42", "tool_call_id": "c", "message_id": "result"}])
    store.set_agent_info("s", "agent", "user")
    store.rename_session("s", "a title")
    store.append_compaction_checkpoint("s", "what was said", tokens_before=9)
    store.add_assistant_message("s", "later")


Step = Callable[[DefaultSessionStore], Any]


def changed(change: Step, *looks: Step) -> Step:
    """Return a step that changes something and tells what it looks like then."""
    return lambda store: (change(store), *(look(store) for look in looks))


def whole(session_id: str) -> Step:
    """Return a step that tells everything there is of a session."""
    return lambda store: store.export_session(session_id) if store.session_exists(session_id) else None


def refused(call: Step, error: type[Exception]) -> Step:
    """Return a step that insists on an error."""

    def step(store: DefaultSessionStore) -> str:
        with pytest.raises(error):
            call(store)
        return error.__name__

    return step


STEPS: dict[str, Step] = {
    "history": lambda store: store.get_chat_history("s"),
    "history_of_some": lambda store: [store.get_chat_history("s", newest) for newest in range(1, 9)],
    "working_history": lambda store: [store.get_working_history("s"), store.get_working_history("s", 2)],
    "archived": lambda store: [message.to_dict() for message in store.get_archived_messages("s")],
    "whole": whole("s"),
    "session": lambda store: store.get_session("s").to_dict(),
    "window": lambda store: store.window("s", 2, 1),
    "list": lambda store: [
        {name: row[name] for name in ("id", "title", "agent_name", "user_id", "message_count", "revision")}
        for row in store.list_sessions()],
    "agents": lambda store: [store.list_sessions_by_agent("agent"), store.get_agent_chat_history("agent", 2)],
    "search": lambda store: [
        [(hit.session_id, hit.anchor_index, hit.snippet) for hit in store.search(words)]
        for words in ("needle", "QUESTION 1", "nothing", "é", "in here", "42")],
    "unknown": lambda store: [store.get_chat_history("u"), store.session_exists("u"), store.delete_session("u"),
                              store.clear_session("u"), store.get_session("u").messages],
    "fork": changed(lambda store: store.fork_session("s", "fork").parent_id, whole("fork")),
    "fork_at": changed(lambda store: store.fork_session("s", "fork", 3).parent_id, whole("fork")),
    "fork_onto": refused(lambda store: store.fork_session("s", "s"), SessionExistsError),
    "fork_unknown": refused(lambda store: store.fork_session("u", "v"), SessionNotFoundError),
    "import": lambda store: (
        exported := store.export_session("s"), store.delete_session("s"), store.import_session(exported).revision,
        store.export_session("s") == exported, store.get_chat_history("s")),
    "overwrite": lambda store: (
        exported := store.export_session("s"), store.add_user_message("s", "more"),
        store.import_session(exported, overwrite=True).revision, store.get_archived_messages("s")),
    "import_onto": refused(lambda store: store.import_session(store.export_session("s")), SessionExistsError),
    "set": changed(lambda store: store.set_chat_history("s", [{"role": "user", "content": "x"}]), whole("s")),
    "clear": changed(lambda store: store.clear_session("s"), whole("s")),
    "clear_and_go_on": changed(
        lambda store: store.clear_session("s"), lambda store: store.add_user_message("s", "anew"), whole("s")),
    "delete": changed(lambda store: store.delete_session("s"), whole("s")),
    "delete_and_go_on": changed(
        lambda store: store.delete_session("s"), lambda store: store.add_user_message("s", "anew"), whole("s")),
    "metadata": changed(lambda store: store.update_session_metadata("s", a=[1, {"b": None}], user_id="other"), whole("s")),
    "odd_ids": lambda store: [
        (store.add_user_message(odd, odd), store.get_chat_history(odd), store.delete_session(odd))
        for odd in ("a/b", "..", ".", "é", "A", "a", "nul", "x" * 300, " ", "\U0001f600", "a\nb", "%", "-x", "'; --")],
}
_TIMES = re.compile(r"20\d\d-\d\d-\d\dT[0-9:.]+\+00:00")


def without_times(value: Any) -> str:
    """Return an answer as text, its time stamps left out."""
    text = _TIMES.sub("TIME", repr(value))
    return re.sub(r"timestamp('?[:=] ?)\d+\.\d+", r"timestamp\1 0", text)


# Where each step takes a second, one retention stands for the others in a short run.
@pytest.mark.parametrize(("name", "retention"), [
    pytest.param(name, retention, marks=[pytest.mark.long] * (
        name == "service" or (name == "mariadb" and retention != "archive")))
    for name in ENGINES if name != "json_files" for retention in RETENTIONS])
def test_a_conversation_is_the_same_on_every_engine(name: str, retention: str, tmp_path: Path) -> None:
    """Goal: an engine is chosen for its promises, not its answers. Method: each step after the same conversation."""
    wrong = {}
    for step, act in STEPS.items():
        answers = []
        for kind in ("json_files", name):
            engine = ENGINES[kind](tmp_path / step / kind)
            with DefaultSessionStore(db=engine, max_messages=5, retention=retention) as store:
                talk(store)
                answers.append(without_times(act(store)))
        if answers[0] != answers[1]:
            wrong[step] = answers
    assert {} == wrong
