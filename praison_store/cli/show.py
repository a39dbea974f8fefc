"""`praison-store show`: the messages of one session."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from ..model.message import Record
from ..model.session import SessionData
from .messages import print_message, transcript
from .options import AsJson, Directory, SessionId, open_existing
from .printing import counted, out, print_json, tell, visible, when


def show(
    session_id: SessionId,
    last: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the N newest messages.")] = None,
    archived: Annotated[bool, typer.Option("--archived", help="Also the messages that left the window.")] = False,
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Show the messages of one session, oldest first."""
    with open_existing(directory) as store:
        session, messages, in_archive = transcript(store, session_id)
    chosen = [index for index in range(len(messages)) if archived or index not in in_archive]
    chosen = chosen[-last:] if last else chosen
    if as_json:
        shown = [messages[index] for index in chosen]
        print_json({**session.header(), "archived_count": len(in_archive), "messages": shown})
        return
    _print_head(session, len(messages))
    for index in chosen:
        out().print()
        print_message(messages[index], archived=index in in_archive)
    if in_archive and not archived and not last:
        tell(f"{counted(len(in_archive), 'older message')} left the window; --archived shows them too.")


def _print_head(session: SessionData, message_count: int) -> None:
    facts: Record = {
        "title": session.metadata.get("title"),
        "agent": session.agent_name,
        "user": session.user_id,
        "forked from": session.parent_id,
        "first write": when(session.created_at),
        "last write": when(session.updated_at),
        "recovered from": session.metadata.get("recovered_from"),
    }
    shown = [counted(message_count, "message"), *(f"{name} {visible(fact)}" for name, fact in facts.items() if fact)]
    console = out()
    console.print(Text(visible(session.session_id), style="bold cyan"))
    console.print(Text(" · ".join(shown), style="dim"))
