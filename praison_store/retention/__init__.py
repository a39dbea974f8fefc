"""
Station 3, what is kept: how many messages stay in a session's window, and what becomes of the rest. No I/O.

Invariant kept here:
    D9 A message leaves the window only by the policy. A window keeps leading system messages, never cuts a tool
       exchange (a call and its results), and is never emptied by one (`model.exchanges` knows where it may be cut).

Considered and not taken: summarising what leaves. A store cannot know what mattered; it keeps the words instead.
"""

from .policy import POLICIES, Policy, policy_named

__all__ = ["POLICIES", "Policy", "policy_named"]
