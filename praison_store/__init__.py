"""
Conversation history for AI agents that needs no configuration and never loses an acknowledged message.

The way of a message, station by station:
    1 `store`      the door: `DefaultSessionStore`, `get_default_session_store`
    2 `model`      what a session is: messages, sessions, ids, tool exchanges
    3 `retention`  what is kept: archive, truncate, keep_all
    4 `engines`    where it lives: one contract, JSON files by default
    5 `codec`      session <-> bytes: whole, or spliced line by line
    6 `disk`       the last stop: locks, atomic replacement, archive, quarantine
`errors` has every error as one tree.

>>> import tempfile
>>> from praison_store import DefaultSessionStore
>>> with DefaultSessionStore(session_dir=tempfile.mkdtemp()) as store:
...     store.add_user_message("my-session", "Hello")
...     store.get_chat_history("my-session")
True
[{'role': 'user', 'content': 'Hello'}]
"""

from .engines.json_check import CheckReport, Problem, VacuumReport
from .errors import (
    CorruptSessionError,
    InvalidArgumentError,
    InvalidMessageError,
    InvalidSessionIdError,
    LockTimeoutError,
    MissingExtraError,
    OutcomeUnknownError,
    RevisionConflictError,
    SessionExistsError,
    SessionNotFoundError,
    SessionStoreError,
    StoreReadError,
    StoreWriteError,
    UnsupportedOperationError,
)
from .model.message import SessionMessage
from .model.session import CompactionCheckpoint, SessionData, SessionHit, SessionInfo, SessionSummary
from .store import DefaultSessionStore, get_default_session_store

__version__ = "0.1.0"

__all__ = [
    "CheckReport",
    "CompactionCheckpoint",
    "CorruptSessionError",
    "DefaultSessionStore",
    "InvalidArgumentError",
    "InvalidMessageError",
    "InvalidSessionIdError",
    "LockTimeoutError",
    "MissingExtraError",
    "OutcomeUnknownError",
    "Problem",
    "RevisionConflictError",
    "SessionData",
    "SessionExistsError",
    "SessionHit",
    "SessionInfo",
    "SessionMessage",
    "SessionNotFoundError",
    "SessionStoreError",
    "SessionSummary",
    "StoreReadError",
    "StoreWriteError",
    "UnsupportedOperationError",
    "VacuumReport",
    "get_default_session_store",
]
