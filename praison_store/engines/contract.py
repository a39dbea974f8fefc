"""The contract every engine keeps, and what the door asks of it. Small on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ..model.filters import Filter
from ..model.lease import Lease
from ..model.message import Record
from ..model.selection import OrderBy
from ..model.session import SessionData, SessionInfo
from ..model.session_id import SessionKey
from ..retention import Policy

# Change a session in place; return False where there is nothing to do, and nothing is written.
Change = Callable[[SessionData], bool | None]


@dataclass(frozen=True)
class Capabilities:
    """
    What an engine promises beyond the contract.

    Shape: `durable`: what is stored outlives the process; `shared`: several processes may use it at once; `leases`:
    sessions can be claimed; `constant_append`: a message costs the same however long its session is; `full_text`:
    search asks an index and not every session.
    """

    name: str
    durable: bool = True
    shared: bool = True
    leases: bool = True
    constant_append: bool = False
    full_text: bool = False


@runtime_checkable
class Engine(Protocol):
    """
    A place where sessions live.

    Promise: every method is atomic, and a write that returned has happened for every process. `policy` is applied by
    the engine within the same write. `now_s` is the caller's clock, in seconds since 1970. A write given a `lease`
    raises LeaseExpiredError, with nothing written, where another holder followed.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What the engine promises."""
        ...

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

    def append(
        self, key: SessionKey, messages: Sequence[Record], *, now_s: float, policy: Policy, lease: Lease | None = None,
        least_revision: int = 0,
    ) -> int:
        """
        Store messages whose `message_id` is not there yet, all or none; return the session's revision.

        Args:
            least_revision: raise RevisionConflictError, with nothing written, where the session has not come that
                far: it was deleted since it had, and is not to be begun anew.
        """
        ...

    def update(
        self, key: SessionKey, change: Change, *, now_s: float, policy: Policy, expected_revision: int | None = None,
        keep_archive: bool = True, lease: Lease | None = None,
    ) -> SessionData:
        """
        Read, change and write a session in one turn; one that is unknown starts empty, with revision 0.

        A message that stood behind the window and is gone after the change goes to the archive, if the policy has
        one; `keep_archive=False` forgets both. Records the change puts into `session.extra["archived_messages"]` (an
        import's, a fork's) go to the end of the archive under any policy; see `portable.taken_archive`.
        """
        ...

    def delete(self, key: SessionKey, *, lease: Lease | None = None, expected_revision: int | None = None) -> bool:
        """
        Forget a session; False for an unknown one. Its leases' generation goes on counting.

        Raises:
            RevisionConflictError: It is at another revision than `expected_revision`; it stays.
        """
        ...

    def find(
        self, *, filters: Filter | None = None, order_by: OrderBy = None, limit: int | None = None, offset: int = 0,
        namespace: str | None = "",
    ) -> Iterator[SessionInfo]:
        """
        Yield the sessions that match, without their messages.

        Args:
            filters: on the fields of `SessionInfo.record()`, `metadata.<name>` and `context.<name>` included.
            order_by: fields, `-` in front of one that descends; None: the most recently written first.
            namespace: sessions of this one; None takes all.
        """
        ...

    def search(
        self, terms: Sequence[str], *, namespace: str | None = ""
    ) -> Iterator[tuple[SessionData, list[Record]]]:
        """Yield, as `whole` returns them, the sessions that may hold one of the lower-case terms."""
        ...

    def count(self, filters: Filter | None = None, *, namespace: str | None = "") -> int:
        """Return how many sessions match."""
        ...

    def claim(self, key: SessionKey, owner: str, ttl_s: float) -> Lease | None:
        """
        Take the lease on a session, known or not, for `ttl_s` seconds; None while another holds it.

        A claim repeated by its owner keeps its generation. By the engine's own clock.
        """
        ...

    def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Hold a lease for `ttl_s` seconds from now. Raises LeaseExpiredError where another claimed it."""
        ...

    def release(self, lease: Lease) -> bool:
        """Give a lease back; False, and nothing happens, where it is another's by now."""
        ...

    def close(self) -> None:
        """Give back descriptors and connections; the engine may be used again."""
        ...
