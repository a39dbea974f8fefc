"""The README's Python examples run as they stand, and give what their comments say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def examples() -> list[str]:
    """Return the README's Python blocks, but those of agent frameworks, which have a test of their own."""
    text = re.sub(r"^## Agent frameworks\n.*?^## ", "## ", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def with_checks(source: str) -> str:
    """Turn each `print(...)` followed by a comment `# -> text` into an assertion that this is what is printed."""
    return re.sub(
        r"^( *)print\((.+)\)\n\1# -> (.+)$",
        lambda found: f"{found[1]}assert (printed := str({found[2]})) == {found[3]!r}, printed",
        source, flags=re.MULTILINE,
    )


def test_every_example_of_the_readme_runs_and_gives_what_it_says(tmp_path: Path) -> None:
    """Goal: a newcomer's first copy and paste works. Method: run each block as a program in an empty directory."""
    blocks = examples()
    assert 3 <= len(blocks)
    for number, source in enumerate(blocks):
        assert source.count("# ->") == with_checks(source).count("assert (printed"), source
        ast.parse(source)
        program = tmp_path / f"example_{number}.py"
        program.write_text(with_checks(source), encoding="utf-8")
        environment = {"PRAISON_SESSION_DIR": str(tmp_path / "default"), "PATH": "", "HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, str(program)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False,
        )
        assert (0, "") == (done.returncode, done.stderr), source
