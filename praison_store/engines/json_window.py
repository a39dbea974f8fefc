"""Decide what a write leaves in a session's window, decoding no more messages than the decision needs."""

from __future__ import annotations

from collections.abc import Sequence

from ..codec.document import encode_all
from ..codec.lines import LineFile, Splice, encode_rest
from ..model.session import CompactionCheckpoint
from ..retention import Policy


def splice_of(file: LineFile, added: Sequence[bytes], policy: Policy, updated_at: bytes) -> Splice:
    """
    Return the splice that adds messages to a file and lets go of those the policy does not keep.

    With a cut, or where nothing is added (an update), an archive inside the file goes to ours.

    Raises:
        ValueError: A message near the cut is damaged.
    Cost: nothing is decoded, except where system messages lead or tools are near the cut: then the whole window.
    """
    count = file.count + len(added)
    inside = policy.archives and INSIDE in file.rest
    if not policy.overflows(count):
        splice = Splice(file, 0, 0, added, updated_at)
        return _with_header(splice, takes_archive=True) if inside and not added else splice
    start = policy.leaving(count)
    first_kept = file.offset(start)
    if _is_simple(file, start, first_kept):
        splice = Splice(file, 0, start, added, updated_at, from_start=first_kept)
    else:
        file = _joined(file, added)
        splice = Splice(file, *policy.cut(file.records(), file.leading), (), updated_at)
    if inside or b'"last_compaction"' in file.rest:
        return _with_header(splice, takes_archive=inside)
    return splice


INSIDE = b'"archived_messages"'
_ROLE, _SYSTEM, _TOOL = b'{"role":"', b'{"role":"system"', b"tool"


def _is_simple(file: LineFile, start: int, first_kept: int) -> bool:
    """
    Tell from bytes alone that the window may be cut in front of `start`, with no leading system message to keep.

    Every mark of a tool exchange has "tool" in its name, and our own encoder wrote each line; so where these bytes
    are missing from the lines that leave and the first that stays, none of them is part of an exchange.
    """
    body = file.body
    if start >= file.count or file.leading:
        return False
    if file.leading is None and (not body.startswith(_ROLE) or body.startswith(_SYSTEM)):
        return False
    return body.find(_TOOL, 0, file.offset(start + 1, start, first_kept)) < 0


def _joined(file: LineFile, added: Sequence[bytes]) -> LineFile:
    joined = file.copy()
    if joined.count and added:
        joined.body += b",\n"
    joined.body += b",\n".join(added)
    joined.count += len(added)
    return joined


def _with_header(splice: Splice, *, takes_archive: bool) -> Splice:
    """Move the checkpoint with the cut, and the archive another store keeps inside the file to ours."""
    file, leading, start = splice.file, splice.leading, splice.start
    header = file.header()
    compaction = header.get("last_compaction")
    if isinstance(compaction, dict) and start:
        checkpoint = CompactionCheckpoint.from_dict(compaction).after_cut(leading, start)
        header["last_compaction"] = {**compaction, "message_index": checkpoint.message_index}
    if takes_archive:
        lines = encode_all(header.pop("archived_messages", None) or [], extended=file.extended)
        splice.past = b"".join(line + b"\n" for line in lines)
    splice.rest = encode_rest(header, extended=file.extended)
    return splice
