"""The one table from what went wrong to the exit code a script sees. A house test finds the error without a row."""

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

DONE = 0


class IncompleteError(Exception):
    """The command came to its end, but not everything is well: problems remain, or a file was skipped."""


# Each row is the code and what it means, in a few words for `praison-store --help`. 2 is also every misspelt option's;
# 130 and 141 are what a shell expects of Ctrl-C and of a pipe whose reader has gone.
EXIT_CODES: Mapping[type[BaseException], tuple[int, str]] = {
    IncompleteError: (1, "finished, but problems remain or something was skipped"),
    InvalidArgumentError: (2, "the command line, an id or a message cannot be meant"),
    InvalidSessionIdError: (2, "the command line, an id or a message cannot be meant"),
    InvalidMessageError: (2, "the command line, an id or a message cannot be meant"),
    SessionNotFoundError: (3, "there is no such session"),
    SessionExistsError: (4, "the session exists and was left as it is"),
    RevisionConflictError: (5, "somebody else wrote the session meanwhile"),
    LeaseHeldError: (6, "another writer kept the session locked too long"),
    LeaseExpiredError: (5, "somebody else wrote the session meanwhile"),
    TableNotFoundError: (8, "the directory or a file in it is missing or cannot be read"),
    LockTimeoutError: (6, "another writer kept the session locked too long"),
    CorruptSessionError: (7, "a file is damaged and nothing of it can be saved"),
    StoreReadError: (8, "the directory or a file in it is missing or cannot be read"),
    StoreWriteError: (9, "nothing could be written; the old session is whole"),
    OutcomeUnknownError: (10, "written, but not proven to outlive a loss of power"),
    UnsupportedOperationError: (11, "this kind of store cannot do that"),
    MissingExtraError: (12, "an optional package is not installed"),
    ModelCallError: (15, "an agent's model did not answer"),
    OSError: (13, "a file outside the store cannot be read or written"),
    SessionStoreError: (14, "any other error of the store"),
    KeyboardInterrupt: (130, "stopped by Ctrl-C"),
    BrokenPipeError: (141, "the reader of the output has gone"),
}


def exit_code_of(error: BaseException) -> int:
    """Return the exit code of an error: the row of its class, else of the nearest class above it."""
    return next(EXIT_CODES[kind][0] for kind in type(error).__mro__ if kind in EXIT_CODES)


def meanings() -> dict[int, str]:
    """Return what each exit code means, lowest code first."""
    return {DONE: "done", **dict(sorted(EXIT_CODES.values()))}
