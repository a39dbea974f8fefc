"""
Every error this package raises, as one tree; each is also the builtin a stranger would catch.

    SessionStoreError
    ├── InvalidArgumentError      (ValueError, TypeError)  a limit, path, option or type that cannot be meant
    ├── InvalidSessionIdError     (ValueError)             the id names no file, or the file belongs to another id
    ├── InvalidMessageError       (ValueError)             the message would not read back equal
    ├── SessionNotFoundError      (KeyError)               the call needs a session that is not there
    ├── SessionExistsError        (FileExistsError)        a fork or import would overwrite a session
    ├── RevisionConflictError                              somebody wrote since the revision you saw
    ├── LeaseHeldError            (TimeoutError)           another holds the session's lease
    ├── LeaseExpiredError                                  the lease is another's by now; also AgentLockExpiredError
    ├── TableNotFoundError        (LookupError)            the database has no tables of ours
    ├── LockTimeoutError          (TimeoutError)           another writer kept its turn too long
    ├── CorruptSessionError       (ValueError)             no message of the file can be recovered
    ├── StoreReadError            (OSError)                the bytes could not be read
    ├── StoreWriteError           (OSError)                nothing was stored; the old session is whole
    │   └── OutcomeUnknownError                            stored, but not proven durable
    ├── ModelCallError            (RuntimeError)           an agent's model did not answer; what was said is kept
    ├── UnsupportedOperationError (NotImplementedError)    the database adapter has no such hook
    └── MissingExtraError         (ImportError)            an optional package is not installed

Fields are data, the message says what, where and the next step, and every error survives pickling.
"""

from __future__ import annotations

from typing import Any


class SessionStoreError(Exception):
    """Root of every error of this package; catch it to catch them all."""

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields
        for name, value in fields.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        return self.message

    # The default reduction replays `args` alone and would drop the fields on the way to another process.
    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.fields))


class InvalidArgumentError(SessionStoreError, ValueError, TypeError):
    """An argument has the wrong type or an impossible value. Nothing was read or written."""


class InvalidSessionIdError(SessionStoreError, ValueError):
    """The id cannot name a session, or its file belongs to another id. Field: `session_id`. Nothing was written."""

    session_id: object


class InvalidMessageError(SessionStoreError, ValueError):
    """The message would not read back equal. Field: `where`, the path inside it. Nothing was written."""

    where: str


class SessionNotFoundError(SessionStoreError, KeyError):
    """The session does not exist. Field: `session_id`. Nothing was written."""

    session_id: str


class SessionExistsError(SessionStoreError, FileExistsError):
    """A session with that id exists and was left as it is. Field: `session_id`."""

    session_id: str


class RevisionConflictError(SessionStoreError):
    """The session has moved on. Fields: `session_id`, `expected_revision`, `revision`. Nothing was written."""

    session_id: str
    expected_revision: int
    revision: int


class LeaseHeldError(SessionStoreError, TimeoutError):
    """Another holds the session's lease. Fields: `session_id`, `waited_s`. Nothing was written."""

    session_id: str
    waited_s: float


class LeaseExpiredError(SessionStoreError):
    """The lease was lost to another holder. Fields: `session_id`, `generation`. Nothing was written."""

    session_id: str
    generation: int


AgentLockExpiredError = LeaseExpiredError


class TableNotFoundError(SessionStoreError, LookupError):
    """The database has no tables of ours, or newer ones. Field: `table`. Nothing was written."""

    table: str


class LockTimeoutError(SessionStoreError, TimeoutError):
    """The session's lock stayed taken. Fields: `path`, `waited_s`, `holder` (process ids). Nothing was written."""

    path: str
    waited_s: float
    holder: tuple[int, ...]


class CorruptSessionError(SessionStoreError, ValueError):
    """No whole message can be recovered. Field: `path`. The bytes stay where they are."""

    path: str


class _StoreOSError(SessionStoreError, OSError):
    """Carry `errno`, `strerror` and `filename` of the failed call beside our own fields."""

    path: str

    def __init__(self, message: str, *, path: str, cause: OSError | None = None, **fields: Any) -> None:
        fields.setdefault("errno", getattr(cause, "errno", None))
        fields.setdefault("strerror", getattr(cause, "strerror", None))
        super().__init__(message, path=path, **fields)
        self.filename = path


class StoreReadError(_StoreOSError):
    """The file is there and could not be read. Fields: `path`, `errno`. Nothing was written."""


class StoreWriteError(_StoreOSError):
    """Nothing was stored. Fields: `path`, `errno`. The old session is whole; no temporary file or lock is left."""


class OutcomeUnknownError(StoreWriteError):
    """The change is in place but not proven durable. Retry with the same `message_id`: it is stored once."""


class ModelCallError(SessionStoreError, RuntimeError):
    """An agent's model did not answer. What was said until then is kept; its cause is the model's own error."""


class UnsupportedOperationError(SessionStoreError, NotImplementedError):
    """The database adapter has no hook for this call. Field: `operation`. Nothing was written."""

    operation: str


class MissingExtraError(SessionStoreError, ImportError):
    """An optional package is missing. Field: `extra`, the name to put in `praison_store[...]`."""

    extra: str


def shown(value: object) -> str:
    """Return a value for an error's message: short, and whatever its own `repr` does."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a foreign __repr__ may raise anything, and the refusal must not fail with it
        text = "a value that cannot be shown"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _rebuild(kind: type[SessionStoreError], message: str, fields: dict[str, Any]) -> SessionStoreError:
    return kind(message, **fields)
