"""Live where a disk is full for real, and on the same disk when there is room again; behind `run_mounted`."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from processes.workers import everything

from faults.loop_disk import LoopDisk, run
from praison_store import DefaultSessionStore, SessionStoreError, StoreWriteError

TEXT = "x" * 16_000
ROOM_BYTES, BALLAST_BYTES = 400_000, 500_000
WINDOW = 8


def store_on(engine: str, directory: Path, retention: str = "keep_all") -> DefaultSessionStore:
    """Return a store of an engine on a directory."""
    if engine == "json_files":
        return DefaultSessionStore(directory, WINDOW, retention=retention)
    directory.mkdir(mode=0o700, exist_ok=True)
    url = f"jsonl://{directory}" if engine == "jsonl" else f"sqlite:///{directory}/sessions.db"
    return DefaultSessionStore(db=url, max_messages=WINDOW, retention=retention)


# ---- places, and what fills them ------------------------------------------------------------------------------


@contextmanager
def _tmpfs(directory: Path, options: str = "size=1m") -> Iterator[Path]:
    root = directory / "root"
    root.mkdir()
    run("mount", "-t", "tmpfs", "-o", options, "none", str(root))
    try:
        yield root
    finally:
        run("umount", str(root))


@contextmanager
def _ext4(directory: Path, *made_with: str) -> Iterator[Path]:
    with LoopDisk("ext4", directory, size_mb=16, made_with=("-m", "0", "-J", "size=4", *made_with)) as disk:
        yield disk.root


@contextmanager
def _btrfs_quota(directory: Path) -> Iterator[Path]:
    with LoopDisk("btrfs", directory) as disk:
        run("btrfs", "quota", "enable", str(disk.root))
        run("btrfs", "subvolume", "create", str(disk.root / "limited"))
        run("btrfs", "qgroup", "limit", "1M", str(disk.root / "limited"))
        yield disk.root / "limited"


@contextmanager
def _without_room(root: Path) -> Iterator[None]:
    """Leave so little room that a few messages fill it; a part of it is given back at the end."""
    status = os.statvfs(root)
    _fill(root / "filler", max(status.f_bavail * status.f_frsize - ROOM_BYTES - BALLAST_BYTES, 0))
    _fill(root / "ballast", BALLAST_BYTES)
    os.sync()  # or a disk that is slow to count still has room it does not know it lost
    yield
    (root / "ballast").unlink()
    os.sync()


@contextmanager
def _without_room_in_a_quota(root: Path) -> Iterator[None]:
    _fill(root / "ballast", BALLAST_BYTES)
    os.sync()
    yield
    (root / "ballast").unlink()
    os.sync()


@contextmanager
def _without_inodes(root: Path) -> Iterator[None]:
    made: list[Path] = []
    try:
        while True:
            path = root / f"ballast-{len(made)}"
            path.touch()
            made.append(path)
    except OSError:
        pass
    yield
    for path in made:
        path.unlink()


@contextmanager
def _without_bigger_files(_root: Path) -> Iterator[None]:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


@contextmanager
def _anywhere(directory: Path) -> Iterator[Path]:
    (directory / "root").mkdir()
    yield directory / "root"


def _fill(path: Path, size_bytes: int) -> None:
    path.write_bytes(os.urandom(size_bytes))


Place = tuple[Callable[[Path], AbstractContextManager[Path]], Callable[[Path], AbstractContextManager[None]]]
PLACES: dict[str, Place] = {
    "tmpfs": (_tmpfs, _without_room),
    "ext4": (_ext4, _without_room),
    "btrfs quota": (_btrfs_quota, _without_room_in_a_quota),
    "tmpfs without inodes": (lambda directory: _tmpfs(directory, "size=4m,nr_inodes=48"), _without_inodes),
    "ext4 without inodes": (lambda directory: _ext4(directory, "-N", "64"), _without_inodes),
    "a limit of file sizes": (_anywhere, _without_bigger_files),
}


# ---- living there ---------------------------------------------------------------------------------------------


class Life:
    """What a store acknowledged and refused on one place, and how long its slowest call took."""

    def __init__(self, engine: str, sessions: Path, retention: str) -> None:
        self._open: Callable[[], DefaultSessionStore] = lambda: store_on(engine, sessions, retention)
        self.acknowledged: dict[str, list[str]] = {}
        self.refused: set[str] = set()
        self.unreadable: set[str] = set()
        self.lost: set[str] = set()
        self.worst_s = 0.0

    def append(self, store: DefaultSessionStore, session_id: str, most: int = 200) -> bool:
        """Append messages until one is refused; False where none was."""
        for _ in range(most):
            known = self.acknowledged.setdefault(session_id, [])
            number = str(len(known))
            started_s = time.perf_counter()
            try:
                store.add_user_message(session_id, f"{number}:{TEXT}", message_id=number)
            except StoreWriteError as error:
                self.refused.add(f"{type(error).__name__} {errno.errorcode.get(error.errno or 0, 'without errno')}")
                return True
            finally:
                self.worst_s = max(self.worst_s, time.perf_counter() - started_s)
            known.append(number)
        return False

    def read(self, store: DefaultSessionStore) -> None:
        """Read every session by the store that writes and by a new one, and tell what is not there."""
        with self._open() as fresh:
            for reader in (store, fresh):
                for session_id, known in self.acknowledged.items():
                    try:
                        found = [str(content).partition(":")[0] for content in everything(reader, session_id)]
                    except SessionStoreError as error:
                        self.unreadable.add(f"{type(error).__name__}: {error}")
                        continue
                    if known != found:
                        self.lost.add(f"{session_id}: {known} acknowledged, {found} there")


def live_all(directory: str, *, place: str, lives: list[list[str]]) -> dict[str, Any]:
    """Live with each engine and retention on a new place of a kind; in the mounted process."""
    outcomes = {}
    for engine, retention in lives:
        base = Path(directory) / f"{engine} {retention}"
        base.mkdir()
        outcomes[base.name] = live(base, place=place, engine=engine, retention=retention)
        shutil.rmtree(base)
    return outcomes


def live(directory: Path, *, place: str, engine: str, retention: str) -> dict[str, Any]:
    """Write until a place is full, try again, read all of it, make room, and go on."""
    with store_on(engine, directory / "warm") as store:
        store.add_user_message("warm", "up")  # imports what only a first call imports
    make_place, fill = PLACES[place]
    with make_place(directory) as root:
        sessions = root / "sessions"
        life = Life(engine, sessions, retention)
        with store_on(engine, sessions, retention) as store:
            life.append(store, "one", 2)
            with fill(root):
                life.worst_s = 0.0
                for session_id in ("one", "one", "another", "a third"):
                    life.append(store, session_id, 4 if "inodes" in place else 200)
                    life.read(store)
                temporary = sorted(path.name for path in sessions.rglob("*.tmp"))
            goes_on = not any(life.append(store, session_id, 1) for session_id in life.acknowledged)
            life.read(store)
        return {
            "refused": sorted(life.refused), "unreadable": sorted(life.unreadable), "lost": sorted(life.lost),
            "temporary": temporary, "goes_on": goes_on, "worst_ms": round(1000 * life.worst_s, 1),
            "stored": sum(map(len, life.acknowledged.values())),
        }
