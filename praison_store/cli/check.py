"""`praison-store check`: what is wrong in a directory, and what can be saved."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from .. import CheckReport, Problem
from .exit_codes import IncompleteError
from .options import AsJson, Directory, open_existing
from .printing import cell, counted, grid, out, print_json, progress


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
        report = store.check(repair)
    if as_json:
        print_json({**asdict(report), "ok": report.ok})
    else:
        _print(report)
    if not report.ok:
        remaining = sum(not problem.repaired for problem in report.problems)
        damaged = any(problem.code == "D5" for problem in report.problems)
        advice = " --repair saves what can be saved." if damaged and not repair else ""
        raise IncompleteError(f"{counted(remaining, 'problem')} left.{advice}")


def _print(report: CheckReport) -> None:
    console = out()
    if report.problems:
        table = grid("", "File", "What", "Saved", "Lost", right=("Saved", "Lost"), whole=("File", "What"))
        for problem in report.problems:
            mark = cell("repaired", "bold green") if problem.repaired else cell("problem", "bold red")
            table.add_row(mark, cell(problem.path, "cyan"), cell(problem.message), *_saved_and_lost(problem))
        console.print(table)
    archived = f" and {counted(report.archived, 'archived one')}" if report.archived else ""
    verdict, style = ("All is well", "green") if report.ok else ("Not all is well", "red")
    console.print(
        f"{verdict}: {counted(report.sessions, 'session')} with {counted(report.messages, 'message')}{archived}.",
        style=style, soft_wrap=True,
    )


def _saved_and_lost(problem: Problem) -> tuple[str, str]:
    saved = "" if problem.saved is None else f"{problem.saved:,}"
    if problem.lost is None:
        return saved, "unknown" if problem.repaired else ""
    return saved, f"{problem.lost:,}"
