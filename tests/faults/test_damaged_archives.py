"""An archive cut off, changed or gone: what is whole is returned, the window goes on, nothing new is lost (D5)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from processes.workers import needs_praisonai

from faults.damage import contents_of, flipped
from faults.hostile_bytes import HOSTILE
from faults.operations import BRIM, add, open_store
from praison_store import DefaultSessionStore

OLD = [f"old-{number}" for number in range(2 * BRIM + 1)]
NEW = [f"new-{number}" for number in range(6)]


def archived_contents(store: DefaultSessionStore) -> list[Any]:
    """Return the contents of the archive."""
    return [message.content for message in store.get_archived_messages("one")]


def make_archive(directory: Path) -> tuple[Path, bytes]:
    """Make a session with an archive, and `other`; return the archive and its bytes."""
    with open_store(directory, durability="process") as store:
        add("one", *OLD)(store)
        add("other", *OLD)(store)
    archive = directory / ".archive" / "one.jsonl"
    return archive, archive.read_bytes()


def whole_lines(raw: bytes) -> list[Any]:
    """Return the contents of the lines any reader of JSON can decode; an archive's title has none."""
    contents = []
    for line in raw.split(b"\n"):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "content" in record:
            contents.append(record["content"])
    return contents


def judge_archive(tmp_path: Path, number: int, damaged: bytes) -> None:
    """Put damaged bytes in the archive's place: reads serve what is whole; writes go on and lose nothing."""
    directory = tmp_path / str(number)
    shutil.copytree(tmp_path / "sound", directory)
    archive = directory / ".archive" / "one.jsonl"
    counted_bytes = archive.stat().st_size
    archive.write_bytes(damaged)
    damaged = damaged[:counted_bytes]  # what stands behind was never acknowledged
    with open_store(directory, durability="process") as store:
        assert OLD[-4:] == contents_of(store)
        assert [*whole_lines(damaged), *OLD[-5:-4]] == [content for content in archived_contents(store) if content]
        assert ["other"] == [hit.session_id for hit in store.search("old-1", limit=9) if hit.session_id == "other"]
        assert 2 == len(store.list_sessions())
        add("one", *NEW)(store)
        assert NEW[-4:] == contents_of(store)
        found = [*archived_contents(store), *contents_of(store)]
        assert [*OLD[-5:], *NEW] == found[-11:], "lost a new message"
        missing = [content for content in whole_lines(damaged) if content not in found]
        assert [] == missing, "lost what was whole"
    shutil.rmtree(directory)


def test_D5_an_archive_cut_off_at_any_byte_costs_only_what_was_cut(tmp_path: Path) -> None:
    """Goal: half a line at the end spoils no line to come. Method: truncate anywhere, read, and write on."""
    _, raw = make_archive(tmp_path / "sound")
    for size in [*range(0, len(raw), 3), *range(len(raw) - 5, len(raw))]:
        judge_archive(tmp_path, size, raw[:size])


def test_D5_an_archive_with_any_byte_changed_costs_only_that_line(tmp_path: Path) -> None:
    """Goal: rotten bits in an archive break no read and no write. Method: flip a bit of each third byte."""
    _, raw = make_archive(tmp_path / "sound")
    for index in range(0, len(raw), 3):
        judge_archive(tmp_path, index, flipped(raw, index, 1 << index % 8))


@pytest.mark.long
def test_D5_an_archive_damaged_anywhere_costs_only_what_was_damaged(tmp_path: Path) -> None:
    """Goal and method: the short forms', at every byte and with every bit."""
    _, raw = make_archive(tmp_path / "sound")
    for index in range(len(raw)):
        judge_archive(tmp_path, index, raw[:index])
        for bit in range(8):
            judge_archive(tmp_path, index, flipped(raw, index, 1 << bit))


def test_D5_an_archive_of_anything_breaks_nothing(tmp_path: Path) -> None:
    """Goal: as for a changed byte. Method: the table of bytes no store wrote, each in the archive's place."""
    _, raw = make_archive(tmp_path / "sound")
    for number, (what, make) in enumerate(HOSTILE.items()):
        print(what)
        judge_archive(tmp_path, number, make(raw))


