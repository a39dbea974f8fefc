"""A fork beside the first write of a process: nothing that write prepares is left half done in the child (D3)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from praison_store import DefaultSessionStore
from processes.workers import DEADLINE_S, everything, needs_fork

MakeStore = Callable[..., DefaultSessionStore]

FIRST_WRITE = """
import importlib.abc, os, sys, threading
from praison_store import DefaultSessionStore

inside, go_on = threading.Event(), threading.Event()

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is not threading.main_thread() and name.partition(".")[0] == "filelock":
            inside.set()
            go_on.wait(60)
        return None

sys.meta_path.insert(0, Slow())
store = DefaultSessionStore(sys.argv[1])
thread = threading.Thread(target=store.add_user_message, args=("shared", "thread"))
thread.start()
while not inside.wait(0.01) and thread.is_alive():
    pass
pid = os.fork()
if pid == 0:
    store.add_user_message("shared", "child")
    os._exit(0)
go_on.set()
thread.join(60)
for _ in range(2000):
    ended, status = os.waitpid(pid, os.WNOHANG)
    if ended:
        sys.exit(os.waitstatus_to_exitcode(status))
    go_on.clear()
    go_on.wait(0.005)
os.kill(pid, 9)
sys.exit("the forked child hangs")
"""


@needs_fork
def test_D3_a_child_forked_during_the_first_write_does_not_hang(make_store: MakeStore) -> None:
    """
    Goal: nothing the first write prepares (an import under the system's import lock) is left half done in a child.

    Method: a thread makes the first write and is held up inside its first import of the lock library; fork; the child
    writes.
    """
    store = make_store()
    command = [sys.executable, "-W", "ignore", "-c", FIRST_WRITE, str(store.session_dir)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (0, "") == (ended.returncode, ended.stderr)
    assert ["child", "thread"] == sorted(everything(store, "shared"))
