"""
Station 6, the last stop: locks, atomic replacement, the archive's log, quarantine. Every file and clock call a write or
read depends on goes through `seam`, so that a test can fail, kill at, or record each one.

Invariants kept here:
    D1 A reader sees the old bytes or the new, never a mixture, and takes no lock (`atomic.replace_bytes`).
    D2 When a write returns, its bytes survive what `durability` names.
    D3 Writers of one session take turns (`lock.exclusive`), PraisonAI's own store included.
    D7 A write that fails raises, and leaves the old file, no temporary file, no descriptor and no lock.
    D8 A link, FIFO or directory planted at one of our names is refused, followed nowhere, and hangs nobody.

Considered and not taken: writing in place under a journal (a reader would need a lock), and O_TMPFILE with linkat
(it cannot replace an existing name, so it needs the rename all the same).
"""

DURABILITIES = ("full", "ordered", "process")
