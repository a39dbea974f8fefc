"""The tree is the path of a message: imports point down only, and every tool has one home."""

from __future__ import annotations

import subprocess
import sys

import pytest
import source

LEVELS = {
    "errors": 0, "model": 1, "retention": 2, "codec": 2, "disk": 2, "engines": 3, "store": 4, "manager": 5, "aio": 5,
    "db": 5, "agent": 6, "integrations": 7, "server": 7, "cli": 8,
}
TOP = "praison_store."


def station(name: str) -> str:
    """Return the station of a module: its folder, or its own name at the top level."""
    return name.split("/")[0].removesuffix(".py")


def within(tool: str, imported: str) -> bool:
    """Tell whether an import is of a tool or something in it."""
    return imported == tool or imported.startswith(f"{tool}.")


def test_every_module_stands_in_a_station() -> None:
    """Goal: a new folder is placed on purpose. Method: the stations of all modules are in the table."""
    assert set() == {station(name) for name in source.modules()} - LEVELS.keys() - {"__init__", "__main__"}


@pytest.mark.parametrize("name", [name for name in source.modules() if station(name) in LEVELS])
def test_imports_point_down_only(name: str) -> None:
    """Goal: a station knows nothing of those above. Method: each import's level, those at the place of use too."""
    here = station(name)
    wrong = []
    for imported in source.imports(name):
        if not imported.startswith(TOP):
            continue
        there = imported.removeprefix(TOP).split(".")[0]
        if (name, there) == ("aio/__init__.py", "agent"):
            continue  # the names of the agent for asyncio are handed out at the door for asyncio
        if there in LEVELS and (LEVELS[there] > LEVELS[here] or (LEVELS[there] == LEVELS[here] and there != here)):
            wrong.append(imported)
        elif there not in LEVELS and there != "__version__" and LEVELS[here] <= LEVELS["store"]:
            wrong.append(f"{imported} (from the package itself, which stands above)")
    assert [] == wrong


HOMES = {
    "orjson": ("codec/",), "filelock": ("disk/seam.py", "disk/lock.py"), "portalocker": ("disk/", "engines/jsonl"),
    "sqlalchemy": ("engines/sql", "aio/sql.py"), "httpx": ("engines/http", "aio/http.py"), "typer": ("cli/",),
    "rich": ("cli/",), "fastapi": ("server/",), "starlette": ("server/",), "uvicorn": ("server/",), "prometheus_client": ("server/",),
    "yaml": ("server/",), "asyncio": ("aio/", "agent/", "server/"), "sqlite3": (), "pickle": (), "fcntl": (),
    "tempfile": ("cli/demo", "server/running"), "shutil": ("cli/",), "subprocess": ("cli/demo",),
    "multiprocessing": ("cli/demo",), "requests": (), "pydantic": ("server/", "integrations/"),
}


@pytest.mark.parametrize("tool", HOMES)
def test_a_tool_is_imported_at_its_home_only(tool: str) -> None:
    """Goal: a tool can be changed in one place. Method: every import of it, in every module."""
    users = [name for name in source.modules() if any(within(tool, imported) for imported in source.imports(name))]
    assert [] == [name for name in users if not name.startswith(HOMES[tool])]


DISK_CALLS = {f"os.{call}" for call in (
    "replace", "fsync", "fdatasync", "rename", "link", "unlink", "remove", "open", "write", "mkdir", "rmdir",
    "makedirs", "ftruncate", "truncate", "chmod", "fchmod",
)}
CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "time.gmtime",
          "time.localtime", "date.today", "datetime.datetime", "time.strftime", "time_module.time"}
CLOCK_HOMES = ("store.py", "disk/seam.py", "model/message.py", "model/session.py", "manager.py", "aio/", "agent/", "db/", "integrations/", "server/",
               "cli/")


def test_files_are_changed_in_disk_only() -> None:
    """Goal: every call that changes a file can be made to fail. Method: calls of os in every module."""
    users = {name: DISK_CALLS & set(source.names_used(tree)) for name, tree in source.modules().items()}
    assert {} == {name: calls for name, calls in users.items() if calls and not name.startswith(("disk/", "cli/"))}


def test_within_disk_files_are_changed_through_the_seam_only() -> None:
    """Goal: no call escapes a test that fails each one. Method: calls of os in disk/, the seam itself left out."""
    changing = DISK_CALLS | {"os.close", "os.read", "os.fstat", "os.lstat", "os.scandir", "os.lseek", "os.writev"}
    users = {name: changing & set(source.names_used(tree)) for name, tree in source.modules().items()
             if name.startswith("disk/") and name != "disk/seam.py"}
    # A forked child drops its copies, and a timeout names the holder: neither is a step of a write.
    users["disk/lock.py"] -= {"os.close", "os.fstat"}
    assert {} == {name: calls for name, calls in users.items() if calls}


def test_the_clock_is_read_at_its_homes_only() -> None:
    """Goal: everything else is handed the time. Method: uses of the clocks in every module."""
    users = {name: CLOCKS & set(source.names_used(tree)) for name, tree in source.modules().items()}
    assert {} == {name: clocks for name, clocks in users.items() if clocks and not name.startswith(CLOCK_HOMES)}


def test_stations_without_io_have_none() -> None:
    """Goal: model, retention and codec are pure. Method: none of them imports what reads or writes."""
    io = ("os", "io", "pathlib", "socket", "tempfile", "shutil", "threading", "logging", "praison_store.disk")
    for name in source.modules():
        if station(name) in ("model", "retention", "codec", "errors"):
            used = [imported for imported in source.imports(name) if any(within(tool, imported) for tool in io)]
            assert [] == used, name


HEAVY = ("asyncio", "sqlalchemy", "httpx", "fastapi", "typer", "rich", "filelock", "portalocker", "pydantic", "sqlite3",
         "multiprocessing", "subprocess", "socket", "ssl", "tempfile", "praison_store.cli", "hashlib")


def test_importing_the_package_imports_nothing_heavy() -> None:
    """Goal: an agent starts at once. Method: sys.modules of a fresh interpreter, less what it has anyway."""
    program = "import sys, praison_store; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    bare_program = program.replace(", praison_store", "")
    ended = subprocess.run([sys.executable, "-c", bare_program], capture_output=True, text=True, check=True)
    bare = ended.stdout.split()
    assert "praison_store" in loaded
    assert [] == [name for name in HEAVY if name in set(loaded) - set(bare)]


def test_no_folder_is_a_drawer() -> None:
    """Goal: a folder is named for a promise. Method: names that promise nothing."""
    drawers = {"utils", "util", "common", "helpers", "helper", "core", "misc", "shared", "lib", "base", "manager2"}
    parts = {part.removesuffix(".py") for name in source.modules() for part in name.split("/")}
    assert set() == parts & drawers


def test_nothing_else_stands_at_the_top_level() -> None:
    """Goal: the tree stays the map. Method: what is tracked, against the design's list."""
    listed = subprocess.run(["git", "ls-files"], cwd=source.ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        return  # not a checkout: an unpacked archive has what was packed
    allowed = {"praison_store", "tests", "benchmarks", "setup.cfg", "pyproject.toml", "README.md", "CHANGELOG.md",
               "LICENSE", ".ci", ".gitignore"}
    assert set() == {line.split("/")[0] for line in listed.stdout.splitlines()} - allowed
