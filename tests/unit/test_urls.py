"""URLs of directories: what a URL cannot mean is refused, and never opens another directory."""

from __future__ import annotations

import pytest

from praison_store import InvalidArgumentError
from praison_store.engines.urls import directory_of


@pytest.mark.parametrize("scheme", ["file", "jsonl"])
@pytest.mark.parametrize("path", ["/data/a#1", "/data/a?b", "/data/a?", "/data/a#", "/data/a%00b"])
def test_a_url_with_a_query_a_fragment_or_a_nul_names_no_directory(scheme: str, path: str) -> None:
    """Goal: nothing is cut off silently. Method: each mark, in both schemes."""
    with pytest.raises(InvalidArgumentError, match="names no directory"):
        directory_of(f"{scheme}://{path}")


def test_a_directory_is_named_with_encoded_marks_or_as_a_plain_path() -> None:
    """Goal: every directory has a URL. Method: encoded marks in a URL, bare ones in a path."""
    assert "/data/a#1?b" == directory_of("file:///data/a%231%3Fb")
    assert "/data/a#1?b" == directory_of("/data/a#1?b")
