"""D4 on a file system that takes `A` and `a` for one name: the second id is refused, and never served the first's."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))
from faults.mounted import run_mounted, skip_without
from hostile_ids import generated, live_with_ids, those_that_fold

from praison_store.model.session_id import file_stem

each_engine = pytest.mark.parametrize("engine", ["json_files", "jsonl"])


def live_folded(tmp_path: Path, count: int, engine: str) -> None:
    """Live with the ids that fold, of so many; those refused are the ones whose file another had first, no others."""
    skip_without(devices=("/dev/fuse",), file_system="fuse")
    seed = random.randrange(2**32)
    outcome = run_mounted(":", "hostile_ids", "live_with_folded_ids", tmp_path, deadline_s=60.0 + count / 10,
                          count=count, seed=seed, engine=engine)
    print(f"seed {seed}: {outcome['ids']} ids, {len(outcome['refused'])} refused")
    assert [] == outcome["wrong"]
    first: set[str] = set()
    second = []
    for name in those_that_fold(generated(count, seed)):
        stem = file_stem(name).casefold()
        if stem in first:
            second.append(name)
        first.add(stem)
    assert second == outcome["refused"]


@each_engine
def test_D4_ids_that_fold_to_one_name_never_share_a_session(tmp_path: Path, engine: str) -> None:
    """Goal: as on macOS and Windows. Method: ids of the corpus through a FUSE mount that folds and normalises."""
    live_folded(tmp_path, 220, engine)


@pytest.mark.long
@each_engine
def test_D4_thousands_of_ids_that_fold_never_share_a_session(tmp_path: Path, engine: str) -> None:
    """Goal and method: the short form's, of 5,000 ids."""
    live_folded(tmp_path, 5000, engine)


def live_plainly(tmp_path: Path, count: int, engine: str) -> None:
    """Live with so many ids on this machine's own file system."""
    seed = random.randrange(2**32)
    print(f"seed {seed}: {count} ids")
    outcome = live_with_ids(str(tmp_path / "sessions"), generated(count, seed), engine)
    assert {"refused": [], "wrong": []} == outcome


@each_engine
def test_D4_hundreds_of_ids_have_sessions_of_their_own(tmp_path: Path, engine: str) -> None:
    """Goal: the corpus forgot nothing. Method: 250 ids made of it, each with a window and an archive."""
    live_plainly(tmp_path, 250, engine)


@pytest.mark.long
@each_engine
def test_D4_ten_thousand_ids_have_sessions_of_their_own(tmp_path: Path, engine: str) -> None:
    """Goal and method: the short form's, with 10,000."""
    live_plainly(tmp_path, 10_000, engine)
