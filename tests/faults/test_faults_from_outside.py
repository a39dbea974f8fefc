"""Every call to the C library fails, is cut short or kills, whether it goes through the seam or not (D1, D2, D7)."""

from __future__ import annotations

from pathlib import Path

import pytest
from processes.workers import needs_fork

from faults.from_outside import FAULTS, run_behind_the_shim, shim_of
from faults.operations import ALL_OPERATIONS, Operation

pytestmark = needs_fork
QUICK = ("append with room in the window", "vacuum")


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the compiled shim."""
    return shim_of(tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize(
    "operation", [one for one in ALL_OPERATIONS if one.name in QUICK], ids=lambda operation: operation.title
)
def test_D1_D7_a_call_that_fails_outside_leaves_the_old_session_or_the_new(
    tmp_path: Path, shim: Path, operation: Operation
) -> None:
    """
    Goal: the seam hides nothing: what a store asks of the system behind its back may fail too.

    Method: a shim in front of the C library, in a process of its own, fails the first call on files below the test's
    directory, the second, ... until a run passes without a fault.
    """
    counts = run_behind_the_shim(shim, tmp_path, operation.title, ["EIO twice", "EACCES for good", "short write once"])
    print(f"{operation.title}: {counts}")
    assert 10 < counts["points"]


@pytest.mark.long
@pytest.mark.parametrize("operation", ALL_OPERATIONS, ids=lambda operation: operation.title)
def test_D1_D7_every_call_with_every_fault_outside_leaves_the_old_session_or_the_new(
    tmp_path: Path, shim: Path, operation: Operation
) -> None:
    """Goal and method: the short form's, with every operation and every fault."""
    counts = run_behind_the_shim(shim, tmp_path, operation.title, list(FAULTS))
    print(f"{operation.title}: {counts}")
    assert 10 < counts["points"]
