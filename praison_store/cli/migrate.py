"""`praison-store migrate`: every session from one store into another, proven to have arrived."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from ..engines import Engine
from ..errors import InvalidArgumentError, SessionExistsError, SessionStoreError
from ..model import portable
from ..model.message import Record
from ..model.session import SessionData, SessionInfo
from ..model.session_id import SessionKey
from ..retention import policy_named
from .exit_codes import IncompleteError
from .options import AsJson, open_existing, open_or_make
from .printing import counted, out, print_json, progress, tell, warn

Whole = tuple[SessionData, list[Record]]
# Every message comes over, archived ones into the archive; how long a window may get is the choice of who writes next.
_POLICY = policy_named("archive", 10**9)


@dataclass
class Tally:
    """What a migration did so far: `in_place` was copied before, `left_out` is a file that is no readable session."""

    sessions: int = 0
    messages: int = 0
    in_place: int = 0
    differing: int = 0
    failed: int = 0
    left_out: int = 0


def migrate(
    source: Annotated[str, typer.Argument(metavar="FROM", help="A directory or a store's URL.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="A directory or a store's URL.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace sessions of TO that differ from those of FROM.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """
    Copy every session into another store.

    FROM is only read. Each session is read back from TO and compared. A run that was stopped is begun again by the
    same command: what has arrived is left as it is.

    Example: praison-store migrate ~/.praison/sessions postgresql://localhost/agents
    """
    if source == target:
        raise InvalidArgumentError("FROM and TO are the same store: name two.")
    tally = Tally()
    with open_existing(source, "FROM") as old, open_or_make(target) as new:
        infos = list(old.engine.find(namespace=None))
        tally.left_out = max(old.engine.count(namespace=None) - len(infos), 0)
        with progress("Copying", len(infos)) as advance:
            for number, info in enumerate(infos, 1):
                try:
                    _copy(old.engine, new.engine, info, overwrite, tally)
                except SessionStoreError as error:
                    tally.failed += 1
                    warn(f"{info.session_id!r} was not copied: {error}")
                advance(number)
        arrived = new.engine.count(namespace=None)
    if as_json:
        print_json({**asdict(tally), "found": len(infos), "in_target": arrived})
    else:
        _print(tally, len(infos), arrived)
    if tally.failed or tally.differing or tally.left_out:
        raise IncompleteError("Not everything was copied; the warnings above tell what was not.")


def _copy(old: Engine, new: Engine, info: SessionInfo, overwrite: bool, tally: Tally) -> None:
    """Copy one session and prove it; one that has arrived is left as it is."""
    key = SessionKey(info.session_id, info.namespace)
    wanted = old.whole(key)
    if wanted is None:
        return  # deleted since the store was listed
    there = new.whole(key)
    if there is not None and differences(wanted, there) == []:
        tally.in_place += 1
        return
    if there is not None and not overwrite:
        tally.differing += 1
        tell(f"{key.session_id!r} is in TO with other content and was left as it is; --overwrite replaces it.")
        return
    imported = portable.imported(portable.exported(*wanted, None))
    change = portable.become(imported, overwrite=overwrite)
    try:
        new.update(key, change, now_s=time.time(), policy=_POLICY, keep_archive=there is None)
    except SessionExistsError:
        there = new.whole(key)  # another migration runs beside this one
        if there is None or differences(wanted, there):
            raise
    found = new.whole(key)
    wrong = ["all of it"] if found is None else differences(wanted, found)
    if wrong:
        tally.failed += 1
        warn(f"{key.session_id!r} did not arrive as it was ({', '.join(wrong)}): run check on both stores.")
        return
    tally.sessions += 1
    tally.messages += len(wanted[0].messages) + len(wanted[1])


def differences(wanted: Whole, found: Whole) -> list[str]:
    """Return what of a session is not the same: messages in the order said, times, names, metadata."""
    names = ("session_id", "agent_name", "user_id", "created_at", "updated_at", "metadata", "context", "parent_id")
    wrong = [name for name in names if repr(getattr(wanted[0], name)) != repr(getattr(found[0], name))]
    if _transcript(wanted) != _transcript(found):
        wrong.append("messages")
    return wrong


def _transcript(whole: Whole) -> Sequence[str]:
    session, archived = whole
    return [repr(sorted(record.items())) for record in session.transcript(archived)[0]]


def _print(tally: Tally, found: int, arrived: int) -> None:
    facts = [f"Copied {counted(tally.sessions, 'session')} with {counted(tally.messages, 'message')}, each compared"]
    facts += [f"{tally.in_place:,} were there already"] if tally.in_place else []
    facts += [f"{tally.differing:,} differ and were left"] if tally.differing else []
    facts += [f"{tally.failed:,} failed"] if tally.failed else []
    facts += [f"{counted(tally.left_out, 'file')} left out"] if tally.left_out else []
    style = "yellow" if len(facts) > 1 + bool(tally.in_place) else "green"
    out().print(f"{', '.join(facts)}. FROM has {found:,}, TO has {arrived:,}.", style=style)
