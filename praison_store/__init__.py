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

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .engines.json_check import CheckReport, Problem, VacuumReport
from .errors import (
    AgentLockExpiredError,
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
from .model.message import SessionMessage
from .model.session import CompactionCheckpoint, SessionData, SessionHit, SessionInfo, SessionSummary
from .store import DefaultSessionStore, get_default_session_store

if TYPE_CHECKING:
    from .agent import Agent
    from .manager import SessionManager
    from .model.live_session import Session

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "AgentLockExpiredError",
    "CheckReport",
    "CompactionCheckpoint",
    "CorruptSessionError",
    "DefaultSessionStore",
    "InvalidArgumentError",
    "InvalidMessageError",
    "InvalidSessionIdError",
    "LeaseExpiredError",
    "LeaseHeldError",
    "LockTimeoutError",
    "MissingExtraError",
    "ModelCallError",
    "OutcomeUnknownError",
    "Problem",
    "RevisionConflictError",
    "Session",
    "SessionData",
    "SessionExistsError",
    "SessionHit",
    "SessionInfo",
    "SessionManager",
    "SessionMessage",
    "SessionNotFoundError",
    "SessionStoreError",
    "SessionSummary",
    "StoreReadError",
    "StoreWriteError",
    "TableNotFoundError",
    "UnsupportedOperationError",
    "VacuumReport",
    "get_default_session_store",
]


_SIDE_DOORS = {"Agent": ".agent", "Session": ".model.live_session", "SessionManager": ".manager"}


def __getattr__(name: str) -> Any:
    # The side doors are imported by who opens them, so that an agent with the store alone starts at once.
    if name in _SIDE_DOORS:
        globals()[name] = getattr(import_module(_SIDE_DOORS[name], __name__), name)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
