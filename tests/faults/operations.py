"""The operations a fault may interrupt: what is there before, what each does, and what must be there after it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from praison_store import DefaultSessionStore, SessionExistsError
from praison_store.engines.json_files import JsonFilesEngine
from praison_store.engines.jsonl import JsonlEngine
from praison_store.model.lease import Lease
from praison_store.model.message import new_record
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named

WINDOW = 4
# Archive retention lets a quarter window more stand in the file, so that this many fill it to the brim.
BRIM = WINDOW + WINDOW // 4
# The engines that write files of ours, and how the names of their sessions end.
SUFFIXES = {"json_files": ".json", "jsonl": ".jsonl"}
KEY, HOLDER, TTL_S = SessionKey("one"), "worker-1", 3600.0
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
    engine: str = "json_files"
    retention: str = "archive"

    def open(self, directory: Path, **options: Any) -> DefaultSessionStore:
        """Return a store of this operation's engine and retention."""
        return open_store(directory, engine=self.engine, **{"retention": self.retention, **options})

    def state_of(self, directory: Path) -> State:
        """Return what a fresh store of this operation's engine finds."""
        return state_of(directory, engine=self.engine)

    @property
    def title(self) -> str:
        """The operation and its engine, to be printed."""
        return f"{self.engine}: {self.name}"

    @property
    def may_do_without(self) -> bool:
        """True where a write inside it may fail and the caller has what it asked for: a repair, a compaction."""
        return "read" in self.name or "compacts" in self.name

    @property
    def meets_damage(self) -> bool:
        """True where a file is damaged before the operation begins."""
        return "damaged" in self.name


def open_store(directory: Path, *, engine: str = "json_files", **options: Any) -> DefaultSessionStore:
    """Return a store as all the tests here use it: a small window, so that messages leave it often."""
    options = {"max_messages": WINDOW, **options}
    if engine == "jsonl":
        return DefaultSessionStore(db=f"jsonl://{directory}", **options)
    return DefaultSessionStore(directory, **options)


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


def steps(*some: Step) -> Step:
    """Return the step that does several, one after the other."""

    def step(store: DefaultSessionStore) -> None:
        for one in some:
            one(store)

    return step


def file_of(store: DefaultSessionStore, session_id: str) -> Path:
    """Return the path of a session's file."""
    assert isinstance(store.engine, JsonFilesEngine | JsonlEngine)
    suffix = ".json" if isinstance(store.engine, JsonFilesEngine) else ".jsonl"
    return Path(store.engine.directory) / (session_id + suffix)


def damage(store: DefaultSessionStore) -> None:
    """Cut a file of ours in the middle of a message; a log, whose end may be missing, loses a line's first bytes."""
    path = file_of(store, "one")
    if path.suffix == ".json":
        path.write_bytes(path.read_bytes()[:-5])
    else:
        lines = path.read_bytes().splitlines(keepends=True)
        number = max(index for index, line in enumerate(lines[:-2]) if b'"content"' in line)
        path.write_bytes(b"".join([*lines[:number], b"#" + lines[number][4:], *lines[number + 1 :]]))
    store.invalidate_cache()


def _with_leftover(store: DefaultSessionStore) -> None:
    numbered(2 * BRIM)(store)
    Path(f"{file_of(store, 'one')}.0123456789abcdef.tmp").write_bytes(b'{"session_id":"o')


def tear(store: DefaultSessionStore) -> None:
    """Leave half a line behind what an append-only file acknowledged: behind the archive, or behind the log."""
    path = file_of(store, "one")
    append_only = path if path.suffix == ".jsonl" else path.parent / ".archive" / "one.jsonl"
    with append_only.open("ab") as file:
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


def rename(store: DefaultSessionStore) -> None:
    """Give the session a title."""
    store.rename_session("one", "a title")


def instead(store: DefaultSessionStore) -> None:
    """Put another history in the place of the session's."""
    store.set_chat_history("one", [{"role": "user", "content": "instead"}])


def vacuum(store: DefaultSessionStore) -> None:
    """Remove what nobody needs."""
    assert isinstance(store.engine, JsonFilesEngine | JsonlEngine)
    store.engine.vacuum()


