"""The edges of a terminal: hostile text, closed pipes, full disks, poor locales, Ctrl-C, missing packages."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from praison_store import DefaultSessionStore
from praison_store.cli import main
from praison_store.cli.printing import json_text, visible

CLI = [sys.executable, "-m", "praison_store.cli"]
HOSTILE = "\x1b[31mred\x1b]0;title\x07 \x9b2J [bold]markup[/bold] :bomb: \u202ereversed\r\n\x7f 漢字 👩\u200d💻 <é>"
NO_CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
READING = (["list"], ["list", "--json"], ["show", HOSTILE], ["show", HOSTILE, "--json"], ["search", "red"],
           ["search", "red", "--json"], ["stats"], ["stats", "--json"], ["export", "--all"], ["check"],
           ["check", "--json"], ["tail", HOSTILE, "--for", "0"], ["tail", HOSTILE, "--for", "0", "--json"],
           ["show", "no" + HOSTILE])


@pytest.fixture
def hostile(store: DefaultSessionStore) -> DefaultSessionStore:
    """Return a store with a session in which every text is hostile."""
    store.add_message(HOSTILE, "user" + HOSTILE, "\0" + HOSTILE, {"key" + HOSTILE: HOSTILE}, message_id=HOSTILE)
    store.update_session_metadata(HOSTILE, agent_name=HOSTILE, user_id=HOSTILE, title=HOSTILE)
    return store


@pytest.mark.parametrize("arguments", READING, ids=lambda arguments: " ".join(arguments).replace(HOSTILE, "ID"))
def test_D8_no_control_character_of_a_session_reaches_the_terminal(
    arguments: list[str], hostile: DefaultSessionStore, capsys: Any
) -> None:
    """Goal: a stranger's text cannot drive the terminal. Method: all of it hostile, every command, both streams."""
    assert main([*arguments, "--dir", str(hostile.session_dir)]) in (0, 3)
    captured = capsys.readouterr()
    assert None is NO_CONTROLS.search(captured.out + captured.err)


def test_D8_markup_and_emoji_codes_are_text(hostile: DefaultSessionStore, capsys: Any) -> None:
    """Goal: what is stored is what is shown. Method: look for the very characters."""
    assert 0 == main(["show", HOSTILE, "--dir", str(hostile.session_dir)])
    out = capsys.readouterr().out
    for text in ("[bold]markup[/bold]", ":bomb:", "漢字 👩\u200d💻 <é>", r"\x1b[31mred\x1b]0;title\x07"):
        assert text in out


def test_json_of_hostile_text_is_harmless_and_exact(hostile: DefaultSessionStore, capsys: Any) -> None:
    """Goal: escaping changes no value. Method: parse what was printed, compare with the store."""
    assert 0 == main(["show", HOSTILE, "--json", "--dir", str(hostile.session_dir)])
    shown = json.loads(capsys.readouterr().out)
    expected = hostile.get_session(HOSTILE)
    assert expected.messages[0].to_dict() == shown["messages"][0]
    assert expected.metadata == shown["metadata"]


def test_visible_text_and_json_leave_no_character_a_terminal_obeys() -> None:
    """Goal: the filter has no hole. Method: every character there is, one by one."""
    for code in range(0x110000):
        character = chr(code)
        if NO_CONTROLS.match(character) or 0xD800 <= code < 0xE000 or character == "\n":
            assert visible(character).isascii()
            assert visible(character).isprintable()
        if code < 0xE000:
            assert character == json.loads(json_text(character))
            assert None is NO_CONTROLS.search(json_text(character))
    assert "a\nb\tc" == visible("a\r\nb\tc", lines=True)


def on_a_terminal(arguments: list[str], **options: Any) -> tuple[int, str]:
    """Run the real command with a pseudo-terminal as stdout and stderr; return exit code and what it showed."""
    master, slave = pty.openpty()
    with subprocess.Popen([*CLI, *arguments], stdin=slave, stdout=slave, stderr=slave, **options) as process:
        os.close(slave)
        shown = b""
        while True:
            piece = b""
            with suppress(OSError):  # how Linux tells that nobody has the terminal open any more
                piece = os.read(master, 65536)
            if not piece:
                break
            shown += piece
        os.close(master)
        return process.wait(60), shown.decode()


def test_D8_a_terminal_sees_our_colours_and_none_of_the_sessions_own_codes(hostile: DefaultSessionStore) -> None:
    """Goal: colours for people, harmless. Method: a pseudo-terminal; compare with the codes that are stored."""
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    environment.pop("NO_COLOR", None)
    for arguments in (["list"], ["show", HOSTILE], ["search", "red"], ["stats"]):
        code, shown = on_a_terminal([*arguments, "--dir", str(hostile.session_dir)], env=environment)
        assert 0 == code
        assert "\x1b[" in shown, "no colour at all"
        for stored in ("\x1b[31mred", "\x1b]0;", "\x07", "\x9b", "\u202e", "\x00"):
            assert stored not in shown


def test_the_demo_draws_its_bar_on_a_terminal(tmp_path: Path) -> None:
    """Goal: a person sees progress, a script does not. Method: the demo on a pseudo-terminal, then on a pipe."""
    arguments = ["demo", "--workers", "2", "--messages", "5", "--dir", str(tmp_path)]
    code, shown = on_a_terminal(arguments, env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"})
    assert 0 == code
    assert "10/10" in shown
    done = subprocess.run([*CLI, *arguments], check=False, capture_output=True, text=True, timeout=60)
    assert (0, "", False) == (done.returncode, done.stderr, "10/10" in done.stdout)


def test_a_narrow_terminal_still_shows_whole_ids(store: DefaultSessionStore) -> None:
    """Goal: an id can be copied from a list. Method: an id of 90 characters on 40 columns."""
    session_id = "".join(f"{number:03}" for number in range(30))
    store.add_user_message(session_id, "hello")
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "40"}
    code, shown = on_a_terminal(["list", "--dir", str(store.session_dir)], env=environment)
    rows = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert (0, True) == (code, all(len(row) <= 40 for row in rows))
    assert session_id in "".join(row.split()[0] for row in rows if re.match(r" ?\d", row))


