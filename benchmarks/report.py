"""What a benchmark found: tables and bars, printed and kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import machine
from .harness import Nanoseconds, Timing, ratio


@dataclass(frozen=True)
class Bar:
    """
    A promise and what was measured.

    Shape: `wanted` is `<=` or `>=` and `limit` a plain number; `measured` is None where a peer is missing.
    """

    what: str
    wanted: str
    limit: float
    measured: float | None

    @property
    def is_passed(self) -> bool:
        """Whether the promise is kept; True where it could not be measured."""
        if self.measured is None:
            return True
        return self.measured <= self.limit if self.wanted == "<=" else self.measured >= self.limit

    @property
    def verdict(self) -> str:
        """The word for the table."""
        return "peer missing" if self.measured is None else ("pass" if self.is_passed else "MISS")


Row = dict[str, object]


class Report:
    """
    One benchmark's run.

    Args:
        question: the benchmark's docstring; its first line is what is asked.
        directory: an empty directory to store sessions in.
        output: where `<name>.json` and pictures are kept; None keeps nothing.
    """

    def __init__(self, name: str, question: str, directory: Path, *, quick: bool, output: Path | None) -> None:
        self.name, self.directory, self.quick, self.output = name, directory, quick, output
        self.question = question.strip().splitlines()[0]
        self.environment = machine.facts(directory)
        self.bars: list[Bar] = []
        self._tables: list[tuple[str, list[Row]]] = []
        self._notes: list[str] = []
        print(f"\n=== {name}: {self.question}{'  (quick: the numbers mean little)' if quick else ''}")

    def rounds(self, full: int, quick: int) -> int:
        """Return how many rounds to measure."""
        return quick if self.quick else full

    def table(self, title: str, rows: list[Row]) -> None:
        """Add and print a table; the columns are those of its rows, in the order they first appear."""
        self._tables.append((title, rows))
        _print_table(title, rows)

    def times(
        self, title: str, timings: dict[str, Timing], *, floors: Mapping[str, str] | None = None,
        ours: str | None = None,
    ) -> None:
        """
        Add a table of times.

        Args:
            floors: the contender each one is compared with as its floor.
            ours: the contender all are compared with.
        """
        rows: list[Row] = []
        for name, timing in timings.items():
            row: Row = {"": name, **timing.cells()}
            if floors is not None:
                floor = floors.get(name)
                row["x floor"] = floor and ratio(timings, name, floor)
                row["above it"] = floor and Nanoseconds(timing.median_ns - timings[floor].median_ns)
            if ours is not None:
                row["x ours"] = ratio(timings, name, ours)
            rows.append(row)
        self.table(title, rows)

    def bar(self, what: str, wanted: str, limit: float, measured: float | None) -> None:
        """Add a bar; all of them are printed at the end."""
        self.bars.append(Bar(what, wanted, limit, measured))

    def note(self, text: str) -> None:
        """Add and print a sentence."""
        self._notes.append(text)
        print(f"  {text}")

    def finish(self) -> None:
        """Print the bars and keep the result."""
        if self.bars:
            rows: list[Row] = [
                {"bar": bar.what, "wanted": f"{bar.wanted} {bar.limit:g}", "measured": bar.measured, "": bar.verdict}
                for bar in self.bars
            ]
            _print_table("bars", rows)
        where, commit = self.environment["file_system"], self.environment["commit"]
        print(f"  {commit}; {self.environment['python']}; {self.environment['machine']['system']}; {where}")
        if self.output is not None:
            self.output.mkdir(parents=True, exist_ok=True)
            path = self.output / f"{self.name}.json"
            path.write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")

    def as_dict(self) -> dict[str, Any]:
        """Return everything that is kept."""
        return {
            "benchmark": self.name,
            "question": self.question,
            "quick": self.quick,
            "environment": self.environment,
            "bars": [{**asdict(bar), "verdict": bar.verdict} for bar in self.bars],
            "tables": [{"title": title, "rows": rows} for title, rows in self._tables],
            "notes": self._notes,
        }


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def _print_table(title: str, rows: list[Row]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [[_text(row.get(column)) for column in columns] for row in rows]
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        _print_plain(title, columns, cells)
        return
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=not index, overflow="fold")
    for row in cells:
        table.add_row(*row)
    Console(width=160, highlight=False, markup=False).print(table)


def _print_plain(title: str, columns: list[str], cells: list[list[str]]) -> None:
    widths = [max(len(row[index]) for row in [columns, *cells]) for index in range(len(columns))]
    print(title)
    for row in [columns, *cells]:
        print("  " + "  ".join(cell.rjust(width) if i else cell.ljust(width)
                               for i, (cell, width) in enumerate(zip(row, widths, strict=True))))
