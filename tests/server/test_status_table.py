"""Every error of the package has its row in the one table of HTTP statuses, and none tells what it must not."""

from __future__ import annotations

import inspect

import pytest

from praison_store import errors
from praison_store.server.status import STATUSES, status_of


def error_classes() -> list[type[BaseException]]:
    """Return the public error classes of `praison_store.errors`, the root included."""
    found = [value for name, value in vars(errors).items() if inspect.isclass(value) and not name.startswith("_")]
    return [kind for kind in found if issubclass(kind, errors.SessionStoreError)]


def test_every_error_has_a_status_of_its_own() -> None:
    """Goal: a new error does not slip under its parent's status. Method: compare the tree with the table."""
    assert [] == [kind.__name__ for kind in error_classes() if kind not in STATUSES]
    assert all(400 <= status < 600 for status, _ in STATUSES.values())


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_an_error_without_a_row_gets_the_status_of_the_class_above(kind: type[BaseException]) -> None:
    """Goal: even an error without a row ends in a status. Method: derive a class from each error and ask."""
    derived = type("DerivedError", (kind,), {})("the file /home/alice/.praison/x.json", path="/home/alice")
    assert STATUSES[kind][0] == status_of(derived)[0]


def test_no_error_of_the_store_tells_its_path() -> None:
    """Goal: what a client reads names no file. Method: every error whose words are the store's, with a path in them."""
    own = {errors.InvalidArgumentError, errors.InvalidMessageError}
    for kind in set(error_classes()) - own:
        error = kind("the file /home/alice/.praison/x.json is locked", path="/home/alice/.praison/x.json")
        assert "/" not in status_of(error)[1], kind
