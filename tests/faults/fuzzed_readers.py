"""
Run as a program: send bytes that a fuzzer grew through every reader of files, answers and imports.

Arguments: those of libFuzzer. The first byte of an input says which reader gets the rest. A reader may refuse with the
errors it names; whatever else it raises, and whatever it reads otherwise than the standard library does, is a finding.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore] # no types, and no wheel for every system

with atheris.instrument_imports(include=["praison_store"]):
    from praison_store import DefaultSessionStore, SessionStoreError
    from praison_store.codec import document, lines, salvage
    from praison_store.engines import http_document, json_leases, jsonl_format
    from praison_store.engines.http_wire import Answer
    from praison_store.model import portable
    from praison_store.model.session_id import SessionKey, id_of_stem

KEY = SessionKey("one")
_place = Path("place").absolute()  # whoever runs this cleans up the directory it runs in


def _as_json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


# ---- without a file -------------------------------------------------------------------------------------------


def read_our_layout(raw: bytes) -> None:
    """Take a file of ours apart; what is read is what the standard library reads."""
    file = lines.parse(raw)
    if file is None:
        return
    try:
        header, records = file.header(), file.records()
    except ValueError:
        return
    whole = _as_json(raw)
    if whole is not None:
        assert repr(whole["messages"]) == repr(records), "other messages than the standard library reads"
        assert header["session_id"] == whole["session_id"]
    assert len(records) == file.count
    assert raw == file.bytes_whole()


def read_head(raw: bytes) -> None:
    """Read a file's first line alone."""
    try:
        lines.parse_head(raw)
    except ValueError:
        return


def read_any_layout(raw: bytes) -> None:
    """Decode a document of anybody's."""
    try:
        read = document.decode(raw)
    except ValueError:
        return
    whole = _as_json(raw)
    assert whole is not None
    assert repr(whole["messages"]) == repr(read.records)


def read_damaged(raw: bytes) -> None:
    """Save what is whole of a file."""
    assert all(isinstance(record, dict) for record in salvage.salvage(raw).records)


def read_archive(raw: bytes) -> None:
    """Read an archive's lines, and whose it is."""
    records, damaged = document.archived_records(raw)
    assert len(records) + damaged <= raw.count(b"\n") + 1
    document.is_archive_of(raw, {"session_id": "one", "created_at": ""})


def read_log(raw: bytes) -> None:
    """Replay a log, and look for its marks."""
    contents = jsonl_format.replay(raw)
    for entry in [*contents.window, *contents.archive]:
        assert raw[entry.at : entry.at + len(entry.line)] == entry.line
        jsonl_format.record_of(entry.line)
    jsonl_format.newest_mark(raw)
    mark = jsonl_format.last_mark(raw, 0)
    assert mark is None or raw[mark.at : mark.end].endswith(b"\n")
    jsonl_format.is_unfinished(raw, 0)


def read_answer(raw: bytes) -> None:
    """Read the answer of a service."""
    try:
        http_document.stored_of(Answer(200, '"1"', raw), KEY, "http://127.0.0.1/")
    except SessionStoreError:
        return


def read_import(raw: bytes) -> None:
    """Read what somebody exported."""
    payload = _as_json(raw)
    if isinstance(payload, dict):
        try:
            portable.imported(payload)
        except SessionStoreError:
            return


def read_name(raw: bytes) -> None:
    """Read a file's name as an id."""
    id_of_stem(os.fsdecode(raw))


# ---- from a file ----------------------------------------------------------------------------------------------


def _put(name: str, raw: bytes) -> None:
    for path in [*(_place / ".quarantine").glob("*"), *_place.glob("one.*")]:
        path.unlink()
    path = _place / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(raw)


def _use(store: DefaultSessionStore) -> None:
    for call in (
        lambda: store.get_chat_history("one"), lambda: store.get_archived_messages("one"),
        lambda: store.add_user_message("one", "new"), lambda: store.get_session("one"), store.list_sessions,
    ):
        try:
            call()
        except SessionStoreError:
            continue


def read_session_file(raw: bytes) -> None:
    """Read, write and list a session whose file holds the bytes."""
    _put("one.json", raw)
    with DefaultSessionStore(_place, 4, durability="process") as store:
        _use(store)


def read_session_log(raw: bytes) -> None:
    """Read, write and list a session whose log holds the bytes."""
    _put("one.jsonl", raw)
    with DefaultSessionStore(db=f"jsonl://{_place}", max_messages=4, durability="process") as store:
        _use(store)


def read_lease(raw: bytes) -> None:
    """Read a lease's file."""
    _put(".leases/one.json", raw)
    try:
        json_leases.row_of(str(_place / "one.json"))
    except SessionStoreError:
        return


READERS: list[Callable[[bytes], None]] = [
    read_our_layout, read_head, read_any_layout, read_damaged, read_archive, read_log, read_answer, read_import,
    read_name, read_session_file, read_session_log, read_lease,
]


def read(data: bytes) -> None:
    """Give an input to the reader its first byte names."""
    if data:
        READERS[data[0] % len(READERS)](data[1:])


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    atheris.Setup(sys.argv, read)
    atheris.Fuzz()
