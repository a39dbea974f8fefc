"""
What does listing and searching ten thousand sessions cost?

Directories of our files, which PraisonAI's store reads too: both look at the same bytes. One has sessions of 10
messages of 200 bytes, one has full windows of 100. The floor of listing is one look at each name; the word that is
searched stands in five sessions.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from praison_store import DefaultSessionStore

from .harness import Contender, interleaved, ratio
from .report import Report
from .stores import LANGCHAIN, OPENAI, PraisonAI, installed, praisonai, text_of

SESSIONS = 10_000
NEWEST = 50
WORD = "needle"
HOLDING_THE_WORD = 5
OURS, THEIRS, FLOOR = "ours", "PraisonAI", "floor: look at each name"


def measure(report: Report) -> None:
    """Measure listing, then searching, among short and among full sessions."""
    has_peer = bool(installed([praisonai()], report.note))
    for messages, limit in ((10, None), (100, 20.0)):
        _among(report, report.rounds(SESSIONS, 500), messages, limit, has_peer=has_peer)
    report.note(f"{OPENAI.name} and {LANGCHAIN.name} list and search nothing.")


def _among(report: Report, sessions: int, messages: int, limit: float | None, *, has_peer: bool) -> None:
    directory = report.directory / f"{messages}-messages"
    _fill(directory, sessions, messages)
    stores: dict[str, Any] = {OURS: DefaultSessionStore(directory)}
    if has_peer:
        stores[THEIRS] = PraisonAI(directory).store
        listed = [{row["id"] for row in store.list_sessions(NEWEST)} for store in stores.values()]
        report.note(f"{len(listed[0] & listed[1])} of the {NEWEST} sessions are in both lists: ours goes by the file's "
                    "time, which ticks every few milliseconds, theirs by the time in the file.")
    rounds = report.rounds(15, 3)
    among = f"among {sessions:,} of {messages} messages"
    timings = interleaved(
        [*(Contender(name, partial(_call, store.list_sessions, NEWEST)) for name, store in stores.items()),
         Contender(FLOOR, partial(_look, directory))], rounds,
    )
    report.times(f"list_sessions({NEWEST}) {among}", timings, floors=dict.fromkeys(stores, FLOOR), ours=OURS)
    if limit is not None:
        report.bar(f"list_sessions {among}: times as fast as PraisonAI", ">=", limit, ratio(timings, THEIRS, OURS))
    timings = interleaved(
        [Contender(name, partial(_call, store.search, WORD)) for name, store in stores.items()], rounds
    )
    report.times(f"search({WORD!r}) {among}, {HOLDING_THE_WORD} hits", timings, ours=OURS)
    stores[OURS].close()


def _fill(directory: Path, sessions: int, messages: int) -> None:
    with DefaultSessionStore(directory, durability="process") as store:
        every = sessions // HOLDING_THE_WORD
        for number in range(sessions):
            word = WORD if number % every == 0 else "hay"
            texts = [text_of(f"session {number} message {index} {word} ") for index in range(messages)]
            store.add_messages(f"session-{number}", [{"role": "user", "content": text} for text in texts])


def _look(directory: Path) -> None:
    with os.scandir(directory) as entries:
        _ = [entry.stat().st_mtime_ns for entry in entries if entry.name.endswith(".json")]


def _call(function: Any, argument: object) -> None:
    assert function(argument)
