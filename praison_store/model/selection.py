"""Choose among sessions in Python what a database chooses with WHERE, ORDER BY and LIMIT. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from ..errors import InvalidArgumentError, shown
from .arguments import at_least
from .filters import Filter, evaluate, is_field, value_at

T = TypeVar("T")
_MANY = 2**61
OrderBy = Sequence[str] | str | None


def names_of(order_by: OrderBy) -> list[tuple[str, bool]]:
    """
    Return each field to sort by, and whether it descends: `-updated_at` does.

    Raises:
        InvalidArgumentError: No text, or a list of other things than text.
    """
    if not isinstance(order_by, (str, Sequence, type(None))):
        raise _no_order(order_by)
    names = [order_by] if isinstance(order_by, str) else list([] if order_by is None else order_by)
    for name in names:
        if not isinstance(name, str) or not is_field(name.removeprefix("-")):
            raise _no_order(name)
    return [(name.removeprefix("-"), name.startswith("-")) for name in names]


def _no_order(order_by: object) -> InvalidArgumentError:
    return InvalidArgumentError(f"order_by is a field like updated_at or -updated_at, not {shown(order_by)}.")


def page_of(limit: int | None, offset: int) -> tuple[int | None, int]:
    """Return a limit and an offset that can be meant. Raises InvalidArgumentError."""
    limit, offset = at_least(limit, "limit", 0, none=True), at_least(offset, "offset", 0) or 0
    # What is past any number of sessions means all of them; neither a slice nor a database counts that far.
    return None if limit is None or limit > _MANY else limit, min(offset, _MANY)


def selected(
    found: Iterable[tuple[Mapping[str, Any], T]], filters: Filter | None, order_by: OrderBy, limit: int | None,
    offset: int,
) -> Iterator[T]:
    """
    Yield the items whose record matches, in order, after `offset` of them, `limit` at most.

    Args:
        found: pairs of a record and what is to be yielded for it.
        order_by: sorted by these fields, missing ones first; None leaves the order as it is.
        limit: 0 or more, None for all; so is `offset`, without None.
    Raises:
        InvalidArgumentError: An order, limit or offset that cannot be meant. Nothing was read.
    """
    names = names_of(order_by)
    limit, offset = page_of(limit, offset)
    pairs: Iterable[tuple[Mapping[str, Any], T]] = (pair for pair in found if evaluate(filters, pair[0]))
    if names:
        listed = list(pairs)
        for name, descends in reversed(names):
            listed.sort(key=lambda pair: _rank(value_at(pair[0], name)), reverse=descends)
        pairs = listed
    stop = None if limit is None else offset + limit
    return (item for _, item in islice(pairs, offset, stop))


def _rank(value: Any) -> tuple[int, Any]:
    """Return what sorts values of any kind: missing, booleans, numbers, text, the rest by its text."""
    if value is None:
        return 0, 0
    if isinstance(value, bool):
        return 1, value
    if isinstance(value, (int, float)):
        return 2, value
    return (3, value) if isinstance(value, str) else (4, repr(value))
