"""Renew in a forked child what must not be its parent's: a mutex that another thread may have held, connections."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Renewed(Protocol):
    """What has something to renew in a forked child."""

    def renew_after_fork(self) -> None:
        """Let go of what is the parent's; called in the child, before anything else runs there."""
        ...


_live: weakref.WeakSet[Renewed] = weakref.WeakSet()


def renew_in_child(renewed: Renewed) -> None:
    """Call `renew_after_fork` in every child forked from now on, as long as the object lives."""
    _live.add(renewed)


def _renew_all() -> None:
    for renewed in list(_live):
        renewed.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
