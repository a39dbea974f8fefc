"""`praison-store check`: what is wrong in a directory, and what can be saved."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from .. import CheckReport, Problem
from .exit_codes import IncompleteError
from .options import AsJson, Directory, open_existing
from .printing import cell, counted, grid, out, print_json, progress

LOGGER = logging.getLogger("praison_store")


def check(
    repair: Annotated[bool, typer.Option("--repair", help="Save what can be saved of damaged files.")] = False,
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """
    Read every file and tell what is wrong.

    With --repair, each whole message of a damaged file is saved; the damaged file is kept in .quarantine first. A
    file of which nothing can be saved is left as it is.
    """
    with open_existing(directory) as store, progress("Checking", None):
        LOGGER.disabled = True  # the report tells all that the log would
        try:
            report = store.check(repair)
        finally:
            LOGGER.disabled = False
    if as_json:
        print_json({**asdict(report), "ok": report.ok})
    else:
        _print(report)
    if not report.ok:
        remaining = [problem for problem in report.problems if not problem.repaired]
        advice = _advice(report.directory, remaining, repair)
        raise IncompleteError(f"{counted(len(remaining), 'problem')} left.{advice}")


def _advice(directory: str, remaining: Sequence[Problem], repair: bool) -> str:
    codes, where = {problem.code for problem in remaining}, shlex.quote(directory)
    advice = " --repair saves what can be saved of damaged files." if "D5" in codes and not repair else ""
    if "D4" in codes:
        advice += f" `praison-store import {where} --dir {where}` adopts sessions under foreign names."
    if "leftover" in codes:
        advice += f" `praison-store vacuum --dir {where}` removes leftovers."
    return advice


def _print(report: CheckReport) -> None:
    console = out()
    if report.problems:
        console.print(_table(report.problems))
    for caveat in report.not_promised:
        console.print(f"On {report.file_system}: {caveat}.", style="yellow", soft_wrap=True)
    archived = f" and {counted(report.archived, 'archived one')}" if report.archived else ""
    on = f", on {report.file_system}" if report.file_system else ""
    verdict, style = ("All is well", "green") if report.ok else ("Not all is well", "red")
    console.print(
        f"{verdict}: {counted(report.sessions, 'session')} with {counted(report.messages, 'message')}{archived}{on}.",
        style=style, soft_wrap=True,
    )


def _table(problems: Sequence[Problem]) -> Table:
    numbers = ["Saved", "Lost"] if any(_saved_and_lost(problem) != ("", "") for problem in problems) else []
    table = grid("", "File", "What", *numbers, right=("Saved", "Lost"))
    for problem in problems:
        mark = cell("repaired", "bold green") if problem.repaired else cell("problem", "bold red")
        values = _saved_and_lost(problem) if numbers else ()
        table.add_row(mark, cell(problem.path, "cyan", whole=True), cell(problem.message, whole=True), *values)
    return table


def _saved_and_lost(problem: Problem) -> tuple[str, str]:
    saved = "" if problem.saved is None else f"{problem.saved:,}"
    if problem.lost is None:
        return saved, "unknown" if problem.repaired else ""
    return saved, f"{problem.lost:,}"
