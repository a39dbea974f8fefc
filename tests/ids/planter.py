"""
Run as a program: plant something at one of a store's names, call every method, and tell what each did.

Arguments: a directory to work in, a umask in octal, and the user id to become (-1: stay). Prints one JSON object.
Every case must end within ten seconds; one that hangs ends the program, and the last line of stderr names it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import stat
import sys
from collections.abc import Callable
from typing import Any

from praison_store import DefaultSessionStore, SessionStoreError

KINDS = ("link_to_file", "link_to_directory", "dangling_link", "fifo", "directory", "socket", "file", "hard_link")
PLACES = ("s.json", "s.json.lock", ".archive/s.jsonl", ".archive", ".quarantine")
NO_DIRECTORIES = (".archive", ".quarantine")

METHODS: dict[str, Callable[[DefaultSessionStore], Any]] = {
    "add": lambda store: store.add_user_message("s", "new"),
    "add_many": lambda store: store.add_messages("s", [{"role": "user", "content": "new"}] * 9),
    "history": lambda store: store.get_chat_history("s"),
    "session": lambda store: bool(store.get_session("s").messages),
    "archived": lambda store: len(store.get_archived_messages("s")),
    "exists": lambda store: store.session_exists("s"),
    "set": lambda store: store.set_chat_history("s", [{"role": "user", "content": "new"}]),
    "metadata": lambda store: store.update_session_metadata("s", k=1),
    "search": lambda store: len(store.search("old")),
    "list": lambda store: [row["id"] for row in store.list_sessions()],
    "window": lambda store: len(store.window("s")),
    "export": lambda store: bool(store.export_session("s")),
    "fork": lambda store: bool(store.fork_session("s", "fork")),
    "check": lambda store: sorted({problem.code for problem in store.check().problems}),
    "repair": lambda store: sorted({problem.code for problem in store.check(repair=True).problems}),
    "vacuum": lambda store: store.vacuum().removed,
    "clear": lambda store: store.clear_session("s"),
    "delete": lambda store: store.delete_session("s"),
}


def plant(kind: str, path: str, victim: str) -> None:
    """Put something of a kind in the place of whatever stands at a path; whoever plants has a umask of their own."""
    umask = os.umask(0o077)
    try:
        _plant(kind, path, victim)
    finally:
        os.umask(umask)


def _plant(kind: str, path: str, victim: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
    if kind == "link_to_file":
        os.symlink(os.path.join(victim, "s.jsonl"), path)
    elif kind == "hard_link":
        os.link(os.path.join(victim, "s.jsonl"), path)
    elif kind == "link_to_directory":
        os.symlink(victim, path)
    elif kind == "dangling_link":
        os.symlink(os.path.join(victim, "missing"), path)
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    elif kind == "directory":
        os.mkdir(path, 0o700)
        os.mkdir(os.path.join(path, "inside"), 0o700)
    elif kind == "file":
        with open(path, "w", encoding="ascii") as file:
            file.write("planted")
    else:
        here = os.getcwd()
        os.chdir(os.path.dirname(path))  # a socket's path has a limit of its own
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.basename(path))
        listener.close()
        os.chdir(here)


def new_session(directory: str, *, damaged: bool) -> DefaultSessionStore:
    """Return a store with one session, part of it archived; with its file damaged, so that a read repairs it."""
    store = DefaultSessionStore(directory, 2, lock_timeout=0.2, durability="process")
    for number in range(5):
        store.add_user_message("s", f"old {number}")
    if damaged:
        with open(os.path.join(directory, "s.json"), "r+b") as file:
            file.truncate(os.path.getsize(file.name) - 30)
    return store


def seen(directory: str) -> dict[str, str]:
    """Return every path below a directory with its kind and bytes, links not followed."""
    found = {}
    for at, folders, names in os.walk(directory):
        for name in folders + names:
            path = os.path.join(at, name)
            mode = os.lstat(path).st_mode
            content = ""
            if stat.S_ISREG(mode):
                with open(path, encoding="latin-1") as file:
                    content = file.read()
            found[os.path.relpath(path, directory)] = f"{stat.S_IFMT(mode):o} {content}"
    return found


def one_case(base: str, umask: int, kind: str, place: str, method: str) -> dict[str, Any]:
    """Return what a method did where something was planted: its answer or error, and what became of the victim."""
    victim, directory = os.path.join(base, "victim"), os.path.join(base, "sessions")
    os.mkdir(victim, 0o700)
    for name in ("s.json", "s.jsonl", "s.json.lock"):
        with open(os.path.join(victim, name), "w", encoding="ascii") as file:
            file.write('{"session_id":"s","messages":[{"role":"user","content":"old victim"}]}')
    os.umask(umask)
    store = new_session(directory, damaged=place == ".quarantine")
    plant(kind, os.path.join(directory, place), victim)
    if method == "history":
        store.close()
    before = seen(victim)
    signal.alarm(10)
    try:
        outcome = {"answer": METHODS[method](store)}
    except SessionStoreError as error:
        outcome = {"error": type(error).__name__, "text": str(error)}
    except Exception as error:  # noqa: BLE001 - an untyped error is what the test looks for
        outcome = {"untyped": repr(error)}
    signal.alarm(0)
    store.close()
    modes = {
        os.path.relpath(os.path.join(at, name), directory): oct(os.lstat(os.path.join(at, name)).st_mode & 0o777)
        for at, folders, names in os.walk(directory) for name in folders + names
        if stat.S_IFMT(os.lstat(os.path.join(at, name)).st_mode) in (stat.S_IFREG, stat.S_IFDIR)
        and not os.path.join(at, name).startswith(os.path.join(directory, place))
    }
    still = os.path.lexists(os.path.join(directory, place))
    after = {"victim_untouched": before == seen(victim), "modes": modes, "still_there": still}
    os.umask(0o077)
    shutil.rmtree(base)
    return {**outcome, **after}


def main(base: str, umask: str, user_id: str) -> None:
    """Go through every kind, place and method."""
    logging.disable(logging.CRITICAL)
    if int(user_id) >= 0:
        # What is imported at use is imported now: the other user may not be able to read this interpreter.
        one_case(base, 0o077, "file", ".quarantine", "repair")
        os.mkdir(base, 0o700)
        os.chown(base, int(user_id), int(user_id))
        os.setgroups([])
        os.setgid(int(user_id))
        os.setuid(int(user_id))
    report = {}
    for kind in KINDS:
        for place in PLACES:
            if kind == "file" and place not in NO_DIRECTORIES:
                continue  # a plain file is what belongs there
            if kind in ("directory", "hard_link") and place in NO_DIRECTORIES:
                continue
            for method in METHODS:
                case = f"{kind} {place} {method}"
                print(case, file=sys.stderr, flush=True)
                os.umask(0o077)
                case_base = os.path.join(base, "case")
                os.mkdir(case_base, 0o700)
                report[case] = one_case(case_base, int(umask, 8), kind, place, method)
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
