"""Run the command line as `python -m praison_store.cli`."""

from . import main

# Spawned workers of `demo` import this module anew under another name; they must not start the command again.
if __name__ == "__main__":
    raise SystemExit(main())
