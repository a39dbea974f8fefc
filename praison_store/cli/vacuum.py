"""`praison-store vacuum`: remove what nobody needs."""

from __future__ import annotations

from dataclasses import asdict

from rich.filesize import decimal

from .options import AsJson, Directory, open_existing
from .printing import counted, out, print_json, progress, visible


def vacuum(directory: Directory = None, as_json: AsJson = False) -> None:
    """
    Remove temporary files no writer will finish, and lock files of sessions that are gone.

    No session, archive or quarantined file is touched. Safe while others write.
    """
    with open_existing(directory) as store, progress("Looking", None):
        report = store.vacuum()
    if as_json:
        print_json(asdict(report))
        return
    console = out()
    for name in report.removed:
        console.print(visible(name), style="dim", soft_wrap=True)
    done = f"Removed {counted(len(report.removed), 'file')}, {decimal(report.freed_bytes)}."
    console.print(done if report.removed else "Nothing to remove.", style="green")
