"""A session's file cut off anywhere, or with any byte changed: never empty, never overwritten without a copy (D5)."""

from __future__ import annotations

from pathlib import Path

import pytest
from processes.workers import needs_fork, run_all

from faults.damage import FIRST_CALLS, TEXTS, contents_of, flipped, judge_all, make_session, quarantined
from faults.operations import add, open_store

each_call = pytest.mark.parametrize("first", list(FIRST_CALLS))


def every_byte(original: bytes, first: str) -> range:
    """Return the bytes to damage: all where the first call is a read or an append, else each fifth."""
    return range(0, len(original), 1 if first in ("history", "append") else 5)


@each_call
def test_D5_a_file_cut_off_at_any_byte_is_recovered_or_refused(tmp_path: Path, first: str) -> None:
    """Goal: a torn file is never an empty session. Method: truncate at every byte; each first call in turn."""
    original = make_session(tmp_path / "sound")
    verdicts = judge_all(tmp_path, (original[:size] for size in every_byte(original, first)), original, first)
    assert {"recovered", "refused", "valid"} >= set(verdicts)
    assert 0 < verdicts["recovered"]


@each_call
def test_D5_a_file_with_any_bit_flipped_is_recovered_or_refused(tmp_path: Path, first: str) -> None:
    """Goal: rotten bits never cost a message that is whole. Method: flip one bit of every byte, another each time."""
    original = make_session(tmp_path / "sound")
    damages = (flipped(original, index, 1 << index % 8) for index in every_byte(original, first))
    judge_all(tmp_path, damages, original, first)


@pytest.mark.long
@each_call
def test_D5_a_file_with_any_byte_changed_is_recovered_or_refused(tmp_path: Path, first: str) -> None:
    """Goal and method: the short form's, with every bit of every byte, and each byte as NUL, quote and newline."""
    original = make_session(tmp_path / "sound")
    judge_all(tmp_path, (original[:size] for size in range(len(original))), original, first)
    bits = ((index, 1 << bit) for index in range(len(original)) for bit in range(8))
    judge_all(tmp_path, (flipped(original, index, mask) for index, mask in bits), original, first)
    for byte in b'\0"\n{}[],':
        damages = (original[:index] + bytes([byte]) + original[index + 1 :] for index in range(len(original)))
        judge_all(tmp_path, (raw for raw in damages if raw != original), original, first)


@each_call
def test_D5_a_file_with_a_block_of_zeros_is_recovered_or_refused(tmp_path: Path, first: str) -> None:
    """Goal: what a power cut leaves. Method: zeros from every 20th byte on, to the end and for 64 bytes."""
    original = make_session(tmp_path / "sound")
    starts = range(0, len(original), 20)
    to_the_end = [original[:start] + bytes(len(original) - start) for start in starts]
    inside = [original[:start] + bytes(64) + original[start + 64 :] for start in starts if start + 64 < len(original)]
    judge_all(tmp_path, [*to_the_end, *inside], original, first)


@needs_fork
def test_D3_D5_a_damaged_file_read_and_written_by_many_at_once_is_repaired_once(tmp_path: Path) -> None:
    """
    Goal: a repair is a turn like any other.

    Method: 4 processes read and 4 write a torn file, all at the same moment; nothing is lost, the copy is kept.
    """
    make_session(tmp_path)
    path = tmp_path / "one.json"
    raw = path.read_bytes()[:-10]
    for _ in range(5):
        path.write_bytes(raw)
        readers = [(read_once, (str(tmp_path),))] * 4
        writers = [(write_once, (str(tmp_path), f"writer-{number}")) for number in range(4)]
        for contents in run_all([*readers, *writers])[:4]:
            assert TEXTS[:2] == contents[:2]
        with open_store(tmp_path, max_messages=100) as store:
            assert {*TEXTS[:2], *(f"writer-{number}" for number in range(4))} == set(contents_of(store))
            assert 6 == len(contents_of(store))
            assert [] == store.check().problems
        assert raw in list(quarantined(tmp_path))


def read_once(directory: str) -> list[str]:
    """Read the session; in a process of its own."""
    with open_store(Path(directory), max_messages=100) as store:
        return contents_of(store)


def write_once(directory: str, content: str) -> None:
    """Append one message; in a process of its own."""
    with open_store(Path(directory), max_messages=100, lock_timeout=60.0) as store:
        add("one", content)(store)