def add_big(store: DefaultSessionStore) -> None:
    """Add a message so big that a log is mostly dead once it left the window."""
    store.add_user_message("one", "big " * 20_000, message_id="big")


def claim(store: DefaultSessionStore) -> None:
    """Take the lease on the session."""
    assert store.engine.claim(KEY, HOLDER, TTL_S) is not None


def _renew(store: DefaultSessionStore) -> None:
    assert store.engine.renew(Lease(KEY, HOLDER, 1, 0.0), 2 * TTL_S).generation == 1


def _release(store: DefaultSessionStore) -> None:
    store.engine.release(Lease(KEY, HOLDER, 1, 0.0))


def _add_leased(store: DefaultSessionStore) -> None:
    record = new_record("user", "leased", 1.0, message_id="leased")
    policy = policy_named("archive", WINDOW)
    store.engine.append(KEY, [record], now_s=1.0, policy=policy, lease=Lease(KEY, HOLDER, 1, 0.0))


def _operations(engine: str) -> list[Operation]:
    table: list[tuple[str, Step, Step]] = [
        ("append to a new session", numbered(0), add("one", "new")),
        ("append with room in the window", numbered(2), add("one", "new")),
        ("append that overflows for the first time", numbered(BRIM), add("one", "new")),
        ("append that overflows again", numbered(2 * BRIM + 1), add("one", "new")),
        ("append behind an unfinished write", steps(numbered(2 * BRIM + 1), tear), add("one", "new")),
        ("rename", numbered(2 * BRIM), rename),
        ("set_chat_history", numbered(2 * BRIM), instead),
        ("clear", numbered(2 * BRIM), lambda store: store.clear_session("one")),
        ("delete", numbered(2 * BRIM), lambda store: store.delete_session("one")),
        ("fork", numbered(2 * BRIM), _fork),
        ("import", numbered(2), _import),
        ("import over a session", numbered(2 * BRIM), _overwrite),
        ("append to a damaged file", steps(numbered(2 * BRIM), damage), add("one", "new")),
        ("read of a damaged file", steps(numbered(2 * BRIM), damage), lambda store: store.get_chat_history("one")),
        ("read of everything", numbered(3 * BRIM), lambda store: store.export_session("one")),
        ("vacuum", _with_leftover, vacuum),
        ("lease claimed", numbered(2), claim),
        ("lease renewed", steps(numbered(2), claim), _renew),
        ("lease released", steps(numbered(2), claim), _release),
        ("append under a lease", steps(numbered(2), claim), _add_leased),
    ]
    return [Operation(*row, engine=engine) for row in table]


OPERATIONS = _operations("json_files")
LOG_OPERATIONS = [
    *_operations("jsonl"),
    Operation("append that compacts", steps(numbered(0), add_big, add("one", *"abc")), add("one", "new"),
              "jsonl", "truncate"),
]
ALL_OPERATIONS = [*OPERATIONS, *LOG_OPERATIONS]


def state_of(directory: Path, *, engine: str = "json_files") -> State:
    """
    Return what a fresh store finds in a directory: each session's messages, archived ones first, its title, and the
    lease on it.
    """
    state: State = {}
    with open_store(directory, engine=engine, lock_timeout=0.5) as store:
        # By the names of the files: a damaged one is in no listing until somebody reads it by its id.
        for session_id in sorted(path.stem for path in directory.glob(f"*{SUFFIXES[engine]}")):
            if engine == "jsonl" and not store.session_exists(session_id):
                continue  # a log in which no write was ever finished is no session
            (session,) = store.export_session(session_id)["sessions"]
            messages = [*session["archived_messages"], *session["messages"]]
            state[session_id] = {
                "messages": [message["content"] for message in messages],
                "title": session["metadata"].get("title"),
                "shown": [message["content"] for message in store.get_chat_history(session_id)],
            }
    for path in (directory / ".leases").glob(f"*{SUFFIXES[engine]}"):
        lease = json.loads(path.read_bytes())
        state[f"lease {path.stem}"] = {**lease, "expires_at_s": lease["expires_at_s"] > time.time() + 1.5 * TTL_S}
    return state


def names_in(directory: Path) -> set[str]:
    """Return the names of all files in a directory and below, relative to it."""
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}
