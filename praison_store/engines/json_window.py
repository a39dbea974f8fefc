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
    Cost: nothing is decoded while nothing leaves; else the messages that leave, or all where tools are among them.
    """
    count = file.count + len(added)
    if not policy.overflows(count):
        return Splice(file, 0, 0, added, updated_at)
    cut = policy.cut_by_head(file.records(0, policy.leaving(count) + _HEAD_MARGIN), count)
    if cut is None or cut[1] > file.count:
        file, added = _joined(file, added), ()
        cut = policy.cut(file.records())
    leading, start = cut
    splice = Splice(file, leading, start, added, updated_at)
    if b'"last_compaction"' in file.rest:
        splice.rest = _with_moved_checkpoint(file, leading, start)
    return splice


# So many leading system messages, and the first message that stays, are decoded with those that leave.
_HEAD_MARGIN = 3


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
