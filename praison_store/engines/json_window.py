"""Decide what a write leaves in a session's window, decoding no more messages than the decision needs."""

from __future__ import annotations

from collections.abc import Sequence

from ..codec.lines import LineFile, Splice, encode_rest
from ..model.session import CompactionCheckpoint
from ..retention import Policy


def splice_of(file: LineFile, added: Sequence[bytes], policy: Policy, updated_at: bytes) -> Splice:
    """
    Return the splice that adds messages to a file and lets go of those the policy does not keep.

    Raises:
        ValueError: A message near the cut is damaged.
    Cost: nothing is decoded, except where system messages lead or tools are near the cut: then the whole window.
    """
    count = file.count + len(added)
    if not policy.overflows(count):
        return Splice(file, 0, 0, added, updated_at)
    start = policy.leaving(count)
    first_kept = file.offset(start)
    if _is_simple(file, start, first_kept):
        splice = Splice(file, 0, start, added, updated_at, from_start=first_kept)
    else:
        file = _joined(file, added)
        splice = Splice(file, *policy.cut(file.records(), file.leading), (), updated_at)
    if b'"last_compaction"' in file.rest:
        splice.rest = _with_moved_checkpoint(file, splice.leading, splice.start)
    return splice


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


def _with_moved_checkpoint(file: LineFile, leading: int, start: int) -> bytes:
    header = file.header()
    if isinstance(header.get("last_compaction"), dict):
        checkpoint = CompactionCheckpoint.from_dict(header["last_compaction"]).after_cut(leading, start)
        header["last_compaction"] = {**header["last_compaction"], "message_index": checkpoint.message_index}
    return encode_rest(header, extended=file.extended)
