"""`praison-store token`: make a token for a user of the HTTP service."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from .options import AsJson
from .printing import print_json, tell


def token(
    user: Annotated[str, typer.Argument(metavar="USER", help="Whose token it is; `admin` may see everything.")],
    file: Annotated[str, typer.Option("--file", metavar="FILE", help="The token file; made if need be.")],
    as_json: AsJson = False,
) -> None:
    """
    Make a token and print it, this once; the file keeps its hash.

    The service reads the file anew when it changes. A line taken out of it ends its token.
    """
    from ..server import access

    made = access.new_token()
    line = access.line_of(user, made)
    # One write at the end of the file, so that two commands at once keep both lines.
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    with open(descriptor, "rb+") as tokens:
        size_bytes = tokens.seek(0, os.SEEK_END)
        if size_bytes:
            tokens.seek(-1, os.SEEK_END)
        # What an editor left without a newline is a line of its own.
        is_whole = not size_bytes or tokens.read(1) == b"\n"
        tokens.write(line.encode() if is_whole else f"\n{line}".encode())
        tokens.flush()
        os.fsync(tokens.fileno())
    if as_json:
        print_json({"user": user, "token": made})
    else:
        print(made)
        tell(f"{user} sends it as `Authorization: Bearer <token>`; it is not shown again.")
