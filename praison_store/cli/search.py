"""`praison-store search`: find sessions by words in their messages."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from ..model.message import Record
from ..model.session import SessionHit
from .messages import preview, role_style
from .options import AsJson, Directory, open_existing, where
from .printing import out, print_json, tell, visible, when


def search(
    words: Annotated[list[str], typer.Argument(metavar="WORD", help="The words to look for.")],
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show the N best sessions.")] = 5,
    window: Annotated[int, typer.Option(min=0, metavar="N", help="Messages before and after each match.")] = 1,
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """
    Find sessions that hold any of the words, the best match first.

    Archived messages are searched too; capital and small letters are the same.
    """
    query = " ".join(words)
    with open_existing(directory) as store:
        hits = store.search(query, limit, window)
        if as_json:
            print_json([asdict(hit) for hit in hits])
        elif not hits:
            tell(f"Nothing in {where(store)} holds {query!r}.")
    if not as_json:
        pattern = re.compile("|".join(re.escape(word) for word in query.split()) or "(?!)", re.IGNORECASE)
        for hit in hits:
            _print_hit(hit, pattern)


def _print_hit(hit: SessionHit, pattern: re.Pattern[str]) -> None:
    console = out()
    title = f"  {visible(hit.title)}" if hit.title != hit.session_id else ""
    console.print(Text.assemble((visible(hit.session_id), "bold cyan"), title, (f"  {when(hit.when)}", "dim")))
    for row in hit.messages:
        is_best = row["index"] == hit.anchor_index
        shown = {**row, "content": hit.snippet} if is_best else row
        console.print(_row(shown, pattern, best=is_best), no_wrap=True, overflow="ellipsis")
    console.print()


def _row(row: Record, pattern: re.Pattern[str], *, best: bool) -> Text:
    words = Text(preview(row), style="" if best else "dim")
    words.highlight_regex(pattern, "bold yellow")
    place = (f"{'>' if best else ' '} {row['index']:>5} ", "bold yellow" if best else "dim")
    return Text.assemble(place, (f"{visible(row['role']):<10}", role_style(row["role"])), words)
