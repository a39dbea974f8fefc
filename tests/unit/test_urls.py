"""URLs of directories: what a URL cannot mean is refused, and never opens another directory."""

from __future__ import annotations

import pytest

from praison_store import InvalidArgumentError
from praison_store.engines.urls import directory_of, scheme_of


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


@pytest.mark.parametrize("url", ["sqlite:", "sqlite:x.db", "jsonl:x", "postgresql:/x", "memory:", "https:/x"])
def test_a_scheme_without_its_slashes_is_no_path(url: str) -> None:
    """Goal: a slip of the finger makes no directory of that name. Method: schemes with too few slashes."""
    with pytest.raises(InvalidArgumentError, match="is followed by //"):
        scheme_of(url)


def test_a_path_may_hold_a_colon() -> None:
    """Goal: only our schemes are guarded. Method: names with colons."""
    assert ["", "", ""] == [scheme_of(path) for path in ("a:b", "C:/x", "/x/sqlite:y")]
