"""
The enemy: calls that fail, processes that die, disks full or read-only, power that goes, files that are damaged.

Invariants tried here:
    D1 A reader sees the old bytes or the new at every call of a write.
    D2 What a call acknowledged survives what its durability names: the order of flushes, and every crash they allow.
    D5 A damaged file never looks like an empty session and is never overwritten without a copy.
    D7 A write that fails raises, and leaves the old session, no temporary file, no descriptor and no lock.
Faults go through `praison_store.disk.seam.intercept`; nothing patches `os`. `operations` is the table of what may be
interrupted, `interruptions` the ways to do it. The harnesses: `call_faults` fails each call, `from_outside` those of the
C library too; `crash_states` loses power on a `disk_model`; `three_writers` meet at each call. `broken_stores` are what
they must catch. What a model cannot show is tried on real disks (`loop_disk`): their power is cut (`power_cuts`), and
they are filled (`full_disks`).
"""
