"""What every command has in common: `--dir` and `--json`, and how a directory is opened without making it."""

from __future__ import annotations

import errno
import os
from typing import Annotated

import typer

from ..errors import StoreReadError
from ..store import DefaultSessionStore, session_directory  # the one home of the default directory's name

Directory = Annotated[
    str | None,
    typer.Option(
        "--dir", metavar="DIRECTORY", show_default=False,
        help="Where the sessions are; else in PRAISON_SESSION_DIR, else in ~/.praison/sessions.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
SessionId = Annotated[str, typer.Argument(metavar="ID", help="The session's id; `praison-store list` shows them.")]


def open_existing(directory: str | None) -> DefaultSessionStore:
    """
    Return a store on a directory that is there; reading never makes one.

    Raises:
        StoreReadError: There is no such directory.
    """
    path = session_directory(directory)
    if os.path.isdir(path):
        return open_or_make(path)
    if os.path.exists(path):
        message = f"This is no directory: {path}. --dir names another one."
        raise StoreReadError(message, path=path, cause=NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
    raise StoreReadError(
        f"No such directory: {path}. It is made when something is first stored; --dir names another one, and "
        f"`praison-store demo` shows how it works.",
        path=path, cause=FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)),
    )


def open_or_make(directory: str | None) -> DefaultSessionStore:
    """
    Return a store that leaves each session's window as long as it is.

    How long a window may get is the choice of the agents that use it, and this process does not know it: with a
    choice of its own, one `add` here would move most of a longer window into the archive (D9).
    """
    return DefaultSessionStore(directory, retention="keep_all")
