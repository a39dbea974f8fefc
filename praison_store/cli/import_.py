"""`praison-store import`: take in exports, session files, and whole directories, PraisonAI's too."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated

import typer

from ..disk import atomic, files, lock, quarantine
from ..engines import json_directory
from ..errors import SessionExistsError, SessionStoreError
from ..store import DefaultSessionStore
from .exit_codes import IncompleteError
from .options import Directory, open_or_make
from .printing import counted, out, progress, tell, warn
from .session_files import Found, is_named_after, sessions_in

_STDIN = "-"


@dataclass
class Tally:
    """What an import did so far."""

    sessions: int = 0
    messages: int = 0
    skipped: int = 0
    in_place: int = 0
    failed: int = 0


def import_files(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files or directories; `-` is stdin.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace sessions that exist.")] = False,
    directory: Directory = None,
) -> None:
    """
    Take in sessions: exports, session files, or whole directories of them.

    Files of PraisonAI's own store are read too, and each session is stored under the id inside its file, not under
    the file's name: PraisonAI keeps the id "a/b" in a_b.json. Where such a file lies in the very directory that is
    written to, it is moved into .quarantine once its session is stored. To adopt all of them at once, import the
    directory into itself, when no program writes them under their old names any more.

    Example: praison-store import ~/.praisonai/sessions
    """
    sources = _sources(paths)
    tally = Tally()
    with open_or_make(directory) as store, progress("Importing", len(sources)) as advance:
        for number, source in enumerate(sources):

            def within(part: float, before: int = number) -> None:
                advance(before + part)

            try:
                import_file(store, source, overwrite, tally, within)
            except (SessionStoreError, OSError, ValueError) as error:
                tally.failed += 1
                warn(f"{source} was skipped: {error}")
            within(1)
    _print(tally)
    if tally.failed:
        raise IncompleteError("Not everything was imported; the warnings above tell what was not.")


def _sources(paths: Sequence[str]) -> list[str]:
    """Return the files to read. Raises FileNotFoundError, before anything is written, where a path is not there."""
    sources: list[str] = []
    for path in paths:
        if path == _STDIN:
            sources.append(path)
        elif os.path.isdir(path):
            names = sorted(file.name for file in json_directory.session_files(path))
            sources += [os.path.join(path, name) for name in names]
        elif os.path.lexists(path):
            sources.append(os.path.realpath(path))
        else:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return sources


def import_file(
    store: DefaultSessionStore, source: str, overwrite: bool, tally: Tally, advance: Callable[[float], None]
) -> None:
    """
    Take in one file; where it lies in the directory itself, in the turn of its writers.

    Args:
        advance: is told which part of the file is done, from 0 to 1.
    Raises:
        SessionStoreError, ValueError: Nothing of the file was stored, and it stands where it stood.
    """
    if source == _STDIN:
        raw = sys.stdin.buffer.read() if sys.stdin is not None else b""
        _store_all(store, sessions_in(raw, None), overwrite, tally, advance)
        return
    here = store.session_dir
    is_ours = here is not None and os.path.realpath(os.path.dirname(source)) == os.path.realpath(here)
    # A file of the directory itself may have a writer still, PraisonAI's store: it waits until the file is adopted.
    turn = lock.exclusive(source, timeout_s=store.lock_timeout) if is_ours else nullcontext()
    with turn:
        raw = files.bytes_of(source)
        found = sessions_in(raw, source)
        of_one_session = is_ours and not any(session.is_export for session in found)
        if of_one_session and is_named_after(source, found[0].session_id):
            tally.in_place += 1
        elif _store_all(store, found, overwrite, tally, advance) and of_one_session:
            kept_as = quarantine.keep(source, raw)
            atomic.remove(source)
            atomic.flush_names(source)
            tell(f"{os.path.basename(source)} was adopted as {found[0].session_id!r}; the old file is {kept_as}.")


def _store_all(
    store: DefaultSessionStore, found: Sequence[Found], overwrite: bool, tally: Tally, advance: Callable[[float], None]
) -> bool:
    """Store sessions, each for itself; tell whether all of them are stored now."""
    before = tally.sessions
    for number, session in enumerate(found):
        advance(number / len(found))
        try:
            store.import_session(session.payload, overwrite=overwrite)
        except SessionExistsError:
            tally.skipped += 1
            tell(f"{session.session_id!r} exists and was left as it is; --overwrite replaces it.")
            continue
        except SessionStoreError as error:
            tally.failed += 1
            warn(f"{session.session_id!r} was skipped: {error}")
            continue
        tally.sessions += 1
        tally.messages += session.message_count()
        if session.missing:
            tally.failed += 1
            warn(f"{session.session_id!r} was imported, but {session.missing}.")
    return tally.sessions - before == len(found)


def _print(tally: Tally) -> None:
    facts = [f"Imported {counted(tally.sessions, 'session')} with {counted(tally.messages, 'message')}"]
    facts += [f"{tally.skipped:,} exist already"] if tally.skipped else []
    facts += [f"{tally.in_place:,} are in place"] if tally.in_place else []
    facts += [f"{tally.failed:,} failed"] if tally.failed else []
    out().print(", ".join(facts) + ".", style="yellow" if tally.failed else "green")
