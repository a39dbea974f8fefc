"""Run benchmarks: `python -m benchmarks [name ...]`. Exits with 1 if a bar was missed in a full run."""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

from . import BENCHMARKS, machine
from .report import Report

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run what the command line names; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure praison_store.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="a smoke run; its numbers mean little and are not kept")
    parser.add_argument("--output", type=Path, help="where results go; default: benchmarks/results (--quick: nowhere)")
    parser.add_argument("--directory", type=Path, help="where sessions are stored; its file system is what is measured")
    given = parser.parse_args()
    unknown = set(given.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}: pick of {', '.join(BENCHMARKS)}")
    output = given.output or (None if given.quick else RESULTS)
    missed = 0
    # Removed when all is done, because a file system that just gave back ten thousand files makes new ones slowly.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.directory) as scratch:
        for name in given.names or BENCHMARKS:
            benchmark = importlib.import_module(f"benchmarks.{name}")
            directory = Path(scratch, name)
            directory.mkdir()
            if not given.quick:
                machine.wait_for_rest(directory)
            report = Report(name, benchmark.__doc__ or "", directory, quick=given.quick, output=output)
            benchmark.measure(report)
            report.finish()
            missed += sum(not bar.is_passed for bar in report.bars)
    return 1 if missed and not given.quick else 0


if __name__ == "__main__":
    sys.exit(main())
