"""A log cut off anywhere, or with any byte changed: no acknowledged message goes without a word (D5)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from faults.damage import flipped, judge_all
from faults.damaged_logs import LOG_CALLS, judge_log, make_log
from faults.hostile_bytes import HOSTILE

each_call = pytest.mark.parametrize("first", list(LOG_CALLS))


def some_bytes(original: bytes) -> list[int]:
    """Return every 29th byte, all where the last mark begins, and the last newline."""
    mark = original.rindex(b'{"log":"write"')
    return sorted({*range(0, len(original), 29), *range(mark - 1, mark + 17), len(original) - 1})


@pytest.mark.parametrize("first", ["history", "append"])
def test_D5_a_log_cut_off_anywhere_keeps_what_was_acknowledged(tmp_path: Path, first: str) -> None:
    """Goal: what stands in front of a mark is there. Method: truncate at some bytes; read, or append, first."""
    original = make_log(tmp_path / "sound")
    verdicts = judge_all(tmp_path, (original[:size] for size in some_bytes(original)), original, first, judge_log)
    assert {"as it was", "never written"} == set(verdicts)


@pytest.mark.parametrize("first", ["history", "append"])
def test_D5_a_log_with_a_bit_flipped_keeps_what_was_acknowledged(tmp_path: Path, first: str) -> None:
    """Goal: rotten bits cost the line they are in. Method: flip a bit of some bytes, or make it a newline, in turn."""
    original = make_log(tmp_path / "sound")
    places = some_bytes(original)
    damages = [flipped(original, index, 1 << index % 8) for index in places]
    damages += [original[:index] + b"\n" + original[index + 1 :] for index in places[::2]]
    assert 0 < judge_all(tmp_path, damages, original, first, judge_log)["recovered"]


@pytest.mark.long
@each_call
def test_D5_a_log_with_any_byte_changed_keeps_what_was_acknowledged(tmp_path: Path, first: str) -> None:
    """Goal and method: the short forms', at every byte."""
    original = make_log(tmp_path / "sound")
    judge_all(tmp_path, (original[:size] for size in range(len(original))), original, first, judge_log)
    for turn in range(2):
        bits = ((index, 1 << (index + 3 * turn) % 8) for index in range(len(original)))
        judge_all(tmp_path, (flipped(original, index, mask) for index, mask in bits), original, first, judge_log)
    for byte in b'\0"\n':
        damages = (original[:index] + bytes([byte]) + original[index + 1 :] for index in range(len(original)))
        judge_all(tmp_path, (raw for raw in damages if raw != original), original, first, judge_log)


@each_call
def test_D5_a_log_of_anything_is_recovered_or_refused(tmp_path: Path, first: str) -> None:
    """Goal: no file looks like an empty session. Method: the table of bytes no store wrote, each call first."""
    original = make_log(tmp_path / "sound")
    for what, make in HOSTILE.items():
        print(what)
        verdict = judge_log(_again(tmp_path), original, make(original), first)
        assert verdict != "never written" or what == "empty"  # an empty log is one whose first write is to come


def _again(tmp_path: Path) -> Path:
    directory = tmp_path / "damaged"
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(tmp_path / "sound", directory)
    return directory


def test_D5_a_mark_that_points_to_a_wrong_place_is_repaired_once(tmp_path: Path) -> None:
    """Goal: the damage is mended, not served anew with each read. Method: change where the window begins."""
    original = make_log(tmp_path / "sound")
    for place in (b'"window_at":1', b'"head":'):
        index = original.rindex(place) + len(place)
        assert "recovered" == judge_log(_again(tmp_path), original, flipped(original, index, 1), "history")
        assert list((tmp_path / "damaged" / ".quarantine").iterdir())
