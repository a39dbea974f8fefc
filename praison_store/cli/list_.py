"""`praison-store list`: the sessions of a directory, the most recently written first."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.filesize import decimal

from ..model.message import Record
from .options import AsJson, Directory, open_existing, where
from .printing import cell, counted, grid, out, print_json, tell, when

DEFAULT_SESSIONS = 50
_NARROW_COLUMNS, _WIDE_COLUMNS, _TITLE_COLUMNS = 60, 100, 40
_ID_COLUMNS = len("Session")
_TO_THE_MINUTE = len("2026-01-02 04:00")


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
            tell(f"{whose} in {where(store)} yet. `praison-store demo` makes some in a directory of its own.")


def _print_table(rows: list[Record], *, more: bool) -> None:
    console = out()
    fields = {"Title": "title", "Agent": "agent_name"} if console.width >= _NARROW_COLUMNS else {}
    fields = {heading: field for heading, field in fields.items() if any(row[field] for row in rows)}
    sizes = ["Size"] if console.width >= _WIDE_COLUMNS else []
    table = grid("Session", *fields, "Messages", *sizes, "Last write", right=("Messages", "Size"))
    # Titles and agents give way first; an id is there to be copied, and a number cut in two is another number.
    id_columns = max(cell(row["session_id"]).cell_len for row in rows)
    table.columns[0].width = min(console.width // 3, max(_ID_COLUMNS, id_columns))
    for column in table.columns[1 : 1 + len(fields)]:
        column.max_width = _TITLE_COLUMNS
    for column in table.columns[1 + len(fields) :]:
        column.no_wrap = True
    for row in rows:
        table.add_row(
            cell(row["session_id"], "bold cyan", whole=True),
            *(cell(row[field] or "", "green" if field == "agent_name" else "") for field in fields.values()),
            f"{row['message_count']:,}", *([decimal(row["size_bytes"])] if sizes else []),
            cell(when(row["updated_at"])[:_TO_THE_MINUTE], "dim"),
        )
    console.print(table)
    if more:
        tell(f"The newest {counted(len(rows), 'session')}; --limit shows more.")
