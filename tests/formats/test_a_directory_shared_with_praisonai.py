"""One directory, two stores: PraisonAI's rewrites a file without the fields it does not know; nothing of ours is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from praisonaiagents.session.store import DefaultSessionStore as PraisonStore  # type: ignore[import-untyped] # it has no types

from praison_store import DefaultSessionStore

LIMIT = 4


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[DefaultSessionStore]:
    """Give a store of ours with a window of four; its check is clean at the end."""
    with DefaultSessionStore(tmp_path, LIMIT, durability="process") as store:
        yield store
        assert [] == store.check().problems


@pytest.fixture
def theirs(tmp_path: Path) -> PraisonStore:
    """Give PraisonAI's store on the same directory, which lets nothing go by itself."""
    return PraisonStore(session_dir=str(tmp_path), retention="keep_all")


def shown(store: DefaultSessionStore) -> list[object]:
    """Return the contents of the window."""
    return [message["content"] for message in store.get_chat_history("s")]


def left(store: DefaultSessionStore) -> list[object]:
    """Return the contents of what left the window."""
    return [message.content for message in store.get_archived_messages("s")]


def test_D9_messages_of_both_stores_are_kept_once_and_in_order(ours: DefaultSessionStore, theirs: PraisonStore) -> None:
    """Goal: PraisonAI's writes cost us no archived message. Method: take turns, and compare after each write."""
    said: list[str] = []
    for number in range(40):
        said.append(str(number))
        if number % 3 == 2:
            assert theirs.add_user_message("s", said[-1])
        else:
            assert ours.add_user_message("s", said[-1])
        assert (said[-LIMIT:], said[:-LIMIT]) == (shown(ours), left(ours))


def test_a_session_praisonai_deleted_and_began_anew_has_no_old_message(
    ours: DefaultSessionStore, theirs: PraisonStore, tmp_path: Path
) -> None:
    """Goal: what was deleted stays deleted. Method: an archive of ours, their delete, their and our new messages."""
    for number in range(9):
        ours.add_user_message("s", f"secret {number}")
    assert theirs.delete_session("s")
    assert ([], []) == (shown(ours), left(ours))
    assert theirs.add_user_message("s", "new 0")
    assert (["new 0"], []) == (shown(ours), left(ours))
    for number in range(1, 9):
        ours.add_user_message("s", f"new {number}")
        assert theirs.set_agent_info("s", agent_name="agent")
        assert [] == [text for text in [*shown(ours), *left(ours)] if "secret" in str(text)]
    assert [f"new {number}" for number in range(5)] == left(ours)
    assert b"secret" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_session_we_began_anew_after_praisonai_deleted_it_has_no_old_message(
    ours: DefaultSessionStore, theirs: PraisonStore
) -> None:
    """Goal: the same where we are first. Method: their delete, our message, their rewrite that drops our fields."""
    for number in range(9):
        ours.add_user_message("s", f"secret {number}")
    theirs.delete_session("s")
    ours.add_user_message("s", "new")
    theirs.add_user_message("s", "theirs")
    assert (["new", "theirs"], []) == (shown(ours), left(ours))


def test_what_praisonai_archived_in_its_file_stays_in_front(tmp_path: Path) -> None:
    """Goal: its "compact" retention and our archive make one record. Method: it compacts, then we archive."""
    theirs = PraisonStore(session_dir=str(tmp_path), max_messages=LIMIT, retention="compact")
    for number in range(7):
        theirs.add_user_message("s", f"theirs {number}")
    with DefaultSessionStore(tmp_path, LIMIT, durability="process") as ours:
        archived = [f"theirs {number}" for number in range(4)]
        assert archived == left(ours)
        assert "[Session Summary]" in str(shown(ours)[0])
        for number in range(9):
            ours.add_user_message("s", f"ours {number}")
        assert [*archived, "theirs 4", "theirs 5", "theirs 6"] == left(ours)[:7]
        assert "[Session Summary]" in str(shown(ours)[0])
        assert ["ours 6", "ours 7", "ours 8"] == shown(ours)[1:]
        assert theirs.add_user_message("s", "theirs again")
        assert "theirs again" == shown(ours)[-1]
        assert archived == left(ours)[:4]
        texts = {f"theirs {number}" for number in range(7)} | {f"ours {number}" for number in range(9)}
        assert texts <= {str(text) for text in [*left(ours), *shown(ours)]}


def test_revisions_never_go_down_beside_praisonai(ours: DefaultSessionStore, theirs: PraisonStore) -> None:
    """Goal: an ETag of ours never comes back. Method: revisions after writes in turns."""
    seen = [0]
    for number in range(12):
        (theirs if number % 2 else ours).add_user_message("s", str(number))
        seen.append(ours.get_session("s").revision)
    assert sorted(set(seen)) == seen


def test_a_write_of_praisonai_keeps_what_it_knows_of_ours(
    ours: DefaultSessionStore, theirs: PraisonStore, tmp_path: Path
) -> None:
    """Goal: metadata, names, tools and the checkpoint cross both ways. Method: ours, then a write of theirs."""
    ours.add_message("s", "assistant", "", {"k": 1}, [{"id": "1"}])
    ours.add_message("s", "tool", "r", tool_call_id="1")
    ours.set_agent_info("s", "agent", "user")
    ours.rename_session("s", "A title")
    ours.append_compaction_checkpoint("s", "sum")
    before = ours.get_session("s")
    theirs.add_user_message("s", "theirs")
    after = ours.get_session("s")
    assert before.messages == after.messages[:-1]
    for name in ("agent_name", "user_id", "metadata", "created_at", "last_compaction"):
        assert getattr(before, name) == getattr(after, name)
    assert ours.get_working_history("s") == theirs.get_working_history("s")
    assert json.loads((tmp_path / "s.json").read_text())["metadata"]["title"] == "A title"