def test_D5_an_archive_that_is_gone_is_told_of_and_breaks_nothing(tmp_path: Path) -> None:
    """Goal: the window is served without it. Method: remove it; check() names it; writes go on."""
    archive, _ = make_archive(tmp_path)
    archive.unlink()
    with open_store(tmp_path) as store:
        assert [".archive/one.jsonl"] == [problem.path for problem in store.check().problems]
        assert OLD[-5:-4] == archived_contents(store)
        add("one", *NEW)(store)
        assert [*OLD[-5:], *NEW] == [*archived_contents(store), *contents_of(store)]


def test_D5_a_damaged_line_may_move_to_the_archive_and_breaks_nothing(tmp_path: Path) -> None:
    """
    Goal: an append, which decodes no old line, may carry a damaged one into the archive; the others stay readable.

    Method: damage a line of the window, append until it left, without any read before.
    """
    with open_store(tmp_path, durability="process") as store:
        add("one", *OLD[:4])(store)
    path = tmp_path / "one.json"
    path.write_bytes(path.read_bytes().replace(b'"content":"old-1"', b'"content"x"old-1"'))
    with open_store(tmp_path, durability="process") as store:
        for content in OLD[4:]:
            store.add_user_message("one", content)
        found = [*archived_contents(store), *contents_of(store)]
        assert [content for content in OLD if content != "old-1"] == [c for c in found if c != "old-1"]
        assert "old-2" in [row["content"] for row in store.window("one", 0)]
        assert ["one"] == [hit.session_id for hit in store.search("old-2")]
        kept = [raw for raw in tmp_path.rglob("*") if raw.is_file() and b'"content"x"old-1"' in raw.read_bytes()]
        assert kept, "the damaged bytes are gone"


def test_D5_a_message_that_looks_like_a_title_is_a_message(tmp_path: Path) -> None:
    """Goal: no field of a message hides it in the archive. Method: a field named like the one of the title."""
    with open_store(tmp_path, durability="process") as store:
        store.add_messages("one", [{"role": "user", "content": content, "archive_of": "one"} for content in OLD])
        assert OLD == [*archived_contents(store), *contents_of(store)]


@pytest.mark.parametrize("tail", [b'{"role":"user","content":"unfinish', b'{"role":"user"', b"\0" * 50, b"\n\n"])
@needs_praisonai
def test_D3_D5_an_unfinished_move_and_another_store_spoil_no_line(tmp_path: Path, tail: bytes) -> None:
    """
    Goal: what a killed writer left behind the archive is not glued to the next line, though nobody counts it any more.

    Method: an unfinished tail; PraisonAI's store writes the session and drops our count; ours goes on.
    """
    archive, _ = make_archive(tmp_path)
    with archive.open("ab") as file:
        file.write(tail)
    path = tmp_path / "one.json"
    session = json.loads(path.read_bytes())
    theirs = {name: session[name] for name in ("session_id", "messages", "created_at", "updated_at", "metadata")}
    path.write_text(json.dumps(theirs, indent=2), encoding="utf-8")
    with open_store(tmp_path) as store:
        add("one", *NEW)(store)
        assert [*OLD, *NEW] == [*archived_contents(store), *contents_of(store)]


def test_D5_a_deleted_archive_does_not_come_back_with_another_stores_session(tmp_path: Path) -> None:
    """
    Goal: what was deleted or cleared stays so, though the process died before it removed the archive.

    Method: leave an archive without a session, let another store make one of that id, and read.
    """
    make_archive(tmp_path)
    path = tmp_path / "one.json"
    path.unlink()
    theirs = {"session_id": "one", "created_at": "2026-01-02T04:00:00+00:00"}
    path.write_text(json.dumps({**theirs, "messages": [{"role": "user", "content": "anew"}]}), "utf-8")
    with open_store(tmp_path) as store:
        assert ["anew"] == contents_of(store)
        assert [] == archived_contents(store)
