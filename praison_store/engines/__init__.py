"""
Station 4, where it lives: one contract, and the engines that keep it.

Invariants kept here:
    D5 A damaged file is repaired where whole messages can be saved, and told of; else reads and writes raise.
    D10 A cached session is used only when its file is proven unchanged (`cache`).

Considered and not taken: a base class. An engine is whatever has the contract's methods, a test's included.
"""

from .contract import Engine

__all__ = ["Engine"]
