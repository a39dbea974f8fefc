"""Bytes that a fuzzer grew by what the readers do with them: answered or refused, and read as anybody reads them (D5)."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from faults.damage import make_session
from faults.damaged_logs import make_log
from faults.hostile_bytes import HOSTILE

PROGRAM = Path(__file__).with_name("fuzzed_readers.py")
READERS = 12


def grow(tmp_path: Path, runs: int, deadline_s: float) -> None:
    """Let the fuzzer make so many inputs of a sound file, a log, and what else may stand in their place."""
    if find_spec("atheris") is None:
        print("atheris is not installed")
        pytest.skip("atheris is not installed")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for sound in (make_session(tmp_path / "files"), make_log(tmp_path / "logs")):
        for number, make in enumerate((lambda raw: raw, *HOSTILE.values())):
            raw = make(sound)
            if len(raw) <= 4096:
                reader = number % READERS if number else 0
                for first in range(READERS) if not number else (reader,):
                    (corpus / f"{len(list(corpus.iterdir()))}").write_bytes(bytes([first]) + raw)
    seed = random.randrange(1, 2**31)
    command = [sys.executable, str(PROGRAM), str(corpus), f"-runs={runs}", f"-seed={seed}", "-max_len=4096", "-timeout=20",
               f"-artifact_prefix={tmp_path}/", "-print_final_stats=1"]
    # In memory where there is some to be had: a repair flushes what it keeps, thousands of times here.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as place:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=deadline_s, check=False, cwd=place)
    print(*[line for line in ended.stderr.splitlines() if "cov:" in line or line.startswith("stat::")][-9:], sep="\n")
    assert 0 == ended.returncode, f"{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"


def test_D5_readers_answer_or_refuse_what_a_fuzzer_grew(tmp_path: Path) -> None:
    """Goal: no bytes crash a reader or are read otherwise than they are. Method: atheris, 300 inputs."""
    grow(tmp_path, 300, 240.0)


@pytest.mark.long
def test_D5_readers_answer_or_refuse_a_hundred_thousand_inputs(tmp_path: Path) -> None:
    """Goal and method: the short form's, with 100,000 inputs."""
    grow(tmp_path, 100_000, 3600.0)
