"""The operations a fault may interrupt: what is there before, what each does, and what must be there after it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from praison_store import DefaultSessionStore, SessionExistsError

WINDOW = 4
# Archive retention lets a quarter window more stand in the file, so that this many fill it to the brim.
BRIM = WINDOW + WINDOW // 4
State = dict[str, dict[str, Any]]
Step = Callable[[DefaultSessionStore], Any]


class Operation(NamedTuple):
    """
    One thing a store does.

    Shape: `prepare` builds what is there before; `run` is interrupted, and later run again: twice is as good as once.
    """

    name: str
    prepare: Step
    run: Step


def open_store(directory: Path, **options: Any) -> DefaultSessionStore:
    """Return a store as all the tests here use it: a small window, so that messages leave it often."""
    return DefaultSessionStore(directory, **{"max_messages": WINDOW, **options})


def add(session_id: str, *contents: str) -> Step:
    """Return the step that adds messages, each with its content as its id, so that a retry stores it once."""

    def step(store: DefaultSessionStore) -> None:
        for content in contents:
            assert store.add_user_message(session_id, content, message_id=content) is True

    return step


def numbered(count: int) -> Step:
    """Return the step that adds that many messages to the session `one`, and two to `other`."""

    def step(store: DefaultSessionStore) -> None:
        add("one", *(f"old-{number}" for number in range(count)))(store)
        add("other", "other-0", "other-1")(store)

    return step


def file_of(store: DefaultSessionStore, session_id: str) -> Path:
    """Return the path of a session's file."""
    return Path(str(store.session_dir)) / f"{session_id}.json"


def _torn(store: DefaultSessionStore) -> None:
    numbered(2 * BRIM)(store)
    path = file_of(store, "one")
    path.write_bytes(path.read_bytes()[:-5])
    store.invalidate_cache()


def _with_leftover(store: DefaultSessionStore) -> None:
    numbered(2)(store)
    Path(f"{file_of(store, 'one')}.0123456789abcdef.tmp").write_bytes(b'{"session_id":"o')


def _with_archive_tail(store: DefaultSessionStore) -> None:
    numbered(2 * BRIM + 1)(store)
    archive = file_of(store, "one").parent / ".archive" / "one.jsonl"
    with archive.open("ab") as file:
        file.write(b'{"role":"user","content":"never acknow')


def _fork(store: DefaultSessionStore) -> None:
    with suppress(SessionExistsError):  # a retry of a fork that succeeded
        store.fork_session("one", "forked")


def _import(store: DefaultSessionStore) -> None:
    messages = [{"role": "user", "content": f"imported-{number}"} for number in range(2 * BRIM)]
    with suppress(SessionExistsError):
        store.import_session({"session_id": "imported", "messages": messages})


def _overwrite(store: DefaultSessionStore) -> None:
    messages = [{"role": "user", "content": f"imported-{number}"} for number in range(3)]
    store.import_session({"session_id": "one", "messages": messages}, overwrite=True)


OPERATIONS = [
    Operation("append to a new session", numbered(0), add("one", "new")),
    Operation("append with room in the window", numbered(2), add("one", "new")),
    Operation("append that overflows for the first time", numbered(BRIM), add("one", "new")),
    Operation("append that overflows again", numbered(2 * BRIM + 1), add("one", "new")),
    Operation("append behind an unfinished move", _with_archive_tail, add("one", "new")),
    Operation("rename", numbered(2 * BRIM), lambda store: store.rename_session("one", "a title")),
    Operation(
        "set_chat_history",
        numbered(2 * BRIM),
        lambda store: store.set_chat_history("one", [{"role": "user", "content": "instead"}]),
    ),
    Operation("clear", numbered(2 * BRIM), lambda store: store.clear_session("one")),
    Operation("delete", numbered(2 * BRIM), lambda store: store.delete_session("one")),
    Operation("fork", numbered(2 * BRIM), _fork),
    Operation("import", numbered(2), _import),
    Operation("import over a session", numbered(2 * BRIM), _overwrite),
    Operation("append to a damaged file", _torn, add("one", "new")),
    Operation("read of a damaged file", _torn, lambda store: store.get_chat_history("one")),
    Operation("read of everything", numbered(3 * BRIM), lambda store: store.export_session("one")),
    Operation("vacuum", _with_leftover, lambda store: store.vacuum()),
]


def state_of(directory: Path) -> State:
    """Return what a fresh store finds in a directory: each session's messages, archived ones first, and its title."""
    state: State = {}
    with open_store(directory, lock_timeout=0.5) as store:
        # By the names of the files: a damaged one is in no listing until somebody reads it by its id.
        for session_id in sorted(path.stem for path in directory.glob("*.json")):
            (session,) = store.export_session(session_id)["sessions"]
            messages = [*session["archived_messages"], *session["messages"]]
            state[session_id] = {
                "messages": [message["content"] for message in messages],
                "title": session["metadata"].get("title"),
                "shown": [message["content"] for message in store.get_chat_history(session_id)],
            }
    return state


def names_in(directory: Path) -> set[str]:
    """Return the names of all files in a directory and below, relative to it."""
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}
