"""Many processes that write to one session at once, and what became of their messages."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from . import floor
from .harness import Timing
from .stores import SESSION, Kind, text_of

CONTEXT: ForkServerContext = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["benchmarks.preload"])
WRITING_DEADLINE_S = 60.0
JOINING_DEADLINE_S = 300.0
_WHO_DIGITS = 12


@dataclass
class Outcome:
    """
    What many writers of one session got done.

    Shape: a message is `acknowledged` or `refused` (the call raised or said no) or `untried` (the writer ran out of
    time); an acknowledged one that is not in the store at the end is `lost`. `waits` holds the time of every call.
    """

    acknowledged: int = 0
    lost: int = 0
    twice: int = 0
    refused: int = 0
    untried: int = 0
    span_ns: int = 0
    waits: Timing = field(default_factory=Timing)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def per_second(self) -> float:
        """Acknowledged messages a second, while anybody wrote."""
        return self.acknowledged / (self.span_ns / 1e9)

    def add(self, other: Outcome) -> None:
        """Count another run in."""
        for name in ("acknowledged", "lost", "twice", "refused", "untried", "span_ns"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.waits.samples_ns += other.waits.samples_ns
        self.reasons += other.reasons


class Floor:
    """The floor as a store: it writes as many bytes as our full window has, and keeps no message apart."""

    def __init__(self, directory: Path, *, durability: str, size_bytes: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path, self._durability, self._content = f"{directory}/{SESSION}.json", durability, b"x" * size_bytes

    def add(self, _text: str) -> None:
        """Write the bytes."""
        floor.replace_bytes(self._path, self._content, self._durability)

    def history(self) -> None:
        """Read nothing."""

    def fill(self, texts: Sequence[str]) -> None:
        """Fill nothing."""

    def texts(self) -> list[str]:
        """Hold nothing."""
        return []

    def close(self) -> None:
        """Close nothing."""


def write_at_once(
    kind: Kind, directory: Path, *, writers: int, messages: int, filled: int = 0, pause_s: float = 0.0
) -> Outcome:
    """
    Let processes write to one session, all starting at once, and count what is in the store when they are done.

    Args:
        messages: how many each of them writes.
        filled: how many messages stand in the session before.
        pause_s: how long each writer does something else between two messages, on average.
    """
    directory.mkdir(parents=True)
    store = kind.open(directory)
    store.fill([text_of(f"message {number} ") for number in range(filled)])
    store.close()
    start = CONTEXT.Barrier(writers)
    pipes = [CONTEXT.Pipe(duplex=False) for _ in range(writers)]
    workers = [
        CONTEXT.Process(target=_write, args=(kind, directory, number, messages, pause_s, start, pipe[1]), daemon=True)
        for number, pipe in enumerate(pipes)
    ]
    for worker in workers:
        worker.start()
    reports = []
    for receiver, sender in pipes:
        sender.close()
        assert receiver.poll(JOINING_DEADLINE_S), f"a writer of {kind.name} never came back"
        reports.append(receiver.recv())
    finished(workers)
    return _counted(kind, directory, reports, writers * messages)


def finished(workers: Sequence[Any]) -> None:
    """Wait for processes of ours to end."""
    for worker in workers:
        worker.join(JOINING_DEADLINE_S)
        assert worker.exitcode == 0, f"a process ended with {worker.exitcode}"


def _write(
    kind: Kind, directory: Path, writer: int, messages: int, pause_s: float, start: Any, result: Connection
) -> None:
    calls: list[tuple[str, int, str]] = []
    began_ns = ended_ns = 0
    try:
        store = kind.open(directory)
    except Exception as error:  # noqa: BLE001 - a peer may raise anything; then each of its messages is refused
        start.wait()
        calls = [(_who(writer, number), 0, type(error).__name__) for number in range(messages)]
    else:
        start.wait()
        began_ns = time.perf_counter_ns()
        for number in range(messages):
            who, reason = _who(writer, number), ""
            if pause_s:
                time.sleep(2 * pause_s * random.random())
            before_ns = time.perf_counter_ns()
            if before_ns - began_ns > WRITING_DEADLINE_S * 1e9:
                break
            try:
                store.add(text_of(who))
            except Exception as error:  # noqa: BLE001 - a peer may raise anything; it counts as refused
                reason = type(error).__name__
            calls.append((who, time.perf_counter_ns() - before_ns, reason))
        ended_ns = time.perf_counter_ns()
    result.send((began_ns, ended_ns, calls))


def _who(writer: int, number: int) -> str:
    return f"{writer}-{number} ".ljust(_WHO_DIGITS)


def _counted(kind: Kind, directory: Path, reports: list[tuple[int, int, list[Any]]], sent: int) -> Outcome:
    began = [began_ns for began_ns, _, _ in reports if began_ns]
    calls = [call for _, _, calls in reports for call in calls]
    acknowledged = [who for who, _, reason in calls if not reason]
    outcome = Outcome(
        acknowledged=len(acknowledged), refused=len(calls) - len(acknowledged), untried=sent - len(calls),
        span_ns=max(max(ended_ns for _, ended_ns, _ in reports) - min(began), 1) if began else 1,
        waits=Timing([taken_ns for _, taken_ns, _ in calls]), reasons=Counter(reason for *_, reason in calls if reason),
    )
    if kind.opened is not Floor:
        stored = Counter(_stored(kind, directory, outcome))
        outcome.lost = sum(1 for who in acknowledged if not stored[who])
        outcome.twice = sum(1 for who in acknowledged if stored[who] > 1)
    return outcome


def _stored(kind: Kind, directory: Path, outcome: Outcome) -> list[str]:
    try:
        store = kind.open(directory)
        texts = store.texts()
        store.close()
    except Exception as error:  # noqa: BLE001 - a peer's file may be damaged by now; then nothing can be read from it
        outcome.reasons[f"unreadable at the end: {type(error).__name__}"] += 1
        return []
    return [text[:_WHO_DIGITS] for text in texts]
