"""Replacing a file's bytes is whole even where writers take no turns, as on disks that do not share locks (D1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from praison_store.disk import atomic
from processes.workers import needs_fork, run_all

PIECE_BYTES, PIECES = 40_000, 5


def replace_again_and_again(path: str, letter: str, count: int, durability: str) -> None:
    """Replace a file by bytes of one letter, in several pieces."""
    for _ in range(count):
        pieces = [letter.encode() * PIECE_BYTES] * PIECES
        atomic.replace_bytes(path, pieces, durability=durability)[0].close()


@needs_fork
@pytest.mark.parametrize(("durability", "count"), [("process", 150), ("full", 20)])
def test_D1_writers_without_turns_never_mix_their_bytes(tmp_path: Path, durability: str, count: int) -> None:
    """
    Goal: each write has a temporary file of its own, so that nobody renames another's half into place.

    Method: 4 processes replace one file at once, each by its own letter; 2 more read it in between their writes.
    """
    path = str(tmp_path / "file")
    replace_again_and_again(path, "z", 1, durability)
    jobs = [(replace_again_and_again, (path, letter, count, durability)) for letter in "abcd"]
    readers = [(read_beside, (path, letter, count, durability)) for letter in "ef"]
    print("rounds of reading:", run_all([*jobs, *readers])[4:])
    assert ["file"] == [name.name for name in tmp_path.iterdir()]


def read_beside(path: str, letter: str, count: int, durability: str) -> int:
    """Replace the file now and then, and read it in between."""
    rounds = 0
    for _ in range(count):
        replace_again_and_again(path, letter, 1, durability)
        for _ in range(5):
            raw = Path(path).read_bytes()
            whole = raw[:1] * (PIECE_BYTES * PIECES)
            assert whole == raw, f"a mixture, or a part: {len(raw)} bytes, {sorted(set(raw))}"
            rounds += 1
    return rounds