# ---- streams --------------------------------------------------------------------------------------------------


def buffered() -> dict[str, str]:
    """Return an environment with buffered output, as is the default: Python writes what is left when it ends."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["export", "--all"], ["--help"], ["show", "s0"]])
def test_a_reader_that_has_gone_ends_the_command_without_a_word(
    arguments: list[str], store: DefaultSessionStore
) -> None:
    """Goal: `praison-store list | head` is quiet. Method: a pipe nobody reads any more."""
    for number in range(60):
        store.add_user_message(f"s{number}", "x" * 2000)
    reading, writing = os.pipe()
    os.close(reading)
    directory = [] if arguments == ["--help"] else ["--dir", str(store.session_dir)]
    done = subprocess.run(
        [*CLI, *arguments, *directory], check=False, stdout=writing, stderr=subprocess.PIPE, timeout=60, env=buffered()
    )
    os.close(writing)
    assert (141, b"") == (done.returncode, done.stderr)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")
@pytest.mark.parametrize("arguments", [["list"], ["export", "--all"]])
def test_a_full_disk_behind_stdout_is_told(arguments: list[str], store: DefaultSessionStore) -> None:
    """Goal: output that was not written is no success. Method: write to /dev/full."""
    store.add_user_message("s", "hello")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*CLI, *arguments, "--dir", str(store.session_dir)], check=False, stdout=full, stderr=subprocess.PIPE,
            timeout=60, env=buffered(),
        )
    assert (13, b"error: No space left on device\n") == (done.returncode, done.stderr)


def test_a_locale_without_our_letters_is_no_reason_to_fail(hostile: DefaultSessionStore) -> None:
    """Goal: it works on a poor terminal. Method: ASCII streams; JSON stays exact all the same."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for arguments in (["list"], ["show", HOSTILE], ["show", "no" + HOSTILE], ["list", "--json"]):
        done = subprocess.run(
            [*CLI, *arguments, "--dir", str(hostile.session_dir)], check=False, capture_output=True, env=environment,
            timeout=60,
        )
        assert b"Traceback" not in done.stderr
        assert (3 if arguments[-1].startswith("no") else 0) == done.returncode
    assert HOSTILE == json.loads(done.stdout)[0]["session_id"]


@pytest.mark.parametrize(
    ("closed", "arguments", "code"),
    [("<&-", ["add", "t", "user", "-"], 2), (">&-", ["list", "--json"], 0), ("2>&-", ["show", "nobody"], 3),
     (">&- 2>&-", ["list"], 0)],
)
def test_closed_streams_are_no_traceback(
    closed: str, arguments: list[str], code: int, store: DefaultSessionStore
) -> None:
    """Goal: a daemon's environment is enough. Method: a shell closes one stream or two."""
    store.add_user_message("s", "hello")
    words = " ".join(f"'{word}'" for word in [*CLI, *arguments, "--dir", str(store.session_dir)])
    done = subprocess.run(["sh", "-c", f"{words} {closed}"], check=False, capture_output=True, timeout=60)
    assert (code, False) == (done.returncode, b"Traceback" in done.stderr)


# ---- missing packages -----------------------------------------------------------------------------------------


@pytest.fixture
def without(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Make the environment of a Python that has all our packages but one."""

    def make(package: str) -> dict[str, str]:
        site = tmp_path / "site"
        site.mkdir()
        for name in ("orjson", "typer", "rich", "praison_store"):
            spec = find_spec(name)
            assert spec is not None
            assert spec.origin is not None
            installed = Path(spec.origin).parent
            if name != package:
                (site / name).symlink_to(installed)
        for installed in Path(str(find_spec("typer").origin)).parents[1].iterdir():  # type: ignore[union-attr] # found above
            if installed.name != package and not (site / installed.name).exists():
                (site / installed.name).symlink_to(installed)
        return {"PYTHONPATH": str(site), "PATH": os.environ["PATH"]}

    return make


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_the_extra_one_line_says_what_to_install(
    package: str, without: Callable[[str], dict[str, str]]
) -> None:
    """Goal: a bare installation explains itself. Method: a Python without site-packages, given all packages but one."""
    command = [sys.executable, "-S", "-m", "praison_store.cli", "list"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=without(package), timeout=60)
    expected = 'praison-store needs an extra: pip install "praison_store[cli]"\n'
    assert (12, "", expected) == (done.returncode, done.stdout, done.stderr)


def test_a_missing_package_that_is_no_extra_of_ours_is_not_hidden(without: Callable[[str], dict[str, str]]) -> None:
    """Goal: the advice is given only where it helps. Method: the same Python without orjson, which the core needs."""
    command = [sys.executable, "-S", "-m", "praison_store.cli", "list"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=without("orjson"), timeout=60)
    assert "needs an extra" not in done.stderr
    assert "No module named 'orjson'" in done.stderr


def test_the_library_does_not_import_what_the_command_line_needs() -> None:
    """Goal: `import praison_store` stays small. Method: import it anew and look for the packages."""
    program = "import sys, praison_store; print([name for name in ('typer', 'rich', 'click') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert "[]\n" == done.stdout
