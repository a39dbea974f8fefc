"""Export and import: nothing is lost on the way, whoever wrote the files."""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from praison_store import DefaultSessionStore, LockTimeoutError
from praison_store.cli import import_, main
from praison_store.disk import lock

Capture = pytest.CaptureFixture[str]
MANGLED = {"a/b": "a_b.json", "user:42": "user_42.json", "é": "é.json", "with space": "with_space.json"}
PRAISONAI = """
import sys
from praisonaiagents.session import DefaultSessionStore
store = DefaultSessionStore(session_dir=sys.argv[1])
for session_id in sys.argv[2:]:
    store.add_user_message(session_id, "Hello from " + session_id)
    store.add_assistant_message(session_id, "Hi")
    store.set_agent_info(session_id, agent_name="Assistant")
"""


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the real command in a process of its own."""
    command = [sys.executable, "-m", "praison_store.cli", *arguments]
    return subprocess.run(command, check=False, capture_output=True, timeout=60, **options)


def whole(store: DefaultSessionStore, session_id: str) -> list[dict[str, Any]]:
    """Return every message of a session in order, archived ones included."""
    session = store.export_session(session_id)["sessions"][0]
    return [*session["archived_messages"], *session["messages"]]


@pytest.fixture
def filled(make_store: Callable[..., DefaultSessionStore]) -> DefaultSessionStore:
    """Return a store with an archived session, one of a strange id, and one with tools and metadata."""
    store = make_store(max_messages=10)
    for number in range(40):
        store.add_user_message("long", f"words {number}", {"number": number})
    store.add_user_message("a/b\x1b[31m漢", "hello\x1b[0m\u202e")
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    store.add_assistant_message("tools", None, tool_calls=[call])
    store.add_message("tools", "tool", "done", tool_call_id="c1", message_id="m1")
    store.update_session_metadata("tools", agent_name="Assistant", user_id="u", title="T")
    return store


@pytest.fixture
def other_dir(tmp_path: Path) -> str:
    """Return a second directory that does not exist yet."""
    return str(tmp_path / "other")


def assert_same_sessions(expected: DefaultSessionStore, directory: str) -> None:
    """Insist that a directory holds the same sessions with the same messages, and is in order."""
    with DefaultSessionStore(directory) as other:
        ids = sorted(row["session_id"] for row in expected.list_sessions())
        assert ids == sorted(row["session_id"] for row in other.list_sessions())
        for session_id in ids:
            assert whole(expected, session_id) == whole(other, session_id)
            ours, theirs = expected.get_session(session_id), other.get_session(session_id)
            assert (ours.agent_name, ours.user_id, ours.metadata, ours.created_at) == (
                theirs.agent_name, theirs.user_id, theirs.metadata, theirs.created_at,
            )
        assert [] == other.check().problems


# ---- export ---------------------------------------------------------------------------------------------------


def test_export_and_import_through_a_pipe_keep_every_message(filled: DefaultSessionStore, other_dir: str) -> None:
    """Goal: a directory can be carried away. Method: `export --all` of one process into `import -` of another."""
    exported = run("export", "--all", "--dir", str(filled.session_dir))
    assert (0, b"") == (exported.returncode, exported.stderr)
    imported = run("import", "-", "--dir", other_dir, input=exported.stdout)
    assert (0, b"Imported 3 sessions with 43 messages.\n", b"") == (
        imported.returncode, imported.stdout, imported.stderr,
    )
    assert_same_sessions(filled, other_dir)


def test_export_to_a_file_and_back(
    filled: DefaultSessionStore, other_dir: str, tmp_path: Path, capsys: Capture
) -> None:
    """Goal: a backup is whole and private. Method: --output over an older file, then import that file."""
    backup = tmp_path / "backup.json"
    backup.write_text("older")
    assert 0 == main(["export", "--all", "--output", str(backup), "--json", "--dir", str(filled.session_dir)])
    captured = capsys.readouterr()
    assert {"file": str(backup), "sessions": 3, "messages": 43, "left_out": 0} == json.loads(captured.out)
    assert 0o600 == backup.stat().st_mode & 0o777
    assert ["backup.json", "sessions"] == sorted(os.listdir(tmp_path)), "no temporary file is left"
    assert 0 == main(["import", str(backup), "--dir", other_dir])
    assert_same_sessions(filled, other_dir)


def test_export_of_one_session_is_what_the_library_exports(filled: DefaultSessionStore, capsys: Capture) -> None:
    """Goal: import_session takes it. Method: compare with export_session; a name given twice counts once."""
    assert 0 == main(["export", "long", "long", "--dir", str(filled.session_dir)])
    assert filled.export_session("long") == json.loads(capsys.readouterr().out)


def test_export_writes_into_a_pipe_or_device_without_replacing_it(filled: DefaultSessionStore, tmp_path: Path) -> None:
    """Goal: `--output /dev/null` leaves /dev/null alone. Method: a FIFO with a reader."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = [sys.executable, "-m", "praison_store.cli", "export", "tools", "--output", str(fifo)]
    with subprocess.Popen([*command, "--dir", str(filled.session_dir)], stderr=subprocess.PIPE) as process:
        with open(fifo, "rb") as reader:
            read = json.load(reader)
        assert 0 == process.wait(60)
    assert filled.export_session("tools") == read
    assert fifo.is_fifo()


