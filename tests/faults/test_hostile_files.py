"""What no store wrote stands in a session's or a lease's place: never empty, never overwritten, never a crash (D5)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.damage import FIRST_CALLS, judge, make_session
from faults.hostile_bytes import HOSTILE
from praison_store import CorruptSessionError
from praison_store.engines import Engine
from praison_store.engines.json_files import JsonFilesEngine
from praison_store.engines.jsonl import JsonlEngine
from praison_store.model.session_id import SessionKey

KEY = SessionKey("one")
# Sessions all the same, for any reader of JSON.
VALID = {"a byte order mark", "UTF-16", "an endless fraction", "a lone surrogate", "Windows' line ends",
         "old Mac line ends", "one line too few"}


@pytest.mark.parametrize("first", FIRST_CALLS)
def test_D5_a_file_of_anything_is_recovered_or_refused(tmp_path: Path, first: str) -> None:
    """Goal: no file looks like an empty session. Method: the table of bytes no store wrote, each call first."""
    original = make_session(tmp_path / "sound")
    verdicts = {}
    for number, (what, make) in enumerate(HOSTILE.items()):
        print(what)
        directory = tmp_path / str(number)
        shutil.copytree(tmp_path / "sound", directory)
        verdicts[what] = judge(directory, original, make(original), first)
    assert VALID == {what for what, verdict in verdicts.items() if verdict == "valid"}


@pytest.mark.parametrize("kind", [JsonFilesEngine, JsonlEngine])
def test_D5_a_damaged_lease_is_refused_and_no_generation_goes_down(tmp_path: Path, kind: type[Engine]) -> None:
    """Goal: an old holder never gets its generation back. Method: the table in the place of a lease at generation 3."""
    engine = JsonFilesEngine(str(tmp_path)) if kind is JsonFilesEngine else JsonlEngine(str(tmp_path))
    leases = [engine.claim(KEY, "holder", 0.0) for _ in range(3)]
    assert [1, 2, 3] == [lease and lease.generation for lease in leases]
    (_, _, lease) = leases
    assert lease is not None
    (place,) = (tmp_path / ".leases").iterdir()
    sound = place.read_bytes()
    for what, make in {**HOSTILE, **{f"cut at {size}": _cut(size) for size in range(len(sound))}}.items():
        print(what)
        raw = make(sound)
        place.write_bytes(raw)
        for call in (lambda: engine.claim(KEY, "another", 9.0), lambda: engine.renew(lease, 9.0),
                     lambda: engine.release(lease)):
            try:
                answer = call()
            except CorruptSessionError:
                assert raw == place.read_bytes(), "a damaged lease was overwritten"
                continue
            assert isinstance(answer, bool | None) or answer.generation >= 3, what
            place.write_bytes(raw)
    engine.close()


def _cut(size: int) -> Callable[[bytes], bytes]:
    return lambda raw: raw[:size]
