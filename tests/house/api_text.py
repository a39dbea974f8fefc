"""
The public API as text, one name a line: `python tests/house/api_text.py` prints it, `--write` keeps it in api.txt.

What stands in api.txt is promised: a change of it is a change for users, and belongs in the changelog.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from pathlib import Path
from typing import Any

import praison_store

KEPT = Path(__file__).parent / "api.txt"


def signature(value: Any) -> str:
    """Return a signature without the addresses of default factories."""
    text = str(inspect.signature(value))
    return text if " at 0x" not in text and "<factory>" not in text else text.replace("<factory>", "...")


def lines_of_class(name: str, kind: type) -> list[str]:
    """Return a class, its fields, and its public methods and properties, inherited builtins left out."""
    bases = ", ".join(base.__name__ for base in kind.__bases__ if base is not object)
    lines = [f"class {name}({bases})"]
    if dataclasses.is_dataclass(kind):
        lines += [f"    {name}.{field.name}: {field.type}" for field in dataclasses.fields(kind)]
    else:
        fields = (pair for base in reversed(kind.__mro__) if base.__module__ == kind.__module__
                  for pair in vars(base).get("__annotations__", {}).items())
        lines += [f"    {name}.{field}: {annotation}" for field, annotation in sorted(set(fields)) if field[0] != "_"]
    if not issubclass(kind, BaseException):
        lines.append(f"    {name}{signature(kind)}")
    for method, value in sorted(vars(kind).items()):
        if method.startswith("_"):
            continue
        if isinstance(value, property):
            lines.append(f"    {name}.{method} (property)")
        elif isinstance(value, classmethod | staticmethod):
            lines.append(f"    {name}.{method}{signature(getattr(kind, method))} ({type(value).__name__})")
        elif inspect.isfunction(value):
            lines.append(f"    {name}.{method}{signature(value)}")
    return lines


def api() -> str:
    """Return the whole public API."""
    lines: list[str] = []
    for name in sorted(praison_store.__all__):
        value = getattr(praison_store, name)
        lines += lines_of_class(name, value) if inspect.isclass(value) else [f"def {name}{signature(value)}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        KEPT.write_text(api(), encoding="utf-8")
    else:
        sys.stdout.write(api())
