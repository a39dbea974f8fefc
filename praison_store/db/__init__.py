"""
Side door for PraisonAI's agents: database adapters, which keep what its DbAdapter protocol tells in any engine.

    agent = Agent("Assistant", session_id="my-session", db=PostgresAdapter(connection_string="postgresql://..."))

Contract: every hook is one atomic write, and raises where it could not be done. Messages are the session's, so that a
store on the same place reads them. Tool calls, runs and traces are events behind one another in sessions of their own,
in namespaces no user has, so that noting one costs the same however many there are.

Considered and not taken: tables of their own for runs and spans; then only databases could keep them, and nothing that
copies, exports or checks a store would see them.
"""

from __future__ import annotations

from .adapter import EngineAdapter, MySQLAdapter, PostgresAdapter, SQLiteAdapter
from .records import DbMessage, DbRun, DbSpan, DbTrace

__all__ = [
    "DbMessage",
    "DbRun",
    "DbSpan",
    "DbTrace",
    "EngineAdapter",
    "MySQLAdapter",
    "PostgresAdapter",
    "SQLiteAdapter",
]
