"""Every error of the package has its row in the one table of exit codes."""

from __future__ import annotations

import inspect

import pytest

from praison_store import errors
from praison_store.cli.exit_codes import EXIT_CODES, exit_code_of, meanings


def error_classes() -> list[type[BaseException]]:
    """Return the public error classes of `praison_store.errors`, the root included."""
    found = [value for name, value in vars(errors).items() if inspect.isclass(value) and not name.startswith("_")]
    return [kind for kind in found if issubclass(kind, errors.SessionStoreError)]


def test_every_error_has_a_row_of_its_own() -> None:
    """Goal: a new error does not slip under its parent's exit code. Method: compare the tree with the table."""
    classes = error_classes()
    assert errors.LockTimeoutError in classes
    assert [] == [kind.__name__ for kind in classes if kind not in EXIT_CODES]


def test_every_exit_code_has_one_meaning_and_fits_a_byte() -> None:
    """Goal: a script can rely on a code. Method: collect the meanings of each; 0 is for success alone."""
    by_code: dict[int, set[str]] = {}
    for code, meaning in EXIT_CODES.values():
        by_code.setdefault(code, set()).add(meaning)
    assert [] == [code for code, said in by_code.items() if len(said) > 1]
    assert all(0 < code < 256 for code in by_code)
    assert [0, *sorted(by_code)] == sorted(meanings())


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_an_error_unknown_to_the_table_gets_the_code_of_the_class_above(kind: type[BaseException]) -> None:
    """Goal: even an error without a row ends in a code. Method: derive a class from each error and ask for its code."""
    derived = type("DerivedError", (kind,), {})
    assert EXIT_CODES[kind][0] == exit_code_of(derived.__new__(derived))
