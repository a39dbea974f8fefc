"""
The command `praison-store`: look into, fill, move and mend a directory of sessions from a terminal.

One module per command; `app` puts them together and turns every error into one line and one exit code
(`exit_codes`). What a command decides is decided by the store; the modules here ask it and print. Everything from a
session passes `printing.visible` on its way to a terminal, because ids and messages are written by strangers (D8).

Considered and not taken: importing typer and rich here. `main` must be able to say that they are missing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..errors import MissingExtraError
from .exit_codes import exit_code_of

_EXTRA_PACKAGES = ("typer", "rich")


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command line and return its exit code.

    Args:
        arguments: what stands behind the program's name; None for those of this process.
    """
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except (MissingExtraError, KeyboardInterrupt) as error:
        if str(error):
            print(error, file=sys.stderr)
        return exit_code_of(error)


def _run(arguments: Sequence[str]) -> int:
    try:
        from .app import run
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA_PACKAGES:
            raise
        message = 'praison-store needs an extra: pip install "praison_store[cli]"'
        raise MissingExtraError(message, extra="cli") from error
    return run(arguments)
