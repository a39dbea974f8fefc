"""Leases of a directory of sessions: one small file each, changed under the session's own lock."""

from __future__ import annotations

import os

from ..codec import values
from ..disk import atomic, files, lock, seam
from ..errors import CorruptSessionError, StoreReadError
from ..model import lease as leases
from ..model.lease import Lease, LeaseRow
from ..model.session_id import SessionKey

DIRECTORY = ".leases"


def path_of(path: str) -> str:
    """Return where the lease of a session's file is kept."""
    return os.path.join(os.path.dirname(path), DIRECTORY, os.path.basename(path))


def names(directory: str) -> list[str]:
    """Return the names in the leases' directory of a directory of sessions, sorted. Raises StoreReadError."""
    leases_directory = os.path.join(directory, DIRECTORY)
    return [] if files.is_planted(leases_directory) else sorted(files.names_in(leases_directory))


def row_of(path: str) -> LeaseRow:
    """
    Return the newest lease of a session's file; an empty one where none was ever claimed.

    Raises:
        CorruptSessionError: The lease's file is damaged. Its generation is not known, so that no claim is safe.
        StoreReadError: It cannot be read, or something else stands in the place of its directory (D8).
    """
    place = path_of(path)
    directory = os.path.dirname(place)
    if files.is_planted(directory):
        raise StoreReadError(f"{directory} is no directory of its own: remove it. Nothing was read.", path=directory)
    opened = files.open_to_read(place)
    if opened is None:
        return LeaseRow()
    held, state = opened
    try:
        # An empty file is no lease that was never claimed: it held a generation once.
        return LeaseRow.from_dict(values.loads(files.read_all(held, place, state.st_size)))
    except (ValueError, AttributeError) as error:
        message = f"{place} is damaged ({error}): remove it when no process holds the session."
        raise CorruptSessionError(message, path=place) from error
    finally:
        held.close()


class LeaseFiles:
    """The leases of one engine's directory; each call takes the session's turn, but `check` is made in one."""

    def __init__(self, lock_timeout_s: float, durability: str) -> None:
        self._lock_timeout_s, self._durability = lock_timeout_s, durability

    def claim(self, path: str, key: SessionKey, owner: str, ttl_s: float) -> Lease | None:
        """Take the lease on a session's file; None while another holds it."""
        with lock.exclusive(path, timeout_s=self._lock_timeout_s):
            row = leases.claimed(row_of(path), owner, ttl_s, seam.time())
            return None if row is None else self._kept(path, key, row)

    def renew(self, path: str, lease: Lease, ttl_s: float) -> Lease:
        """Hold a lease longer. Raises LeaseExpiredError."""
        with lock.exclusive(path, timeout_s=self._lock_timeout_s):
            return self._kept(path, lease.key, leases.renewed(row_of(path), lease, ttl_s, seam.time()))

    def release(self, path: str, lease: Lease) -> bool:
        """Give a lease back; False where it is another's by now."""
        with lock.exclusive(path, timeout_s=self._lock_timeout_s):
            row = leases.released(row_of(path), lease)
            return row is not None and bool(self._kept(path, lease.key, row))

    def _kept(self, path: str, key: SessionKey, row: LeaseRow) -> Lease:
        place = path_of(path)
        files.make_directory(os.path.dirname(place))
        raw = values.dumps(row.to_dict()) + b"\n"
        atomic.replace_bytes(place, [raw], durability=self._durability)[0].close()
        return Lease(key, row.owner or "", row.generation, row.expires_at_s)


def check(path: str, lease: Lease | None) -> None:
    """Make sure a write is its holder's still; the caller has the session's turn. Raises LeaseExpiredError."""
    if lease is not None:
        leases.check(row_of(path), lease)
