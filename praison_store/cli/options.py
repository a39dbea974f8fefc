"""What every command has in common: `--dir` and `--json`, and how a directory is opened without making it."""

from __future__ import annotations

import errno
import os
from typing import Annotated

import typer

from ..errors import StoreReadError
from ..store import DefaultSessionStore, _directory  # the one home of the default directory's name

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
    path = _directory(directory)
    if not os.path.isdir(path):
        code = errno.ENOTDIR if os.path.exists(path) else errno.ENOENT
        what = "This is no directory" if code == errno.ENOTDIR else "No such directory"
        raise StoreReadError(
            f"{what}: {path}. --dir names another one; one is made as soon as something is stored in it.",
            path=path, cause=OSError(code, os.strerror(code)),
        )
    return open_or_make(path)


def open_or_make(directory: str | None) -> DefaultSessionStore:
    """
    Return a store that leaves each session's window as long as it is.

    How long a window may get is the choice of the agents that use it, and this process does not know it: with a
    choice of its own, one `add` here would move most of a longer window into the archive (D9).
    """
    return DefaultSessionStore(directory, retention="keep_all")
