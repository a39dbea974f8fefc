"""
Side door for asyncio: managers with leases, and engines that are awaited.

    async with SessionManager("my_sessions").session("chat") as session:
        session.add_user_message("Hello")

Contract: blocks on one session take turns, in one process and in many, by a lease that is renewed while the block
runs. What a block changed is written as changes to what is stored, under its lease; a holder that lost it is told at
once and its late writes are refused. Cancelled at any await, a call is done or not begun, and no lease is left.

Considered and not taken: an event loop in a thread of our own behind the sync door. What decides is written once,
without I/O; sync and async engines are thin drivers of it. A lease kept by a task of its own: a block shorter than the
heartbeat would pay for it, and timers do. One lock for the whole process: two managers, or two processes, would not
see it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import (
    AgentLockExpiredError,
    LeaseExpiredError,
    LeaseHeldError,
    RevisionConflictError,
    SessionExistsError,
    SessionNotFoundError,
    SessionStoreError,
    TableNotFoundError,
)
from ..model.filters import AndFilter, ComparisonFilter, Filter, NotFilter, OrFilter
from ..model.lease import Lease
from ..model.message import SessionMessage
from .contract import AsyncEngine
from .database import (
    DatabaseEngine,
    InMemoryDatabaseEngine,
    JSONFilesDatabaseEngine,
    JSONLDatabaseEngine,
    SQLDatabaseEngine,
)
from .leases import AgentLock, HeldLease
from .manager import SessionManager
from .models import MessageModel, SessionModel
from .session import Session
from .threads import ThreadedEngine
from .urls import engine_from_url

if TYPE_CHECKING:
    from ..agent.awaited import Agent, AgentConfig

__all__ = [
    "Agent",
    "AgentConfig",
    "AgentLock",
    "AgentLockExpiredError",
    "AndFilter",
    "AsyncEngine",
    "ComparisonFilter",
    "DatabaseEngine",
    "Filter",
    "HeldLease",
    "InMemoryDatabaseEngine",
    "JSONFilesDatabaseEngine",
    "JSONLDatabaseEngine",
    "Lease",
    "LeaseExpiredError",
    "LeaseHeldError",
    "MessageModel",
    "NotFilter",
    "OrFilter",
    "RevisionConflictError",
    "SQLDatabaseEngine",
    "Session",
    "SessionExistsError",
    "SessionManager",
    "SessionMessage",
    "SessionModel",
    "SessionNotFoundError",
    "SessionStoreError",
    "TableNotFoundError",
    "ThreadedEngine",
    "engine_from_url",
]


def __getattr__(name: str) -> Any:
    # The agent stands above this door, and is handed out at it to who asks.
    if name in ("Agent", "AgentConfig"):
        from ..agent import awaited

        globals()[name] = getattr(awaited, name)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
