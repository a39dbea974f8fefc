"""`praison-store add`: store one message."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from ..errors import InvalidArgumentError, InvalidMessageError
from .options import Directory, SessionId, open_or_make
from .printing import out


def add(
    session_id: SessionId,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="Who says it: user, assistant, system or tool.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What is said; `-` reads it from stdin.")],
    message_id: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A name for this message; a repeat is not stored twice.")
    ] = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help="A JSON object to keep with the message.")
    ] = None,
    directory: Directory = None,
) -> None:
    """
    Store one message in a session, which is made if it is new.

    When the command ends without an error the message is on the disk. Put -- in front of a TEXT that begins with a
    dash.

    Example: praison-store add my-session user "Hello, my name is Alice"
    """
    content = _stdin_text() if text == "-" else text
    fields = _object(metadata)
    with open_or_make(directory) as store:
        store.add_message(session_id, role, content, fields, message_id=message_id)
        out().print(f"Stored in {session_id!r}.", style="green")


def _stdin_text() -> str:
    if sys.stdin is None:
        raise InvalidMessageError("Standard input is closed: there is no text to store.", where="content")
    raw = sys.stdin.buffer.read()
    try:
        # `echo` ends what it prints with a line break nobody means to store.
        return raw.decode("utf-8").removesuffix("\n")
    except UnicodeDecodeError as error:
        raise InvalidMessageError(
            f"Standard input is no UTF-8 (byte {error.start}): convert it first. Nothing was stored.", where="content"
        ) from error


def _object(text: str | None) -> dict[str, Any] | None:
    try:
        value = None if text is None else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"--metadata is no JSON: {error}. Nothing was stored.") from error
    if value is not None and not isinstance(value, dict):
        raise InvalidArgumentError(f"--metadata is a JSON object such as '{{\"k\": 1}}', not {text!r:.60}.")
    return value
