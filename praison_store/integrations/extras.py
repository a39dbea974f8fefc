"""The error of an adapter whose framework is not installed. Pure; no I/O."""

from __future__ import annotations

from ..errors import MissingExtraError


def missing_extra(error: ModuleNotFoundError, extra: str, *packages: str) -> ImportError:
    """Return what to raise where a framework cannot be imported: the error itself where another package is missing."""
    name = error.name or ""
    if not any(name == package or name.startswith(f"{package}.") for package in packages):
        return error
    advice = f"This adapter needs the package {name.partition('.')[0]}: pip install 'praison_store[{extra}]'."
    return MissingExtraError(advice, extra=extra, name=name)
