"""The three retention policies, as data: how long a window may get, and whether what leaves it is archived."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InvalidArgumentError, shown
from ..model.exchanges import Messages, newest_window

POLICIES = ("archive", "truncate", "keep_all")


@dataclass(frozen=True, slots=True)
class Policy:
    """
    How many messages a session keeps.

    Shape: `window_messages` is what a read shows, None for all; `slack_messages` more may stand in the file before
    they leave together; `archives` tells whether they go to the archive or are gone.
    """

    window_messages: int | None
    slack_messages: int
    archives: bool

    def overflows(self, count: int) -> bool:
        """Tell whether a window of `count` messages must be cut before it is written."""
        return self.window_messages is not None and count > self.window_messages + self.slack_messages

    def leaving(self, count: int) -> int:
        """Return how many of `count` messages leave at least, were there no exchange to keep whole."""
        return count - (self.window_messages or count)

    def cut(self, messages: Messages, leading: int | None) -> tuple[int, int]:
        """Choose what stays of all messages: `messages[:leading] + messages[start:]`; see `newest_window`."""
        if self.window_messages is None:
            return 0, 0
        # Once one left, those that lead stay in front of the archive, even for a store with a smaller window.
        limit = self.window_messages if leading is None else max(self.window_messages, leading + 1)
        return newest_window(messages, limit, leading)


def policy_named(name: str, max_messages: int) -> Policy:
    """
    Return the policy of a name.

    Args:
        name: `archive` moves the oldest to the archive, a quarter window at once, so that the extra flush is rare;
            `truncate` lets them go, one by one; `keep_all` keeps every message in the window.
        max_messages: 1 or more; what a read shows (not used by `keep_all`).
    Raises:
        InvalidArgumentError: An unknown name.
    """
    if name == "archive":
        return Policy(max_messages, max_messages // 4, archives=True)
    if name == "truncate":
        return Policy(max_messages, 0, archives=False)
    if name == "keep_all":
        return Policy(None, 0, archives=False)
    raise InvalidArgumentError(f"retention is one of {', '.join(POLICIES)}, not {shown(name)}: pass one of them.")
