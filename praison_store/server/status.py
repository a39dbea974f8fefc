"""The one table from what went wrong to the HTTP status a client sees. A test finds the error without a row."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import (
    CorruptSessionError,
    InvalidArgumentError,
    InvalidMessageError,
    InvalidSessionIdError,
    LeaseExpiredError,
    LeaseHeldError,
    LockTimeoutError,
    MissingExtraError,
    ModelCallError,
    OutcomeUnknownError,
    RevisionConflictError,
    SessionExistsError,
    SessionNotFoundError,
    SessionStoreError,
    StoreReadError,
    StoreWriteError,
    TableNotFoundError,
    UnsupportedOperationError,
)


class PreconditionError(Exception):
    """The session is not the one `If-Match` or `If-None-Match` names. Nothing was written."""


# Each row is the status and what is told. Messages of errors name paths and hosts, so only those of arguments, which
# are the client's own words, go out: their rows have no text.
STATUSES: Mapping[type[BaseException], tuple[int, str | None]] = {
    PreconditionError: (412, "The session is another by now, or there already: read it again."),
    InvalidArgumentError: (400, None),
    InvalidSessionIdError: (400, "This id can name no session here."),
    InvalidMessageError: (422, None),
    SessionNotFoundError: (404, "Session not found"),
    SessionExistsError: (409, "A session with this id exists and was left as it is."),
    RevisionConflictError: (409, "Somebody else wrote the session meanwhile: read it again."),
    LeaseHeldError: (423, "Another holds the session: try again."),
    LeaseExpiredError: (423, "The lease is another's by now. Nothing was written."),
    LockTimeoutError: (503, "Others kept writing the session. Nothing was written: try again."),
    CorruptSessionError: (500, "The session is damaged where it is stored; its bytes are kept."),
    StoreReadError: (503, "The store cannot be read."),
    StoreWriteError: (503, "Nothing was stored."),
    OutcomeUnknownError: (503, "Whether it was stored is not known: repeat it with the same message_id."),
    TableNotFoundError: (503, "The database is not ready."),
    UnsupportedOperationError: (501, "This kind of store cannot do that."),
    MissingExtraError: (501, "A package is not installed on the service."),
    ModelCallError: (502, "The agent did not answer. What was asked is kept."),
    SessionStoreError: (500, "The store failed."),
}


def status_of(error: BaseException) -> tuple[int, str]:
    """Return the status and the text of an error: the row of its class, else of the nearest class above it."""
    status, text = next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
    return status, str(error) if text is None else text
