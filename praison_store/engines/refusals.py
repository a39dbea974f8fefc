"""The errors every engine raises in the same words."""

from __future__ import annotations

from ..errors import LeaseHeldError, RevisionConflictError
from ..model.session_id import SessionKey


def conflict(key: SessionKey, expected_revision: int, revision: int) -> RevisionConflictError:
    """Return the error of a write that expected another revision."""
    return RevisionConflictError(
        f"The session {key.session_id!r} is at revision {revision}, not {expected_revision}: read it again, then "
        f"change it.", session_id=key.session_id, expected_revision=expected_revision, revision=revision,
    )


def check_revision(key: SessionKey, revision: int, *, expected: int | None = None, least: int = 0) -> None:
    """Refuse a write to a session at another revision than expected, or at less than the least."""
    if expected is not None and revision != expected:
        raise conflict(key, expected, revision)
    if revision < least:
        raise conflict(key, least, revision)


def held(key: SessionKey, waited_s: float) -> LeaseHeldError:
    """Return the error of a lease that stayed another's."""
    return LeaseHeldError(
        f"Another holds the session {key.session_id!r}, for {waited_s:g} s while this one waited. Nothing was "
        f"written: try again, or wait longer.", session_id=key.session_id, waited_s=waited_s,
    )
