"""What the directory of JSON files tells and keeps in cases that whole stores reach rarely."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from praison_store import DefaultSessionStore

MakeStore = Callable[..., DefaultSessionStore]


def test_vacuum_removes_a_lease_that_was_never_finished(make_store: MakeStore, session_dir: str) -> None:
    """Goal: a holder killed in the middle of a claim leaves nothing for good. Method: its temporary file."""
    store = make_store()
    store.add_user_message("s", "hello")
    leases = Path(session_dir) / ".leases"
    leases.mkdir()
    (leases / "s.json.0123456789abcdef.tmp").write_bytes(b"{")
    assert [".leases/s.json.0123456789abcdef.tmp"] == store.vacuum().removed
    assert [] == list(leases.iterdir())


def test_D5_an_archive_whose_last_line_is_torn_has_one_damaged_message(make_store: MakeStore, session_dir: str) -> None:
    """Goal: a check counts what is lost. Method: the archive's last bytes are others, its length stays."""
    store = make_store(check_at_end=False, max_messages=2)
    for number in range(4):
        store.add_user_message("s", f"hello {number}")
    assert [] == store.check().problems
    path = Path(session_dir) / ".archive" / "s.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b" ")
    assert [("D5", ".archive/s.jsonl", 1)] == [(found.code, found.path, found.lost) for found in store.check().problems]


def test_a_session_that_another_store_keeps_under_another_name_is_told(
    make_store: MakeStore, session_dir: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Goal: who looks for it learns where it is. Method: the file PraisonAI writes for an id; another id's stays untold."""
    store = make_store(check_at_end=False)
    twin = Path(session_dir) / "a_b.json"
    for stored_id, told in (("a/b", 1), ("a:b", 0)):
        twin.write_text(json.dumps({"session_id": stored_id, "messages": []}))
        caplog.clear()
        with caplog.at_level(logging.WARNING, "praison_store"):
            assert [] == store.get_chat_history("a/b")
        assert told == sum("adopt it" in record.getMessage() for record in caplog.records), stored_id


@pytest.mark.parametrize("metadata", [b'"metadata":{"kept":1}', b'"metadata":{}'])
def test_D5_a_repaired_session_keeps_its_metadata(make_store: MakeStore, session_dir: str, metadata: bytes) -> None:
    """Goal: a repair loses nothing that was whole. Method: damage behind a header with metadata."""
    store = make_store()
    store.add_user_message("s", "hello")
    path = Path(session_dir) / "s.json"
    path.write_bytes(path.read_bytes().replace(b'"metadata":{}', metadata, 1)[:-3])
    store.invalidate_cache()
    assert store.add_user_message("s", "again")
    kept = store.get_session("s").metadata
    assert ("kept" in kept) == (b"kept" in metadata)
    assert kept["recovered_from"].startswith(".quarantine/s.json.")
