"""
What reaches the terminal: text made harmless, tables, JSON, warnings, progress.

Results go to stdout, everything else to stderr, so that a script reads results only.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

# Control characters (a terminal obeys them), characters that turn the direction of text, invisible ones that hide
# text, and lone surrogates (which no output can encode). Joiners stay: emoji and several scripts need them.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
# JSON writes C0 controls as \uXXXX by itself; a terminal may obey these all the same.
_UNSAFE_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_PIPE_COLUMNS = 100_000


class _Console(Console):
    """A console that prints text as it is, and leaves a closed pipe to `app.run`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, highlight=False, emoji=False, **options)

    def on_broken_pipe(self) -> None:
        """Raise it again: rich would end the process with an exit code of its own."""
        raise BrokenPipeError


err = _Console(stderr=True)


def out() -> Console:
    """Return the console of stdout; where no person looks, nothing is wrapped or cut."""
    return _Console(width=None if is_terminal() else _PIPE_COLUMNS)


def is_terminal() -> bool:
    """Tell whether a person reads stdout."""
    return sys.stdout is not None and sys.stdout.isatty()


def visible(text: object, *, lines: bool = False) -> str:
    r"""
    Return text a terminal shows but does not obey.

    Args:
        lines: keep line breaks and tabs; else they are written out too, so that the result is one line.

    >>> print(visible("a\x1b[31mb\nc"))
    a\x1b[31mb\nc
    """
    shown = _UNSAFE.sub(lambda found: _written_out(found[0]), str(text).replace("\r\n", "\n"))
    return shown if lines else shown.replace("\n", "\\n").replace("\t", "\\t")


def _written_out(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return JSON that is as exact as the stored one, and harmless on a terminal."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators)
    return _UNSAFE_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON in UTF-8; with `indent=None` on one line."""
    write_bytes(json_text(value, indent=indent).encode() + b"\n")


def write_bytes(raw: bytes) -> None:
    """Write to stdout behind what is printed already. JSON is UTF-8 whatever the locale says, so bytes it is."""
    if sys.stdout is not None:
        sys.stdout.flush()
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()


def tell(message: str, *, style: str = "", label: str = "") -> None:
    """Print one line for people on stderr."""
    err.print(Text.assemble((label, f"bold {style}"), visible(message)), soft_wrap=True)


def warn(message: str) -> None:
    """Print one line about something that is not well on stderr."""
    tell(message, label="warning: ", style="yellow")


class WarningLines(logging.Handler):
    """Print the store's log records (a repaired file, one left out) as warnings, once each."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        message = record.getMessage()
        if message not in self._printed:
            self._printed.add(message)
            warn(message)


def grid(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """Return an empty table; `right` names the columns of numbers."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left")
    return table


def cell(text: object, style: str = "", *, whole: bool = False) -> Text:
    """Return a table's cell, harmless: one line that ends in "…" where there is no room, or `whole` on several."""
    return Text(visible(text), style=style, no_wrap=not whole, overflow="fold" if whole else "ellipsis")


def when(moment: object) -> str:
    """Return a time in seconds since 1970 or as ISO-8601 text in the time zone of this computer; "" for none."""
    try:
        if isinstance(moment, (int, float)):
            read = datetime.fromtimestamp(moment) if moment else None
        else:
            read = datetime.fromisoformat(str(moment)).astimezone() if moment else None
    except (ValueError, OverflowError, OSError):
        return visible(moment)  # somebody's own idea of a time is shown as it stands
    return read.strftime("%Y-%m-%d %H:%M:%S") if read else ""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 session`, `2,000 sessions`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@contextmanager
def progress(description: str, total: int | None, *, stays: bool = False) -> Iterator[Callable[[float], None]]:
    """
    Show a bar on stderr, where a person looks, until the block ends; yield what sets how much is done.

    Args:
        total: how much there is to do; None where nobody knows.
        stays: leave the full bar on the screen.
    """
    if not err.is_terminal:
        yield lambda done: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(),
               *([MofNCompleteColumn()] if total is not None else []), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=not stays) as bar:
        task = bar.add_task(visible(description), total=total)
        yield lambda done: bar.update(task, completed=done)
