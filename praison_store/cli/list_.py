"""`praison-store list`: the sessions of a directory, the most recently written first."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.filesize import decimal

from ..model.message import Record
from .options import AsJson, Directory, open_existing
from .printing import cell, counted, grid, out, print_json, tell, when

DEFAULT_SESSIONS = 50


def list_sessions(
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show the N newest.")] = DEFAULT_SESSIONS,
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="Only sessions of this agent.")] = None,
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """List sessions, the most recently written first."""
    with open_existing(directory) as store:
        # One row more than asked for tells whether there are more; an agent's are told apart by their headers.
        rows = store.list_sessions(limit + 1 if agent is None else sys.maxsize)
        if agent is not None:
            rows = [row for row in rows if row["agent_name"] == agent]
        if as_json:
            print_json(rows[:limit])
        elif rows:
            _print_table(rows[:limit], more=len(rows) > limit)
        else:
            whose = "No sessions" if agent is None else f"No sessions of the agent {agent!r}"
            tell(f"{whose} in {store.session_dir} yet. `praison-store demo` makes some in a directory of its own.")


def _print_table(rows: list[Record], *, more: bool) -> None:
    titled = any(row["title"] for row in rows)
    table = grid("Session", *(["Title"] if titled else []), "Agent", "Messages", "Size", "Last write",
                 right=("Messages", "Size"), whole=("Session",))
    for row in rows:
        table.add_row(
            cell(row["session_id"], "bold cyan"), *([cell(row["title"] or "")] if titled else []),
            cell(row["agent_name"] or "", "green"), f"{row['message_count']:,}", decimal(row["size_bytes"]),
            cell(when(row["updated_at"]), "dim"),
        )
    out().print(table)
    if more:
        tell(f"The newest {counted(len(rows), 'session')}; --limit shows more.")
