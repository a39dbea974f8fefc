"""Turn a session id into a file name: injectively, so that two ids never share a file (D4, D8)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from ..errors import InvalidSessionIdError, shown

# The longest name made from a stem is "<stem>.json.<16 hex>.tmp" or "<stem>.json.<UTC time>.<n>"; both fit 255 bytes.
STEM_BYTES = 216
ID_CHARACTERS = 4096
_HASHED_PREFIX = 140

_PLAIN = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])", re.IGNORECASE | re.ASCII)


class SessionKey(NamedTuple):
    """Name one session: alice's and bob's `chat_001` differ in `namespace`, which is "" by default."""

    session_id: str
    namespace: str = ""


def key_of(session_id: object) -> SessionKey:
    """Return the key of an id, as plain text; a str Enum is its text. Raises InvalidSessionIdError."""
    if type(session_id) is not str:
        _checked(session_id)
        session_id = str.__str__(session_id)
    return SessionKey(session_id)


def file_stem(session_id: str) -> str:
    """
    Return the file name of an id, without its suffix.

    Args:
        session_id: 1 to 4,096 characters, any text UTF-8 can hold.
    Returns:
        The id itself if it is plain (letters, digits, ``_`` and ``-``), as PraisonAI names it; else each other byte
        as ``%XX``; else, where that is too long, a readable beginning, ``=`` and the SHA-256 of the id.
    Raises:
        InvalidSessionIdError: No text, empty, too long, or a lone surrogate.
    """
    return _stem(session_id) if type(session_id) is str else _encoded_stem(_checked(session_id))


@lru_cache(maxsize=256)
def _stem(session_id: str) -> str:
    if _PLAIN.fullmatch(session_id) and len(session_id) <= STEM_BYTES and not _RESERVED.fullmatch(session_id):
        return session_id
    return _encoded_stem(_checked(session_id))


def _checked(session_id: object) -> bytes:
    if not isinstance(session_id, str):
        raise InvalidSessionIdError(
            f"A session id is text, not {shown(session_id)}: pass str(...) of it.",
            session_id=session_id if isinstance(session_id, (int, float, bytes, type(None))) else shown(session_id),
        )
    if not session_id:
        raise InvalidSessionIdError("A session id has at least one character: pass a name.", session_id=session_id)
    if len(session_id) > ID_CHARACTERS:
        raise InvalidSessionIdError(
            f"A session id has at most {ID_CHARACTERS} characters, not {len(session_id)}: pass a shorter one.",
            session_id=session_id,
        )
    try:
        return session_id.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidSessionIdError(
            f"A session id is text that UTF-8 can hold; character {error.start} is a lone surrogate: remove it.",
            session_id=session_id,
        ) from error


def _encoded_stem(raw: bytes) -> str:
    stem = "".join(chr(byte) if _PLAIN.fullmatch(chr(byte)) else f"%{byte:02X}" for byte in raw)
    if _RESERVED.fullmatch(stem):
        # Windows opens a device for CON.json in any directory, so even a plain name of that kind is encoded.
        stem = f"%{raw[0]:02X}{stem[1:]}"
    if len(stem) > STEM_BYTES:
        import hashlib  # 3 ms that only a very long id pays

        stem = f"{stem[:_HASHED_PREFIX]}={hashlib.sha256(raw).hexdigest()}"
    return stem


def id_of_stem(stem: str) -> str | None:
    """Return the id a stem was made from, or None where only the file itself can tell (hashed or foreign names)."""
    raw = re.sub("%([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), stem)
    try:
        session_id = raw.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return None
    return session_id if session_id and file_stem(session_id) == stem else None
