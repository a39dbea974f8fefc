"""Whatever a loss of power leaves, behind every call of every step, is whole and holds what was acknowledged (D1, D2, D5)."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from faults.crash_states import BEFORE, DEEDS, Judge, Life
from faults.disk_model import MODELS
from faults.operations import SUFFIXES

each_engine = pytest.mark.parametrize("engine", list(SUFFIXES))
each_model = pytest.mark.parametrize("model", MODELS)


def judge_all(tmp_path: Path, engine: str, model: str, durability: str, longest: int) -> int:
    """Judge every sequence of steps up to a length, from nothing and from a full session; return the states."""
    judge = Judge(tmp_path)
    lives = 0
    for count in range(1, longest + 1):
        for steps in itertools.product(DEEDS, repeat=count):
            for before in BEFORE:
                judge.judge_life(Life(engine, before, steps, durability, model))
                lives += 1
    print(f"{engine}, {durability}, {model}: {len(judge.seen)} distinct states of {lives} sequences of up to {longest}")
    return len(judge.seen)


@each_engine
@each_model
def test_D1_D2_D5_every_state_after_a_loss_of_power_is_legal(tmp_path: Path, engine: str, model: str) -> None:
    """
    Goal: `full` keeps every acknowledged write over a loss of power at any call, and nothing is ever half there.

    Method: each step, from nothing and from a full session, on a modelled disk; every directory a crash may leave
    behind each call, as far as the flushes allow it, is opened by a fresh store.
    """
    assert 100 < judge_all(tmp_path, engine, model, "full", 1)


@each_engine
def test_D1_D2_D5_every_state_is_legal_where_names_are_not_flushed(tmp_path: Path, engine: str) -> None:
    """Goal: `ordered` may miss the newest writes, and is whole. Method: as for `full`, on a journal that keeps order."""
    assert 100 < judge_all(tmp_path, engine, "ext4", "ordered", 1)


@pytest.mark.long
@each_engine
@each_model
def test_D1_D2_D5_every_state_of_three_steps_in_a_row_is_legal(tmp_path: Path, engine: str, model: str) -> None:
    """Goal and method: the short form's, with up to three steps in a row, power lost in the last one."""
    assert 1000 < judge_all(tmp_path, engine, model, "full", 3)


@pytest.mark.long
@each_engine
def test_D1_D2_D5_every_state_of_three_steps_is_legal_where_names_are_not_flushed(tmp_path: Path, engine: str) -> None:
    """Goal and method: the short form's, with up to three steps in a row."""
    assert 1000 < judge_all(tmp_path, engine, "ext4", "ordered", 3)
