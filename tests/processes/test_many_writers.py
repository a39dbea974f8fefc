"""Many processes append to one session: every message is there exactly once, in its writer's order (D3)."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable

import pytest

from praison_store import DefaultSessionStore
from processes.workers import (
    DEADLINE_S,
    Job,
    append_numbered,
    append_with_praisonai,
    assert_all_there,
    needs_fork,
    needs_praisonai,
    print_waits,
    run_all,
)

MakeStore = Callable[..., DefaultSessionStore]
STARTS = [start for start in ("fork", "spawn", "forkserver") if start in multiprocessing.get_all_start_methods()]
# So long that only a hang or a starved writer is refused, however busy the machine is.
PATIENT = {"lock_timeout": DEADLINE_S}


def write_from(make_store: MakeStore, start: str, processes: int, count: int, **options: object) -> None:
    """Let `processes` append `count` messages each to one session, and count them."""
    store = make_store(**options)
    writers = [f"writer-{number}" for number in range(processes)]
    given = {**PATIENT, **options}
    jobs = [(append_numbered, (store.session_dir, ["shared"], writer, count, given)) for writer in writers]
    took_s = run_all(jobs, start=start)
    print_waits(f"{start}, {processes} processes x {count}, {options}", took_s)
    assert_all_there(store, "shared", writers, count)


@pytest.mark.parametrize("start", STARTS)
def test_D3_sixteen_processes_on_one_session_lose_nothing(make_store: MakeStore, start: str) -> None:
    """Goal: turns across processes, however started. Method: 16 x 25 messages, window and archive counted."""
    write_from(make_store, start, 16, 25)


@pytest.mark.long
@pytest.mark.parametrize("start", STARTS)
def test_D3_sixteen_processes_on_one_session_lose_nothing_at_length(make_store: MakeStore, start: str) -> None:
    """Goal and method: the short form's, with 16 x 250 messages."""
    write_from(make_store, start, 16, 250)


@pytest.mark.parametrize("durability", ["ordered", "process"])
@needs_fork
def test_D3_writers_that_flush_less_take_turns_too(make_store: MakeStore, durability: str) -> None:
    """Goal: turns do not rest on a flush. Method: 8 x 50 messages with a small window, so that much is archived."""
    write_from(make_store, "fork", 8, 50, durability=durability, max_messages=8)


@needs_fork
def test_D3_many_more_writers_than_processors_are_all_served(make_store: MakeStore) -> None:
    """Goal: nobody starves or is refused. Method: 24 processes x 10 messages."""
    write_from(make_store, "fork", 24, 10)


@pytest.mark.long
@needs_fork
def test_D3_sixty_four_writers_are_all_served(make_store: MakeStore) -> None:
    """Goal: nobody starves or is refused. Method: 64 processes x 25 messages, with the default lock_timeout."""
    write_from(make_store, "fork", 64, 25, lock_timeout=5.0)


def write_beside_praisonai(make_store: MakeStore, ours: int, theirs: int, count: int, **options: object) -> None:
    """Let processes of our store and of PraisonAI's append to one session, and count the messages of both."""
    store = make_store(**options)
    our_writers = [f"ours-{number}" for number in range(ours)]
    their_writers = [f"theirs-{number}" for number in range(theirs)]
    given = {**PATIENT, **options}
    jobs: list[Job] = [
        *((append_numbered, (store.session_dir, ["shared"], writer, count, given)) for writer in our_writers),
        *((append_with_praisonai, (store.session_dir, "shared", writer, count)) for writer in their_writers),
    ]
    took_s = run_all(jobs, start="fork")
    print_waits(f"ours beside PraisonAI's, {ours} x {count}, {options}", took_s[:ours])
    print_waits(f"PraisonAI's beside ours, {theirs} x {count}", took_s[ours:])
    store.set_agent_info("shared", "Assistant")  # whatever layout they left, ours comes back with a write
    assert_all_there(store, "shared", [*our_writers, *their_writers], count)


@needs_praisonai
@needs_fork
def test_D3_ours_and_praisonais_processes_share_a_session(make_store: MakeStore) -> None:
    """Goal: one lock for both stores. Method: 8 of ours and 8 of theirs, 25 messages each, all kept in the window."""
    write_beside_praisonai(make_store, 8, 8, 25, retention="keep_all")


@pytest.mark.long
@needs_praisonai
@needs_fork
def test_D3_ours_and_praisonais_processes_share_a_session_at_length(make_store: MakeStore) -> None:
    """Goal and method: the short form's, with 250 messages each."""
    write_beside_praisonai(make_store, 8, 8, 250, retention="keep_all")


@needs_praisonai
@needs_fork
def test_D3_what_ours_archived_survives_praisonais_writes(make_store: MakeStore) -> None:
    """
    Goal: an archive is not lost when another store drops the field that counts it.

    Method: 4 of ours, which archive from a window of 8 messages on, beside 2 of theirs.
    """
    write_beside_praisonai(make_store, 4, 2, 25, max_messages=8)
