"""What every adapter stands on: all messages of a session, edited by several processes at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage

from praison_store import DefaultSessionStore
from praison_store.integrations.llama_index import PraisonChatStore
from praison_store.integrations.transcript import Transcript

PLACES: dict[str, Callable[[Path], Any]] = {
    "files": str, "jsonl": lambda path: f"jsonl://{path}", "sqlite": lambda path: f"sqlite:///{path / 'x.db'}", "memory": lambda _path: "memory://",
}


@pytest.mark.parametrize("place", list(PLACES))
def test_D3_an_edit_of_a_session_begun_anew_meanwhile_loses_nothing(place: str, tmp_path: Path) -> None:
    """Goal: no acknowledged message is lost, and none that was deleted comes back. Method: another deletes and begins anew inside the edit, to the same revision."""
    url = PLACES[place](tmp_path)
    store = DefaultSessionStore(tmp_path) if place == "files" else DefaultSessionStore(db=url)
    store.add_user_message("s", "old")
    transcript, tried = Transcript("s", store), []

    def edit(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        tried.append([record["content"] for record in records])
        if len(tried) == 1:
            store.delete_session("s")
            store.add_user_message("s", "new")
        return [{"role": "user", "content": "first"}, *records]

    transcript.change(edit)
    assert [["old"], ["new"]] == tried
    assert ["first", "new"] == [record["content"] for record in transcript.records()]
    PraisonChatStore(store).add_message("s", ChatMessage(role="user", content="zero"), 0)
    assert ["zero", "first", "new"] == [record["content"] for record in transcript.records()]
    store.close()
