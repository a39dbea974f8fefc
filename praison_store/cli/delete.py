"""`praison-store delete`: forget sessions."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .exit_codes import IncompleteError
from .messages import not_found
from .options import Directory, open_existing, where
from .printing import counted, err, out


def delete(
    session_ids: Annotated[list[str], typer.Argument(metavar="ID", help="The sessions to delete.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    directory: Directory = None,
) -> None:
    """
    Delete sessions with all their messages, archived ones too.

    There is no way back; `praison-store export` keeps a copy.
    """
    session_ids = list(dict.fromkeys(session_ids))
    with open_existing(directory) as store:
        missing = [session_id for session_id in session_ids if not store.session_exists(session_id)]
        if missing:
            raise not_found(store, missing[0])
        question = f"Delete {counted(len(session_ids), 'session')} from {where(store)}?"  # nosec B608 # no SQL
        if not yes and not _confirmed(question):
            raise IncompleteError("Nothing was deleted.")
        for session_id in session_ids:
            store.delete_session(session_id)
            out().print(f"Deleted {session_id!r}.", style="green", soft_wrap=True)


def _confirmed(question: str) -> bool:
    err.print(question, "[y/N] ", end="", style="bold", soft_wrap=True)
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    if not answer.endswith("\n"):
        err.print()  # the end of the input is no answer, and no line break either
    return answer.strip().lower() in ("y", "yes")
