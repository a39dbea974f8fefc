"""The power of real disks is cut at random moments: what was acknowledged is there, as `durability` says (D2)."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from faults.mounted import run_mounted, skip_without

# On memory, because a flush of the disk below would only take time: what the loop device was given is what is there.
ON_MEMORY = 'mount -t tmpfs -o size=600m none "$1"'
ENGINES = ("json_files", "jsonl", "sqlite")
LONG_CUTS = {"ext4": 200, "xfs": 100}
each_engine = pytest.mark.parametrize("engine", ENGINES)
each_kind = pytest.mark.parametrize("kind", LONG_CUTS)


def cut(tmp_path: Path, kind: str, engine: str, durability: str, cuts: int, **options: str) -> dict[str, Any]:
    """Cut the power of a disk of a kind so often, print what became of it, and return it."""
    skip_without(programs=(f"mkfs.{kind}", "losetup"), file_system=kind)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    outcome: dict[str, Any] = run_mounted(
        ON_MEMORY, "faults.power_cuts", "cut_many", tmp_path, deadline_s=30.0 + cuts,
        kind=kind, engine=engine, durability=durability, cuts=cuts, seed=seed, **options,
    )
    print(f"{engine}, {durability}, {kind} {' '.join(options.values())}: {outcome}")
    return outcome


def assert_nothing_lost(outcome: dict[str, Any]) -> None:
    """Every acknowledged message is there, nothing is torn, and no temporary file stays."""
    assert (0, {}, []) == (outcome["lost"], outcome["torn"], outcome["left"])
    assert outcome["cuts"] < outcome["acknowledged"]


@each_engine
def test_D2_full_survives_cuts_of_power(tmp_path: Path, engine: str) -> None:
    """Goal: acknowledged is on the disk. Method: 4 cuts on ext4, at rest and in the middle of a write."""
    assert_nothing_lost(cut(tmp_path, "ext4", engine, "full", 4))


@pytest.mark.long
@each_kind
@each_engine
def test_D2_full_survives_hundreds_of_cuts_of_power(tmp_path: Path, engine: str, kind: str) -> None:
    """Goal and method: the short form's, 200 cuts on ext4 and 100 on XFS."""
    assert_nothing_lost(cut(tmp_path, kind, engine, "full", LONG_CUTS[kind]))


def test_D2_ordered_is_never_torn_by_a_cut_of_power(tmp_path: Path) -> None:
    """Goal: a session is whole, though it may miss its newest messages. Method: as with `full`."""
    assert {} == cut(tmp_path, "ext4", "json_files", "ordered", 4)["torn"]


@pytest.mark.long
@each_kind
@pytest.mark.parametrize("engine", ENGINES[:2])
def test_D2_ordered_is_never_torn_by_hundreds_of_cuts_of_power(tmp_path: Path, engine: str, kind: str) -> None:
    """Goal and method: the short form's, also where ext4 is told to flush no file before its rename."""
    assert {} == cut(tmp_path, kind, engine, "ordered", LONG_CUTS[kind])["torn"]
    if kind == "ext4":
        (tmp_path / "again").mkdir()
        again = cut(tmp_path / "again", kind, engine, "ordered", LONG_CUTS[kind], mounted_with="noauto_da_alloc")
        assert {} == again["torn"]


@pytest.mark.long
@each_kind
@pytest.mark.parametrize("engine", ENGINES[:2])
def test_D2_process_is_told_of_what_a_cut_of_power_took(tmp_path: Path, engine: str, kind: str) -> None:
    """Goal: what no promise covers is known. Method: as with `full`; lost and torn are counted, and both happen."""
    outcome = cut(tmp_path, kind, engine, "process", LONG_CUTS[kind])
    assert 0 < outcome["lost"]


@pytest.mark.parametrize(("broken", "shown_by"), [("no flush", "torn_cuts"), ("no directory flush", "losing_cuts")])
def test_D2_cuts_of_power_tell_a_store_that_does_not_flush(tmp_path: Path, broken: str, shown_by: str) -> None:
    """
    Goal: the harness is worth something.

    Method: a store whose flushes, or flushes of directories, do nothing is caught; on an ext4 that does not flush a
    file by itself before its rename.
    """
    outcome = cut(tmp_path, "ext4", "json_files", "full", 6, broken=broken, mounted_with="noauto_da_alloc")
    assert 0 < outcome[shown_by]
    assert 0 < outcome["lost"]
