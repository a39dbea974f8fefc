"""
Station 2, what a session is: messages, sessions, and the file name of an id. No I/O.

Invariants kept here:
    D4 One id, one file: `session_id.file_stem` is injective, and its names fit every file system we know.
    D6 A message that would not read back equal is refused: `values.storable`.
    D8 No id reaches a path outside the directory: a stem holds only letters, digits and ``-_%=``.

Considered and not taken: pydantic models. They cost more than the write itself, and they coerce where we must refuse.
"""
