"""
What does listing and searching ten thousand sessions cost?

One directory of our files, which PraisonAI's store reads too: both look at the same bytes. Each session has ten
messages of 200 bytes. The floor is one look at each name; a word that is searched stands in five sessions.
"""

from __future__ import annotations

import os

from praison_store import DefaultSessionStore

from .harness import Contender, interleaved, ratio
from .report import Report
from .stores import LANGCHAIN, OPENAI, PraisonAI, praisonai, text_of

SESSIONS = 10_000
MESSAGES = 10
NEWEST = 50
WORD = "needle"
HOLDING_THE_WORD = 5


def measure(report: Report) -> None:
    """Measure listing, then searching."""
    sessions = report.rounds(SESSIONS, 500)
    ours = _filled(report, sessions)
    directory = str(report.directory)
    listing = [
        Contender("ours", lambda: _call(ours.list_sessions, NEWEST)),
        Contender("floor: look at each name", lambda: _look(directory)),
    ]
    searching = [Contender("ours", lambda: _call(ours.search, WORD))]
    kind = praisonai()
    missing = kind.missing()
    if missing is None:
        theirs = PraisonAI(report.directory).store
        listing.append(Contender("PraisonAI", lambda: _call(theirs.list_sessions, NEWEST)))
        searching.append(Contender("PraisonAI", lambda: _call(theirs.search, WORD)))
        listed, listed_by_theirs = ({row["id"] for row in store.list_sessions(NEWEST)} for store in (ours, theirs))
        report.note(f"{len(listed & listed_by_theirs)} of the {NEWEST} sessions are in both lists: ours goes by the "
                    "file's time, which ticks every few milliseconds, theirs by the time in the file.")
    else:
        report.note(f"{kind.name}: missing ({missing} is not installed)")
    rounds = report.rounds(15, 3)
    timings = interleaved(listing, rounds)
    floors = dict.fromkeys(("ours", "PraisonAI"), "floor: look at each name")
    report.times(f"list_sessions({NEWEST}) among {sessions:,}", timings, floors=floors, ours="ours")
    report.bar("list_sessions: times as fast as PraisonAI", ">=", 20.0, ratio(timings, "PraisonAI", "ours"))
    timings = interleaved(searching, rounds)
    report.times(f"search({WORD!r}) among {sessions:,}, {HOLDING_THE_WORD} hits", timings, ours="ours")
    report.note(f"{OPENAI.name} and {LANGCHAIN.name} list and search nothing.")
    ours.close()


def _filled(report: Report, sessions: int) -> DefaultSessionStore:
    with DefaultSessionStore(report.directory, durability="process") as store:
        every = sessions // HOLDING_THE_WORD
        for number in range(sessions):
            word = WORD if number % every == 0 else "hay"
            texts = [text_of(f"session {number} message {index} {word} ") for index in range(MESSAGES)]
            store.add_messages(f"session-{number}", [{"role": "user", "content": text} for text in texts])
    return DefaultSessionStore(report.directory)


def _look(directory: str) -> None:
    with os.scandir(directory) as entries:
        _ = [entry.stat().st_mtime_ns for entry in entries if entry.name.endswith(".json")]


def _call(function: object, *arguments: object) -> None:
    assert callable(function)
    assert function(*arguments)
