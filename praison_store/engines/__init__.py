"""
Station 4, where it lives: one contract, and the engines that keep it.

Invariants kept here:
    D5 A damaged file is repaired where whole messages can be saved, and told of; else reads and writes raise.
    D10 A cached session is used only when its file is proven unchanged (`cache`).

    json_files   one JSON file a session, the default      jsonl    one log a session, appended to
    memory       gone with the process                     sql      SQLite, PostgreSQL, MySQL, MariaDB
    http         a service that keeps whole sessions       urls     `from_url`: one text says which

Considered and not taken: a base class. An engine is whatever has the contract's methods, a test's included.
"""

from .contract import Capabilities, Change, Engine
from .json_files import JsonFilesEngine
from .urls import from_url

__all__ = ["Capabilities", "Change", "Engine", "JsonFilesEngine", "engine_for", "from_url"]


def engine_for(db: object | None, directory: str | None, *, lock_timeout_s: float, durability: str) -> Engine:
    """
    Return the engine a store asks for: what it was given as `db`, else JSON files in a directory.

    Raises:
        InvalidArgumentError: `db` is neither an engine nor an adapter. StoreWriteError: The directory cannot be made.
    """
    if db is None and directory is not None:
        return JsonFilesEngine(directory, lock_timeout_s=lock_timeout_s, durability=durability)
    from .db_hooks import engine_of  # only who passes a db needs it

    return engine_of(db, lock_timeout_s=lock_timeout_s, durability=durability)
