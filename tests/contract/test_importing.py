"""What an import or a fork brings along as archived goes to the archive, in every engine and under any policy."""

from __future__ import annotations

import pytest
from places import ALL, ARCHIVE, KEY, NOW_S, TRUNCATE, archived, say, texts

from praison_store import SessionMessage
from praison_store.engines import Change, Engine
from praison_store.model.message import new_record
from praison_store.model.session import SessionData


def bring(messages: str, past: str) -> Change:
    """Return the change an import makes: these messages, and those archived ones."""

    def change(session: SessionData) -> None:
        session.messages = [SessionMessage("user", text, NOW_S) for text in messages]
        session.extra["archived_messages"] = [new_record("user", text, NOW_S) for text in past]
        session.leading_messages = 0

    return change


@pytest.mark.parametrize("policy", [ALL, ARCHIVE, TRUNCATE], ids=["keep_all", "archive", "truncate"])
def test_D9_an_import_brings_its_archive(engine: Engine, policy: object) -> None:
    """Goal: lossless. Method: a new session with two archived messages; read back, go on, read again."""
    engine.update(KEY, bring("cd", "ab"), now_s=NOW_S, policy=policy)  # type: ignore[arg-type] # any of three
    assert (["a", "b"], ["c", "d"]) == (archived(engine), texts(engine))
    say(engine, "e", policy=policy)
    left = {id(ALL): "", id(ARCHIVE): "c", id(TRUNCATE): ""}[id(policy)]
    assert list("ab" + left) == archived(engine)


def test_D9_an_import_over_an_archive_takes_its_place(engine: Engine) -> None:
    """Goal: nothing of the old session stays. Method: import over a session that has an archive, and go on."""
    for text in "abcd":
        say(engine, text, policy=ARCHIVE)
    assert ["a", "b"] == archived(engine)
    engine.update(KEY, bring("gh", "ef"), now_s=NOW_S, policy=ARCHIVE, keep_archive=False)
    assert (["e", "f"], ["g", "h"]) == (archived(engine), texts(engine))
    for text in "ij":
        say(engine, text, policy=ARCHIVE)
    assert (["e", "f", "g", "h"], ["i", "j"]) == (archived(engine), texts(engine))