def test_D5_a_damaged_session_is_told_and_the_others_are_exported(
    make_store: Callable[..., DefaultSessionStore], capsys: Capture
) -> None:
    """Goal: a backup with a hole says so. Method: one file of garbage beside a whole one."""
    store = make_store(check_at_end=False)
    store.add_user_message("good", "hello")
    Path(str(store.session_dir), "bad.json").write_bytes(b"garbage")
    assert 1 == main(["export", "--all", "--dir", str(store.session_dir)])
    captured = capsys.readouterr()
    assert ["good"] == [session["session_id"] for session in json.loads(captured.out)["sessions"]]
    assert "bad.json" in captured.err
    assert b"garbage" == Path(str(store.session_dir), "bad.json").read_bytes()


@pytest.mark.parametrize("arguments", [[], ["--all", "long"]])
def test_export_wants_names_or_all(arguments: list[str], filled: DefaultSessionStore, capsys: Capture) -> None:
    """Goal: no guess at what to export. Method: neither, and both."""
    assert 2 == main(["export", *arguments, "--dir", str(filled.session_dir)])
    assert "" == capsys.readouterr().out


# ---- import ---------------------------------------------------------------------------------------------------


def test_import_of_another_directory_brings_the_archives_along(filled: DefaultSessionStore, other_dir: str) -> None:
    """Goal: no message stays behind. Method: import a whole directory of this store, from a real process."""
    done = run("import", str(filled.session_dir), "--dir", other_dir)
    assert (0, b"") == (done.returncode, done.stderr)
    assert_same_sessions(filled, other_dir)


def test_D9_a_session_file_without_its_archive_is_imported_and_what_is_missing_is_told(
    filled: DefaultSessionStore, other_dir: str, tmp_path: Path, capsys: Capture
) -> None:
    """Goal: a copy of the file alone does not pass for the whole session. Method: copy it without its archive."""
    shutil.copy(Path(str(filled.session_dir), "long.json"), tmp_path / "long.json")
    assert 1 == main(["import", str(tmp_path / "long.json"), "--dir", other_dir])
    assert "bytes of its archive were not beside it" in capsys.readouterr().err
    with DefaultSessionStore(other_dir) as other:
        assert filled.get_chat_history("long") == other.get_chat_history("long", 10)


def test_existing_sessions_are_skipped_with_a_word_unless_overwritten(
    store: DefaultSessionStore, other_dir: str, capsys: Capture
) -> None:
    """Goal: an import does not destroy. Method: import a session that is there, without and with --overwrite."""
    store.add_user_message("s", "theirs")
    with DefaultSessionStore(other_dir) as other:
        other.add_user_message("s", "ours")
        arguments = ["import", str(store.session_dir), "--dir", other_dir]
        assert 0 == main(arguments)
        captured = capsys.readouterr()
        assert "'s' exists and was left as it is" in captured.err
        assert "Imported 0 sessions with 0 messages, 1 exist already.\n" == captured.out
        assert [{"role": "user", "content": "ours"}] == other.get_chat_history("s")
        assert 0 == main([*arguments, "--overwrite"])
        assert [{"role": "user", "content": "theirs"}] == other.get_chat_history("s")


