"""
How fast the store is, beside the least work there is and beside its peers. One question per file:

    append       what does storing one message cost?
    turns        what does it cost when another process wrote since?
    history      what does reading the history cost?
    listing      what does listing and searching ten thousand sessions cost?
    contention   what do many writers of one session get done, and is anything lost?
    memory       does a process that touches many sessions stay small?
    scale        how does the cost grow with the window and with the number of processes?
    engines      what does a message cost on the other engines, and in a long session?
    blocks       what does `async with` cost beside the sync calls it makes?
    import_time  what does `import praison_store` cost?

    python -m benchmarks [name ...] [--quick] [--output DIR] [--directory DIR]

How it is measured: all contenders take part in every round, in random order, so that noise hits all alike; a ratio is
one of medians of the same run. Absolute times are those of one machine and of one hour.

    harness      rounds, percentiles            floor     the least work that stores the same bytes
    report       tables, bars, results/*.json   stores    every contender as one shape
    machine      where it was measured          writers   many processes on one session
"""

BENCHMARKS = ("append", "turns", "history", "listing", "contention", "memory", "scale", "engines", "blocks",
              "import_time")
