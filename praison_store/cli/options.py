"""What every command has in common: `--store` and `--json`, and how a store is opened without making it."""

from __future__ import annotations

import errno
import os
from typing import Annotated

import typer

from ..engines.json_directory import session_directory
from ..engines.urls import directory_of, from_url, scheme_of
from ..errors import StoreReadError
from ..store import DefaultSessionStore

Directory = Annotated[
    str | None,
    typer.Option(
        "--dir", "--store", metavar="DIRECTORY|URL", show_default=False,
        help="Where the sessions are: a directory, or a URL like sqlite:///file.db, postgresql://host/database, "
        "jsonl:///directory, https://host/path. Else in PRAISON_SESSION_DIR, else in ~/.praison/sessions.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
_OF_FILES = ("", "file", "jsonl")
SessionId = Annotated[str, typer.Argument(metavar="ID", help="The session's id; `praison-store list` shows them.")]


def open_existing(directory: str | None, named_by: str = "--dir") -> DefaultSessionStore:
    """
    Return a store on a directory that is there, or on a URL; reading never makes a directory.

    Args:
        named_by: what the user gives to name another one.
    Raises:
        StoreReadError: There is no such directory.
    """
    scheme = scheme_of(directory) if directory else ""
    if scheme == "sqlite" and not os.path.exists(file := str(directory).partition(":///")[2].partition("?")[0]):
        raise StoreReadError(f"No such file: {file}. It is made when something is first stored.", path=file)
    if scheme not in _OF_FILES:
        return open_or_make(directory)
    path = directory_of(str(directory)) if scheme else session_directory(directory)
    if os.path.isdir(path):
        return open_or_make(directory)
    if os.path.exists(path):
        message = f"This is no directory: {path}. {named_by} names another one."
        raise StoreReadError(message, path=path, cause=NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
    raise StoreReadError(
        f"No such directory: {path}. It is made when something is first stored; {named_by} names another one, and "
        f"`praison-store demo` shows how it works.",
        path=path, cause=FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)),
    )


def open_or_make(directory: str | None) -> DefaultSessionStore:
    """
    Return a store that leaves each session's window as long as it is.

    How long a window may get is the choice of the agents that use it, and this process does not know it: with a
    choice of its own, one `add` here would move most of a longer window into the archive (D9).
    """
    scheme = scheme_of(directory) if directory else ""
    if scheme in ("", "file"):
        path = directory_of(str(directory)) if scheme else directory
        return DefaultSessionStore(path, retention="keep_all")
    return DefaultSessionStore(db=from_url(str(directory)), retention="keep_all")


def where(store: DefaultSessionStore) -> str:
    """Return what to call the place of a store: its directory, or the kind of its engine; a URL may hold a password."""
    return store.session_dir or f"the {store.engine.capabilities.name} store"