def test_what_cannot_be_imported_is_told_and_the_rest_is(other_dir: str, tmp_path: Path, capsys: Capture) -> None:
    """Goal: one bad file does not stop an import, nor hide in it. Method: bad files, a bad session, and good ones."""
    source = tmp_path / "source"
    source.mkdir()
    good = {"session_id": "good", "messages": [{"role": "user", "content": "hello"}]}
    also_good = {"session_id": "fine", "messages": [{"role": "user", "content": "hello"}]}
    files = {
        "garbage": "garbage", "number": "7", "foreign": '{"name": "config"}', "empty": "",
        "torn": json.dumps(good)[:-3],
        "export": json.dumps({"version": 1, "sessions": [{"session_id": 7, "messages": []}, "no session", also_good]}),
        "newer": json.dumps({"version": 99, "sessions": [good]}), "good": json.dumps(good),
    }
    for name, text in files.items():
        (source / f"{name}.json").write_text(text)
    (source / "link.json").symlink_to("/etc/passwd")
    assert 1 == main(["import", str(source), "--dir", other_dir])
    captured = capsys.readouterr()
    assert "Imported 2 sessions with 2 messages, 8 failed.\n" == captured.out
    assert 8 == captured.err.count("warning: ")
    for name in ("garbage", "number", "foreign", "empty", "torn"):
        assert f"{source / name}.json was skipped" in captured.err
    with DefaultSessionStore(other_dir) as other:
        assert ["fine", "good"] == sorted(row["session_id"] for row in other.list_sessions())


def test_import_of_a_missing_path_makes_no_directory(other_dir: str, tmp_path: Path, capsys: Capture) -> None:
    """Goal: a typing error changes nothing. Method: one path that is there and one that is not."""
    assert 13 == main(["import", str(tmp_path), str(tmp_path / "no.json"), "--dir", other_dir])
    assert f"error: {tmp_path / 'no.json'}: No such file or directory\n" == capsys.readouterr().err
    assert not os.path.exists(other_dir)


# ---- PraisonAI ------------------------------------------------------------------------------------------------


@pytest.fixture
def praisonai_dir(tmp_path: Path) -> Path:
    """Return a directory the real PraisonAI store wrote, with a plain id and ids its file names mangle."""
    directory = tmp_path / "praisonai"
    command = [sys.executable, "-c", PRAISONAI, str(directory), "plain", *MANGLED]
    subprocess.run(command, check=True, timeout=60, env={**os.environ, "HOME": str(tmp_path)})
    assert {"plain.json", *MANGLED.values()} == {name for name in os.listdir(directory) if name.endswith(".json")}
    return directory


def test_D4_a_praisonai_directory_is_imported_under_the_ids_inside_its_files(
    praisonai_dir: Path, other_dir: str
) -> None:
    """Goal: sessions of PraisonAI come over under their own ids. Method: the real package wrote them."""
    before = {path.name: path.read_bytes() for path in praisonai_dir.iterdir()}
    done = run("import", str(praisonai_dir), "--dir", other_dir)
    assert (0, b"Imported 5 sessions with 10 messages.\n", b"") == (done.returncode, done.stdout, done.stderr)
    with DefaultSessionStore(other_dir) as other:
        for session_id in ("plain", *MANGLED):
            expected = [f"Hello from {session_id}", "Hi"]
            assert expected == [message["content"] for message in other.get_chat_history(session_id)]
            assert "Assistant" == other.get_session(session_id).agent_name
        assert [] == other.check().problems
    assert before == {path.name: path.read_bytes() for path in praisonai_dir.iterdir()}, "the source is left as it was"


