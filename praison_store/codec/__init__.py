"""
Station 5, session <-> bytes: whole (`document`), by splicing lines without decoding them (`lines`), and what can be
saved of a damaged file (`salvage`). No I/O; orjson lives in `values`.

The file is one JSON document with one message per line. JSON text never holds a raw newline, so cutting and joining
lines is cutting and joining bytes, and a message that stays is never encoded twice.

Invariants kept here:
    D5 A damaged or foreign file never looks like an empty session: `document.decode` refuses it, `salvage` names
       what is whole.
    D6 What is stored reads back equal: `values.dumps` refuses what orjson would change without a word.

Considered and not taken: an index of line offsets in the header. Counting newlines of a window costs less than
keeping an index true under hand edits.
"""
