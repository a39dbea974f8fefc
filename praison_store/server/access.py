"""Whose request it is: bearer tokens, kept as hashes in a file, and what their users may reach."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass

from ..errors import InvalidArgumentError, StoreReadError, shown
from ..model.session_id import file_stem

ADMIN = "admin"
_LINE = re.compile(r"(\S+)\s+sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Who:
    """
    Who asks.

    Shape: `user` is None where nobody is known; `is_admin` sees everything. Without tokens everybody is that.
    """

    user: str | None
    is_admin: bool


EVERYBODY = Who(None, is_admin=True)


def new_token() -> str:
    """Return a token nobody can guess."""
    return secrets.token_urlsafe(32)


def line_of(user: str, token: str) -> str:
    """
    Return what the token file says of a token; the token itself is not in it.

    Raises:
        InvalidArgumentError: The name has a space, or starts a comment.
    """
    if not user or user.startswith("#") or re.search(r"\s", user):
        raise InvalidArgumentError(f"A user is a name without spaces, not {shown(user)}: pass one.")
    file_stem(user)
    # The token is 32 random bytes, which no dictionary holds: a slow hash would protect nothing more.
    return f"{user} sha256:{hashlib.sha256(token.encode()).hexdigest()}\n"


class Tokens:
    """
    The tokens of a file, read again when it changes.

    Promise: a token whose line was taken out ends with the next request, whatever else stands in the file.
    Raises:
        InvalidArgumentError: A line is none; it is named by its number. StoreReadError: The file cannot be read.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._rows: list[tuple[bytes, Who]] = []
        wrong = self.refresh()
        if wrong:
            raise InvalidArgumentError(
                f"{path}, line {wrong[0]}: a line is a user and sha256:<64 digits>: `praison-store token` makes one.")

    @property
    def users(self) -> list[str]:
        """Return the names of the users that are no admin."""
        return list(dict.fromkeys(who.user for _, who in self._rows if who.user is not None))

    def refresh(self) -> list[int]:
        """Read the file where it changed; return the numbers of lines that are none. Raises StoreReadError."""
        try:
            state = os.stat(self._path)
            stamp = (state.st_mtime_ns, state.st_size, state.st_ino)
            if stamp == self._stamp:
                return []
            with open(self._path, encoding="utf-8") as file:
                lines = file.read().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            cause = error if isinstance(error, OSError) else None
            message = f"The token file {self._path} cannot be read: see that it is there and is text."
            raise StoreReadError(message, path=self._path, cause=cause) from error
        rows, wrong = [], []
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.startswith("#"):
                continue
            found = _LINE.fullmatch(line.strip())
            if found is None:
                wrong.append(number)
                continue
            who = Who(None, is_admin=True) if found[1] == ADMIN else Who(found[1], is_admin=False)
            rows.append((bytes.fromhex(found[2]), who))
        self._rows, self._stamp = rows, stamp
        return wrong

    def who(self, authorization: str | None) -> Who | None:
        """Return whose token an Authorization header holds; None for nobody's. As long for every token."""
        scheme, _, token = (authorization or "").partition(" ")
        digest = hashlib.sha256(token.strip().encode("utf-8", "replace")).digest()
        found: Who | None = None
        for known, who in self._rows:
            # Not left at the first that fits, so that the time tells nothing of the others.
            if hmac.compare_digest(known, digest):
                found = who
        return found if scheme.lower() == "bearer" else None