def test_D4_a_directory_imported_into_itself_adopts_mangled_files(praisonai_dir: Path, capsys: Capture) -> None:
    """Goal: a PraisonAI directory becomes ours in place. Method: check, import it into itself, check, import again."""
    directory = ["--dir", str(praisonai_dir)]
    before = {name: (praisonai_dir / name).read_bytes() for name in MANGLED.values()}
    assert 1 == main(["check", *directory])
    assert f"praison-store import {praisonai_dir} --dir {praisonai_dir}" in capsys.readouterr().err
    assert 0 == main(["import", str(praisonai_dir), *directory])
    captured = capsys.readouterr()
    assert "Imported 4 sessions with 8 messages, 1 are in place.\n" == captured.out
    assert "a_b.json was adopted as 'a/b'" in captured.err
    assert 0 == main(["check", *directory])
    capsys.readouterr()
    quarantine = praisonai_dir / ".quarantine"
    kept = {path.name.split(".json.")[0] + ".json": path.read_bytes() for path in quarantine.iterdir()}
    assert before == kept
    with DefaultSessionStore(praisonai_dir) as store:
        for session_id in ("plain", *MANGLED):
            assert [f"Hello from {session_id}", "Hi"] == [m["content"] for m in store.get_chat_history(session_id)]
        store.add_user_message("a_b", "the name is free now")
    assert 0 == main(["import", str(praisonai_dir), *directory])
    assert "Imported 0 sessions with 0 messages, 6 are in place.\n" == capsys.readouterr().out


def test_D5_a_mangled_file_stays_where_its_session_was_not_stored(praisonai_dir: Path, capsys: Capture) -> None:
    """Goal: nothing is moved away before its messages are safe. Method: its own id is taken by another session."""
    with DefaultSessionStore(praisonai_dir) as store:
        store.add_user_message("a/b", "somebody else's")
        before = (praisonai_dir / "a_b.json").read_bytes()
        assert 0 == main(["import", str(praisonai_dir / "a_b.json"), "--dir", str(praisonai_dir)])
        assert "'a/b' exists and was left as it is" in capsys.readouterr().err
        assert before == (praisonai_dir / "a_b.json").read_bytes()
        assert not (praisonai_dir / ".quarantine").exists()
        assert [{"role": "user", "content": "somebody else's"}] == store.get_chat_history("a/b")


def test_D3_a_mangled_file_is_adopted_in_its_writers_turn_only(praisonai_dir: Path) -> None:
    """Goal: no message of a PraisonAI process falls between read and move. Method: adopt while its lock is taken."""
    path = str(praisonai_dir / "a_b.json")
    with DefaultSessionStore(praisonai_dir, lock_timeout=0.0) as store:
        with lock.exclusive(path, timeout_s=1.0), pytest.raises(LockTimeoutError):
            import_.import_file(store, path, False, import_.Tally(), lambda part: None)
        assert os.path.exists(path)
        assert not store.session_exists("a/b")
        import_.import_file(store, path, False, import_.Tally(), lambda part: None)
        assert not os.path.exists(path)
        assert store.session_exists("a/b")


def test_an_export_inside_the_directory_is_read_and_left_alone(store: DefaultSessionStore, tmp_path: Path) -> None:
    """Goal: only a session's own file is moved. Method: a backup written into the directory itself."""
    with DefaultSessionStore(tmp_path / "source") as source:
        source.add_user_message("s", "hello")
        backup = Path(str(store.session_dir), "backup.json")
        backup.write_text(json.dumps(source.export_session("s")))
    assert 0 == main(["import", str(backup), "--dir", str(store.session_dir)])
    assert store.session_exists("s")
    assert backup.exists()
    backup.unlink()


def test_values_only_the_standard_library_reads_are_kept(other_dir: str, monkeypatch: Any) -> None:
    """Goal: a PraisonAI file with NaN or a long integer comes over whole. Method: import one from stdin, read it."""
    metadata = f'{{"a": NaN, "b": {2**80}}}'
    text = f'{{"session_id": "s", "messages": [{{"role": "user", "content": "x", "metadata": {metadata}}}]}}'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert 0 == main(["import", "-", "--dir", other_dir])
    with DefaultSessionStore(other_dir) as other:
        stored = other.get_session("s").messages[0].metadata
    assert 2**80 == stored["b"]
    assert math.isnan(stored["a"])
