"""The contract every engine keeps, and what the door asks of it. Small on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from ..model.message import Record
from ..model.session import SessionData, SessionInfo
from ..model.session_id import SessionKey
from ..retention import Policy

# Change a session in place; return False where there is nothing to do, and nothing is written.
Change = Callable[[SessionData], bool | None]


@runtime_checkable
class Engine(Protocol):
    """
    A place where sessions live.

    Promise: every method is atomic, and a write that returned has happened for every process. `policy` is applied by
    the engine within the same write. `now_s` is the caller's clock, in seconds since 1970.
    """

    def history(self, key: SessionKey, newest: int | None) -> list[Record]:
        """Return the newest messages as a model API takes them, oldest first; empty for an unknown session."""
        ...

    def read(self, key: SessionKey, newest: int | None) -> SessionData | None:
        """Return a session with its newest messages; None for an unknown one."""
        ...

    def exists(self, key: SessionKey) -> bool:
        """Tell whether the session was ever written and not deleted."""
        ...

    def whole(self, key: SessionKey) -> tuple[SessionData, list[Record]] | None:
        """Return a session with every message it holds, and what left it for the archive; None for an unknown one."""
        ...

    def append(self, key: SessionKey, messages: Sequence[Record], *, now_s: float, policy: Policy) -> int:
        """Store messages whose `message_id` is not there yet, all or none; return the session's revision."""
        ...

    def update(
        self, key: SessionKey, change: Change, *, now_s: float, policy: Policy, expected_revision: int | None = None,
        keep_archive: bool = True,
    ) -> SessionData:
        """
        Read, change and write a session in one turn; one that is unknown starts empty, with revision 0.

        A message that stood behind the window and is gone after the change goes to the archive, if the policy has
        one; `keep_archive=False` forgets both.
        """
        ...

    def delete(self, key: SessionKey) -> bool:
        """Forget a session; False for an unknown one."""
        ...

    def find(self, *, limit: int | None = None, agent_name: str | None = None) -> Iterator[SessionInfo]:
        """Yield sessions, the most recently written first."""
        ...

    def search(self, terms: Sequence[str]) -> Iterator[tuple[SessionData, list[Record]]]:
        """Yield, as `whole` returns them, the sessions that may hold one of the lower-case terms."""
        ...

    def count(self) -> int:
        """Return how many sessions there are."""
        ...

    def close(self) -> None:
        """Give back descriptors and connections; the engine may be used again."""
        ...
