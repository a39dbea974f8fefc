"""`praison-store export`: sessions as JSON, to keep or to carry elsewhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from ..disk import atomic
from ..engines import json_directory
from ..errors import InvalidArgumentError, SessionNotFoundError, SessionStoreError, StoreWriteError
from ..model import portable
from ..store import DefaultSessionStore
from .exit_codes import IncompleteError
from .messages import not_found
from .options import AsJson, Directory, open_existing
from .printing import counted, json_text, print_json, progress, tell, warn, write_bytes

_HEAD = f'{{"format":"{portable.FORMAT}","version":{portable.VERSION},"sessions":[\n'.encode()
_TAIL = b"\n]}\n"


class _Counts:
    """What an export did so far."""

    def __init__(self) -> None:
        self.sessions = self.messages = self.left_out = 0


def export(
    session_ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="The sessions to export.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Export every session of the directory.")] = False,
    output: Annotated[str, typer.Option(metavar="FILE", help="Where to write; `-` is stdout.")] = "-",
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """
    Write sessions with all their messages as JSON; `praison-store import` takes it back.

    One session a line. With --output FILE, an older file of that name is replaced only when all is written; there,
    --json prints what was done as JSON.

    Example: praison-store export --all --output backup.json
    """
    if bool(session_ids) == everything:
        raise InvalidArgumentError("Name the sessions to export, or pass --all; not both.")
    counts = _Counts()
    with open_existing(directory) as store:
        wanted = _every_id(store, counts) if everything else _known(store, session_ids or [])
        lines = _lines(store, wanted, counts)
        if output == "-":
            for piece in _pieces(lines):
                write_bytes(piece)
        else:
            _write_file(output, b"".join(_pieces(lines)))
            _tell_what_was_done(output, counts, as_json)
    if counts.left_out:
        raise IncompleteError(f"{counted(counts.left_out, 'file')} could not be exported; `praison-store check` helps.")


def _every_id(store: DefaultSessionStore, counts: _Counts) -> list[str]:
    """Return the ids of all sessions; a file that is none is counted, and told of by the store's log."""
    if store.session_dir is None:
        return sorted(info.session_id for info in store.engine.find())
    directory = str(store.session_dir)
    by_name = sorted(json_directory.session_files(directory), key=lambda file: file.name)
    infos = [json_directory.info_of(file) for file in by_name]
    counts.left_out += sum(info is None for info in infos)
    return [info.session_id for info in infos if info is not None]


def _known(store: DefaultSessionStore, session_ids: list[str]) -> list[str]:
    """Return ids given by hand. Raises SessionNotFoundError, before anything is written, where one is wrong."""
    for session_id in session_ids:
        if not store.session_exists(session_id):
            raise not_found(store, session_id)
    return list(dict.fromkeys(session_ids))


def _lines(store: DefaultSessionStore, session_ids: list[str], counts: _Counts) -> Iterator[bytes]:
    with progress("Exporting", len(session_ids)) as advance:
        for number, session_id in enumerate(session_ids, 1):
            try:
                session = store.export_session(session_id)["sessions"][0]
            except SessionNotFoundError:
                continue  # deleted since the directory was read
            except SessionStoreError as error:
                counts.left_out += 1
                warn(str(error))
                continue
            counts.sessions += 1
            counts.messages += len(session["messages"]) + len(session["archived_messages"])
            yield json_text(session).encode()
            advance(number)


def _pieces(lines: Iterator[bytes]) -> Iterator[bytes]:
    yield _HEAD
    for number, line in enumerate(lines):
        yield b",\n" + line if number else line
    yield _TAIL


def _write_file(path: str, raw: bytes) -> None:
    """
    Write a file whole or not at all.

    A device or a pipe of that name is written to; a rename would put a plain file in its place.
    """
    path = os.path.realpath(path)
    try:
        is_special = not stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        is_special = False
    if is_special:
        with open(path, "wb") as special:
            special.write(raw)
        return
    try:
        atomic.replace_bytes(path, [raw], durability="full")[0].close()
    except StoreWriteError as error:
        message = f"Cannot write {path}: {error.strerror}. Nothing was exported; an older file there is as it was."
        raise StoreWriteError(message, path=path, cause=error) from error


def _tell_what_was_done(output: str, counts: _Counts, as_json: bool) -> None:
    facts: dict[str, Any] = {"file": output, "sessions": counts.sessions, "messages": counts.messages,
                             "left_out": counts.left_out}
    if as_json:
        print_json(facts)
    else:
        tell(f"Exported {counted(counts.sessions, 'session')} with {counted(counts.messages, 'message')} to {output}.")
