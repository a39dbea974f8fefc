"""`praison-store stats`: how much there is in a directory."""

from __future__ import annotations

import os
import sys
from collections import Counter

from rich.filesize import decimal

from ..disk import archive_log
from ..engines.json_directory import session_files
from ..model.message import Record
from ..store import DefaultSessionStore
from .options import AsJson, Directory, open_existing, where
from .printing import cell, counted, grid, out, print_json, progress, tell, when

_MANY_AGENTS = 10


def stats(directory: Directory = None, as_json: AsJson = False) -> None:
    """
    Count sessions, messages, bytes and agents.

    Every file is read, as `praison-store check` does, so the numbers are those of the messages that are there.
    """
    with open_existing(directory) as store, progress("Counting", None):
        facts = _count(store) if store.session_dir else _count_by_list(store)
    if as_json:
        print_json(facts)
    else:
        _print(facts)


def _count(store: DefaultSessionStore) -> Record:
    report = store.check()
    rows = store.list_sessions(sys.maxsize)
    agents = Counter(row["agent_name"] for row in rows if row["agent_name"])
    times = sorted((row["updated_at"], row["session_id"]) for row in rows if row["updated_at"])
    return {
        "directory": report.directory,
        "sessions": report.sessions,
        "messages": report.messages + report.archived,
        "archived_messages": report.archived,
        "bytes": sum(file.size_bytes for file in session_files(report.directory)) + _archive_bytes(report.directory),
        "agents": dict(agents.most_common()),
        "oldest": {"session_id": times[0][1], "updated_at": times[0][0]} if times else None,
        "newest": {"session_id": times[-1][1], "updated_at": times[-1][0]} if times else None,
        "problems": len(report.problems),
    }


def _count_by_list(store: DefaultSessionStore) -> Record:
    """Return the same facts of a store without files; what its engine does not tell is None."""
    infos = list(store.engine.find(namespace=None))
    times = sorted((info.updated_at, info.session_id) for info in infos if info.updated_at)
    ends = [{"session_id": name, "updated_at": moment} for moment, name in (times[:1] + times[-1:])]
    return {
        "directory": where(store),
        "sessions": len(infos),
        "messages": sum(info.message_count for info in infos),
        "archived_messages": None,
        "bytes": sum(info.size_bytes for info in infos),
        "agents": dict(Counter(info.agent_name for info in infos if info.agent_name).most_common()),
        "oldest": ends[0] if ends else None,
        "newest": ends[-1] if ends else None,
        "problems": 0,
    }


def _archive_bytes(directory: str) -> int:
    try:
        with os.scandir(os.path.join(directory, archive_log.DIRECTORY)) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except FileNotFoundError:
        return 0


def _print(facts: Record) -> None:
    table = grid("", "")
    table.show_header = False
    table.add_row("Store", cell(facts["directory"], whole=True))
    archived = f" ({facts['archived_messages']:,} archived)" if facts["archived_messages"] else ""
    table.add_row("Sessions", f"{facts['sessions']:,}")
    table.add_row("Messages", f"{facts['messages']:,}{archived}")
    table.add_row("Size", decimal(facts["bytes"]))
    agents = list(facts["agents"].items())
    table.add_row("Agents", f"{len(agents):,}")
    for name, sessions in agents[:_MANY_AGENTS]:
        table.add_row("", cell(f"{name}: {counted(sessions, 'session')}", "green"))
    for name in ("oldest", "newest"):
        if facts[name]:
            moment, session_id = when(facts[name]["updated_at"]), facts[name]["session_id"]
            table.add_row(f"{name.title()} write", cell(f"{moment}  {session_id}", whole=True))
    out().print(table)
    if facts["problems"]:
        tell(f"{counted(facts['problems'], 'problem')}: `praison-store check` tells which.", style="yellow")
