"""`praison-store demo`: several processes write one session at once, and then it is proved that nothing was lost."""

from __future__ import annotations

import multiprocessing
import shlex
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise, product
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Annotated

import typer
from rich.text import Text

from ..errors import SessionNotFoundError
from ..model.message import Record
from ..model.session_id import file_stem
from ..store import DefaultSessionStore
from .demo_worker import append_messages
from .exit_codes import IncompleteError
from .messages import preview, role_style, transcript
from .options import AsJson
from .printing import cell, counted, grid, out, print_json, progress, when

_REFRESH_S = 0.05
_LAST_MESSAGES = 6


@dataclass
class Proof:
    """What a new store found of the messages that were acknowledged; `ok` when each is there once, in order."""

    directory: str
    session_id: str
    file: str
    workers: int
    messages_each: int
    seconds: float = 0.0
    found: int = 0
    in_window: int = 0
    in_archive: int = 0
    missing: int = 0
    repeated: int = 0
    out_of_order: int = 0
    failed_workers: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True when nothing was lost, repeated or damaged."""
        return not (self.missing or self.repeated or self.out_of_order or self.failed_workers or self.problems)


def demo(
    workers: Annotated[int, typer.Option(min=1, max=64, metavar="N", help="How many processes write.")] = 4,
    messages: Annotated[int, typer.Option(min=1, metavar="N", help="How many messages each of them stores.")] = 50,
    directory: Annotated[
        str | None, typer.Option("--dir", metavar="DIRECTORY", show_default=False,
                                 help="Where to write; else in a new temporary directory.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """
    See it work: processes write one session at once, and nothing is lost.

    Each process stores its messages one by one. Then a new store reads them all and proves that each is there
    exactly once and that each process's own order was kept.
    """
    directory = directory if directory is not None else tempfile.mkdtemp(prefix="praison-store-demo-")
    with DefaultSessionStore(directory) as store:
        session_id = _new_id(store)
        failed = _write(directory, session_id, workers, messages)
    with DefaultSessionStore(directory) as store:
        file = f"{store.session_dir}/{file_stem(session_id)}.json"
        proof = Proof(str(store.session_dir), session_id, file, workers, messages, failed_workers=failed)
        said = prove(store, proof)
    if as_json:
        print_json({**asdict(proof), "ok": proof.ok})
    else:
        _print(proof, said[-_LAST_MESSAGES:])
    if not proof.ok:
        raise IncompleteError(f"Something is wrong: {_verdict(proof)}")


def _new_id(store: DefaultSessionStore) -> str:
    session_id, number = "demo", 1
    while store.session_exists(session_id):
        number += 1
        session_id = f"demo-{number}"
    return session_id


def _write(directory: str, session_id: str, workers: int, messages: int) -> int:
    """Let the workers write, under a progress bar; return how many of them failed."""
    context = multiprocessing.get_context("spawn")
    start, done = context.Barrier(workers), context.Value("i", 0)
    processes: list[BaseProcess] = [
        context.Process(
            target=append_messages, args=(directory, session_id, worker, messages, start, done), daemon=True
        )
        for worker in range(1, workers + 1)
    ]
    try:
        with _deaf_to_ctrl_c():
            for process in processes:
                process.start()
        with progress(f"{counted(workers, 'worker')} writing", workers * messages, stays=True) as advance:
            while any(process.is_alive() for process in processes):
                wait([process.sentinel for process in processes if process.is_alive()], timeout=_REFRESH_S)
                if any(process.exitcode for process in processes):
                    start.abort()  # one that died before the start must not keep the others waiting for it
                advance(done.value)
            advance(done.value)
    finally:
        for process in processes:
            if process.pid is not None:
                process.terminate()
                process.join()
    return sum(process.exitcode != 0 for process in processes)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Let processes that are started here ignore Ctrl-C: it reaches the whole group, and ending them is our part."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def prove(store: DefaultSessionStore, proof: Proof) -> list[Record]:
    """Read archive and window with a store that wrote neither, fill in what is there, and return all messages."""
    try:
        _session, said, in_archive = transcript(store, proof.session_id)
    except SessionNotFoundError:
        said, in_archive = [], range(0)  # no worker stored anything
    marks = [(message["metadata"]["worker"], message["metadata"]["number"]) for message in said]
    times = Counter(marks)
    workers, numbers = range(1, proof.workers + 1), range(1, proof.messages_each + 1)
    expected = set(product(workers, numbers))
    proof.found, proof.in_archive = len(said), len(in_archive)
    proof.in_window = proof.found - proof.in_archive
    moments = [message["timestamp"] for message in said]
    proof.seconds = round(max(moments, default=0.0) - min(moments, default=0.0), 3)
    proof.missing = len(expected - times.keys())
    proof.repeated = len(said) - len(times)
    for worker in workers:
        own = [number for who, number in marks if who == worker]
        proof.out_of_order += sum(later <= earlier for earlier, later in pairwise(own))
    proof.problems = [f"{problem.path}: {problem.message}" for problem in store.check().problems]
    return said


def _verdict(proof: Proof) -> str:
    facts = (f"{proof.missing} missing", f"{proof.repeated} stored twice", f"{proof.out_of_order} out of order",
             f"{proof.failed_workers} workers failed", *proof.problems)
    return ", ".join(facts) + "."


def _print(proof: Proof, newest: list[Record]) -> None:
    console = out()
    table = grid("#", "Role", "Message", "Time", right=("#",))
    for number, message in enumerate(newest, proof.found - len(newest) + 1):
        role, moment = message["role"], when(message["timestamp"])
        table.add_row(str(number), cell(role, role_style(role)), Text(preview(message)), cell(moment, "dim"))
    if newest:
        console.print(f"The last {len(newest)} of {counted(proof.found, 'message')}:", style="bold")
        console.print(table)
    expected = proof.workers * proof.messages_each
    speed = f"{expected:,} messages within {proof.seconds:.2f} s"
    where = f"{proof.in_window:,} in the window, {proof.in_archive:,} archived"
    for is_good, claim in (
        (not proof.failed_workers, f"{proof.workers} processes stored {speed}"),
        (not proof.missing and not proof.repeated, f"each of the {expected:,} is there exactly once: {where}"),
        (not proof.out_of_order, "each process's own order was kept"),
        (not proof.problems, "check found no problem in the directory"),
    ):
        console.print("✓" if is_good else "✗", claim, style="green" if is_good else "bold red", soft_wrap=True)
    _print_next(proof)


def _print_next(proof: Proof) -> None:
    console = out()
    console.print(f"\nThe file: {proof.file}", soft_wrap=True)
    console.print("\nNext, try:", style="bold")
    where = f"--dir {shlex.quote(proof.directory)}"
    session = proof.session_id
    for command in (f"show {session} --last 5", "list", f"tail {session}", "search worker 2", "check"):
        console.print(f"  praison-store {command} {where}", style="cyan", soft_wrap=True)
