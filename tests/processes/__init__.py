"""
The enemy: other writers of the same session - threads, forks, spawned processes, PraisonAI's own store, and the dead.

Invariants tried here:
    D1 A reader beside a writer sees the old bytes or the new, whether the writer runs, stands or was killed.
    D3 Writers take turns, and no acknowledged message is lost.
    D10 A store whose session somebody else wrote meanwhile never uses what it remembers of it.
`workers` starts the processes and counts what they left. Waits of writers are printed (`pytest -rP`), never asserted.
"""
