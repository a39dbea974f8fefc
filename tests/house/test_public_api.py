"""The public API changes only on purpose, is used in full by a checked program, and is all there is in the wheel."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import api_text
import pytest
import source

import praison_store

USES = source.ROOT / "tests" / "typing" / "api.py"


def test_the_public_api_is_what_is_kept() -> None:
    """Goal: nothing public changes by accident. Method: compare with api.txt, line by line."""
    kept = api_text.KEPT.read_text(encoding="utf-8").splitlines()
    assert kept == api_text.api().splitlines(), (
        "The public API changed. If users should see that, say so in CHANGELOG.md and renew the text with: "
        "python tests/house/api_text.py --write"
    )


def test_the_public_names_are_there_and_no_others() -> None:
    """Goal: `from praison_store import *` gives the API. Method: `__all__` is sorted, whole and true."""
    assert sorted(praison_store.__all__) == praison_store.__all__
    assert [] == [name for name in praison_store.__all__ if not hasattr(praison_store, name)]
    public = {name for name, value in vars(praison_store).items()
              if not name.startswith("_") and getattr(value, "__module__", "").startswith("praison_store")}
    assert public == set(praison_store.__all__)


def test_the_version_is_the_packages(tmp_path: Path) -> None:
    """Goal: one version. Method: the module's against the installed metadata."""
    assert importlib.metadata.version("praison_store") == praison_store.__version__


def test_a_checked_program_uses_every_public_name() -> None:
    """Goal: the types of everything public are checked. Method: names and methods in tests/typing/api.py."""
    tree = ast.parse(USES.read_text(encoding="utf-8"))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert set() == set(praison_store.__all__) - used
    methods = {name for name in vars(praison_store.DefaultSessionStore) if not name.startswith("_")}
    assert set() == methods - attributes


def test_the_checked_program_passes_mypy_strict(tmp_path: Path) -> None:
    """Goal: a user's type checker agrees with ours. Method: mypy --strict on the program; it is never run."""
    if importlib.util.find_spec("mypy") is None:
        pytest.fail("mypy is missing: pip install 'praison_store[test]'")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", str(USES)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, cwd=source.ROOT)
    assert 0 == checked.returncode, checked.stdout + checked.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of what belongs in it, so that nothing is left beside the source."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(source.ROOT / name, copy / name)
    shutil.copytree(source.PACKAGE, copy / "praison_store", ignore=shutil.ignore_patterns("__pycache__"))
    setuptools = importlib.util.find_spec("setuptools")
    recent = setuptools and int(importlib.metadata.version("setuptools").split(".")[0]) >= 77
    isolation = ["--no-isolation"] if recent else []
    built = subprocess.run([sys.executable, "-m", "build", "--wheel", *isolation, "--outdir", str(out), str(copy)],
                           capture_output=True, text=True, check=False)
    assert 0 == built.returncode, built.stdout[-2000:] + built.stderr[-2000:]
    [made] = out.glob("*.whl")
    return made


PROGRAM = """
import praison_store, sys, tempfile
with praison_store.DefaultSessionStore(tempfile.mkdtemp()) as store:
    assert store.add_user_message("s", "Hello")
    assert [{"role": "user", "content": "Hello"}] == store.get_chat_history("s")
assert praison_store.__file__.startswith(sys.prefix), praison_store.__file__
print(praison_store.__version__)
"""


def test_the_wheel_installs_with_its_core_dependencies_only_and_works(wheel: Path, tmp_path: Path) -> None:
    """Goal: `pip install` is enough, without an extra. Method: a fresh environment, the wheel, its three needs."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    required = importlib.metadata.requires("praison_store") or []
    needs = [need.split(";")[0].strip() for need in required if "extra" not in need]
    assert {"filelock", "orjson", "portalocker"} == {need.split(">")[0].split("<")[0] for need in needs}
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--disable-pip-version-check"]
    for arguments in (["--no-deps", str(wheel)], needs):
        installed = subprocess.run([*pip, *arguments], capture_output=True, text=True, check=False)
        assert 0 == installed.returncode, installed.stderr[-2000:]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    ran = subprocess.run([str(python), "-W", "error", "-c", PROGRAM], capture_output=True, text=True, check=False,
                         cwd=tmp_path, env=environment)
    assert praison_store.__version__ == ran.stdout.strip(), ran.stderr


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Goal: no test and no scratch file is shipped. Method: the wheel's list of files, `py.typed` among them."""
    import zipfile

    names = zipfile.ZipFile(wheel).namelist()
    modules = {f"praison_store/{name}" for name in source.modules()}
    page = {path.relative_to(source.ROOT).as_posix() for path in (source.ROOT / "praison_store" / "server" / "page").iterdir()}
    assert modules | page | {"praison_store/py.typed"} == {name for name in names if ".dist-info/" not in name}
