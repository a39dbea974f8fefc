"""The app: every command under one name, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import inspect
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from .. import InvalidArgumentError, SessionStoreError, __version__
from . import (
    add,
    check,
    delete,
    demo,
    exit_codes,
    export,
    import_,
    list_,
    migrate,
    search,
    serve,
    show,
    stats,
    tail,
    token,
    vacuum,
)
from .printing import WarningLines, err, tell

NAME = "praison-store"
# Both click and the copy of it inside newer typers raise this for a command line they cannot read.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name=NAME,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes:\n" + "\n".join(f"{code:>5} = {what}" for code, what in exit_codes.meanings().items()),
)


def _help_of(command: Callable[..., None]) -> str:
    """Return a command's docstring with each paragraph on one line, which typer breaks to fit the terminal."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


_LOOK, _WRITE, _KEEP, _SERVE = "Look", "Write", "Keep and mend", "Serve"
for _panel, _name, _command in (
    (_LOOK, "demo", demo.demo),
    (_LOOK, "list", list_.list_sessions),
    (_LOOK, "show", show.show),
    (_LOOK, "search", search.search),
    (_LOOK, "tail", tail.tail),
    (_LOOK, "stats", stats.stats),
    (_WRITE, "add", add.add),
    (_WRITE, "delete", delete.delete),
    (_KEEP, "export", export.export),
    (_KEEP, "import", import_.import_files),
    (_KEEP, "migrate", migrate.migrate),
    (_KEEP, "check", check.check),
    (_KEEP, "vacuum", vacuum.vacuum),
    (_SERVE, "serve", serve.serve),
    (_SERVE, "token", token.token),
):
    app.command(_name, help=_help_of(_command), rich_help_panel=_panel)(_command)


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """
    Conversation history of AI agents, in a directory that any number of processes share.

    New here? `praison-store demo` shows it at work in a few seconds.
    """
    if version:
        print(f"{NAME} {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def run(arguments: Sequence[str]) -> int:
    """Run one command; return its exit code. An error is one line on stderr, a closed pipe or Ctrl-C not even that."""
    logger, warnings = logging.getLogger("praison_store"), WarningLines()
    logger.addHandler(warnings)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale without our letters is no reason to fail
    try:
        _invoke(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a reader that has gone is still ours to notice
    except (SessionStoreError, exit_codes.IncompleteError, OSError, KeyboardInterrupt) as error:
        _tell_error(error)
        return exit_codes.exit_code_of(error)
    except _UsageError as error:
        _tell_usage_error(error)
        return exit_codes.exit_code_of(InvalidArgumentError(""))
    except SystemExit:
        # typer prints help by a console of its own, which ends the process where nobody reads.
        return exit_codes.exit_code_of(BrokenPipeError())
    except typer.Exit as end:
        return end.exit_code
    finally:
        logger.removeHandler(warnings)
    return exit_codes.DONE


def _invoke(arguments: Sequence[str]) -> None:
    # What typer's own `main` does, without its ideas of how to tell an error and which code to end with.
    command = typer.main.get_command(app)
    with command.make_context(NAME, list(arguments)) as context:
        command.invoke(context)


def _tell_error(error: BaseException) -> None:
    if isinstance(error, OSError) and not isinstance(error, SessionStoreError):
        _forget_unwritten_output()
        if not isinstance(error, BrokenPipeError):
            named = f"{error.filename}: " if error.filename else ""
            tell(f"{named}{error.strerror or error}", label="error: ", style="red")
    elif not isinstance(error, KeyboardInterrupt):
        tell(str(error), label="error: ", style="red")
    elif err.is_terminal:
        err.print()  # the terminal left the cursor behind its ^C


def _forget_unwritten_output() -> None:
    """Let go of what stdout would not take: Python tries once more at its end, and would complain then."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell_usage_error(error: Exception) -> None:
    context: typer.Context | None = getattr(error, "ctx", None)
    path = context.command_path if context is not None else NAME
    message = getattr(error, "format_message", lambda: str(error))()
    stop = "" if message.endswith((".", "?")) else "."
    tell(f"{message}{stop} `{path} --help` tells what there is.", label="error: ", style="red")
