"""The ids most likely to go wrong, and thousands made of them; and a life with any number of ids in one directory."""

from __future__ import annotations

import random
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from praison_store import DefaultSessionStore, InvalidSessionIdError
from praison_store.model.session_id import file_stem

HOSTILE = [
    # leads out of the directory
    "..", "../x", "../../etc/passwd", "..\\x", "a/../../b", "/etc/passwd", "//x", "C:\\x", "C:x", "\\\\host\\share",
    "%2e%2e%2f", "%2E", "..%2f", "~", "~root", "~/x", "$HOME", "`x`", "a\0b", "\0", "file:///x", "./x", "x/.", "a/b/c",
    # looks like one of our own names
    ".", ".archive", ".archive/s", ".quarantine", ".leases", "@x", "@", "s.json", "s.json.lock", "s.lock", "s.tmp",
    "s.jsonl", "s.json.0123456789abcdef.tmp", ".json", "json", "s.JSON", "s.json/", "tmpabc.tmp", "a=b", "=", "a%3Db",
    # what a file system may fold or refuse
    "CON", "con", "Con", "PRN", "AUX", "NUL", "nul", "COM1", "com9", "LPT1", "lpt9", "COM0", "CON.json", "con.txt",
    "CONIN$", "CLOCK$", "a.", "a..", "a ", " a", "a\t", " ", "a:b", "a:$DATA", "a*b", "a?b", 'a"b', "a<b>c", "a|b",
    # plain ids with edges
    "-", "-a", "--help", "_", "__init__", "0", "a", "A", "ab", "AB", "aB", "a_b", "a b", "a-b", "a.b", "a/b", "a\\b",
    # characters
    "\n", "a\nb", "\r\n", "\x7f", "\x1b[31m", "é", "e\u0301", "\u212b", "\u00c5", "ﬁ", "fi", "ß", "SS", "ss",
    "İ", "\u0131", "i", "I",
    "日本語", "👩‍👩‍👧", "🏳️‍🌈", "\u202eabc", "\u200b", "\ufeff", "\u2028", "مرحبا", "שלום", "\U0010ffff", "\uffff",
    "%", "%%", "%00", "%41", "%C3%A9", "a%", "%zz", "+", "&", "#", "'", ";", "a,b", "{}", "[x]", "null",
    # lengths
    "a" * 215, "a" * 216, "a" * 217, "a" * 255, "a" * 1000, "a" * 4096, "é" * 36, "é" * 37, "é" * 4096, "👩" * 1000,
    "/" * 72, "/" * 73, "x" * 4095 + "y", "x" * 4095 + "z", "A" * 1000, "../" * 300, "a" * 216 + ".json",
]

_CHANGES: list[Callable[[str], str]] = [
    str.upper, str.lower, str.title, str.swapcase, str.casefold,
    *(lambda text, form=form: unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")),
    lambda text: text[::-1], lambda text: f"../{text}", lambda text: f"{text}/", lambda text: f"{text}.json",
    lambda text: f".{text}", lambda text: f"{text} ", lambda text: text * 3,
]
_ALPHABETS = ("abAB", "aA-_0", "./\\", "\0\n\t ", "éÉe\u0301\u0300", "ß\u017fsSK\u212a", "İ\u0131iI", "日本👩\u200d", "%2fF=", "con.")


def generated(count: int, seed: int) -> list[str]:
    """Return that many different ids: the corpus in other cases, forms and company, and texts of dangerous letters."""
    chance = random.Random(seed)
    ids = dict.fromkeys(HOSTILE)
    while len(ids) < count:
        if chance.random() < 0.5:
            text = chance.choice(_CHANGES)(chance.choice(HOSTILE))
        else:
            text = "".join(chance.choices(chance.choice(_ALPHABETS), k=chance.randint(1, 12)))
        if 0 < len(text) <= 4096:
            ids[text] = None
    return list(ids)[:count]


def those_that_fold(ids: Sequence[str]) -> list[str]:
    """Return the ids whose files a folding file system cannot tell apart, and some of the others."""
    stems = Counter(file_stem(name).casefold() for name in ids)
    return [name for number, name in enumerate(ids) if stems[file_stem(name).casefold()] > 1 or not number % 6]


def live_with_ids(directory: str, ids: Sequence[str], engine: str = "json_files") -> dict[str, list[str]]:
    """
    Give every id a session of three messages, two of them archived; read all back, list them, delete them.

    Args:
        engine: `json_files` or `jsonl`.

    Returns:
        The ids that were refused because the file of another stands there, and those of which anything went wrong.
    """
    refused, wrong = [], []
    db = None if engine == "json_files" else f"jsonl://{directory}"

    def new_store() -> DefaultSessionStore:
        return DefaultSessionStore(None if db else directory, 1, durability="process", db=db)

    with new_store() as store:
        for name in ids:
            try:
                for number in range(3):
                    store.add_user_message(name, f"{number} of {name!r}")
            except InvalidSessionIdError:
                refused.append(name)
    taken = [name for name in ids if name not in set(refused)]
    with new_store() as store:
        for name in taken:
            archived = [message.content for message in store.get_archived_messages(name)]
            shown = [message["content"] for message in store.get_chat_history(name)]
            if [f"{number} of {name!r}" for number in range(3)] != archived + shown:
                wrong.append(f"{name!r} has {archived + shown}")
        for name in refused:
            for call in (store.get_chat_history, store.get_archived_messages, store.clear_session, store.delete_session):
                try:
                    wrong.append(f"{name!r} was answered: {call(name)}")
                except InvalidSessionIdError:
                    continue
        if sorted(taken) != sorted(row["session_id"] for row in store.list_sessions(len(ids) + 1)):
            wrong.append("the listing is another one")
        wrong += [] if db else [str(problem) for problem in store.check().problems]
        wrong += [f"{name!r} was not deleted" for name in taken if not store.delete_session(name)]
        wrong += [f"{path} is left" for path in Path(directory).rglob("*.json*") if path.suffix != ".lock"]
    return {"refused": refused, "wrong": wrong}


@contextmanager
def _folding(directory: Path) -> Iterator[Path]:
    """Show a directory through a file system that folds case and normal forms."""
    below, shown_at = directory / "below", directory / "shown"
    below.mkdir()
    shown_at.mkdir()
    program = str(Path(__file__).with_name("folding_mount.py"))
    with subprocess.Popen([sys.executable, program, str(below), str(shown_at)], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            assert b"mounted\n" == server.stdout.readline()
            yield shown_at
        finally:
            subprocess.run(["umount", str(shown_at)], check=False)
            server.kill()


def live_with_folded_ids(directory: str, *, count: int, seed: int, engine: str) -> dict[str, Any]:
    """Live with the ids that fold, of so many, on a file system that folds them; in the mounted process."""
    ids = those_that_fold(generated(count, seed))
    with _folding(Path(directory)) as shown_at:
        (shown_at / "Probe").touch()
        assert (shown_at / "pROBE").exists(), "this file system folds nothing"
        return {**live_with_ids(str(shown_at / "sessions"), ids, engine), "ids": len(ids)}
