"""What the service is told: 004's file, variables over it, flags over both; a wrong line is named."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from praison_store import InvalidArgumentError, StoreReadError
from praison_store.server import Config, create_app
from praison_store.server.config import load, of_dict, to_dict

DOCUMENTED = """
sessions:
  storage_type: memory  # memory or sqlite
  db_path: data/sessions.db  # path to SQLite database
  timeout_hours: 24  # session expiration after X hours
  cleanup_interval_minutes: 60  # cleanup interval in minutes
  max_sessions_per_user: 10  # maximum number of sessions per user
"""


def loaded(tmp_path: Path, text: str, environment: dict[str, str] | None = None, **flags: Any) -> Config:
    """Return the settings of a file's text."""
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return load(str(file), environment or {}, flags)


def test_the_documented_file_means_what_it_says(tmp_path: Path) -> None:
    """Goal: 004's example as it stands. Method: load it, and once more with sqlite."""
    config = loaded(tmp_path, DOCUMENTED)
    assert ("memory://", 24.0, 60.0, 10) == (
        config.store, config.timeout_hours, config.cleanup_interval_minutes, config.max_sessions_per_user)
    text = DOCUMENTED.replace("storage_type: memory", "storage_type: sqlite")
    file = tmp_path / "data" / "sessions.db"
    assert f"sqlite:///{file}" == loaded(tmp_path, text.replace("data/sessions.db", str(file))).store
    assert file.parent.is_dir(), "004: check that the directory exists"


def test_variables_win_over_the_file_and_flags_over_both(tmp_path: Path) -> None:
    """Goal: the order is known. Method: one setting in all three places, others in one."""
    environment = {"PRAISON_SERVER_PORT": "9001", "PRAISON_SERVER_TIMEOUT_HOURS": "0.5", "OTHER": "x",
                   "PRAISON_SERVER_HOSTS": "a.example, b.example", "PRAISON_SERVER_AGENTS": "a=m:f,b=n:g"}
    text = DOCUMENTED + "server:\n  port: 9000\n  workers: 1\nagents:\n  z: m:f\n"
    config = loaded(tmp_path, text, environment, port=9002, host=None)
    assert (9002, 0.5, ("a.example", "b.example")) == (config.port, config.timeout_hours, config.hosts)
    assert {"a": "m:f", "b": "n:g"} == config.agents
    assert config == of_dict(to_dict(config))


def test_without_settings_nothing_ends_and_only_this_machine_is_answered() -> None:
    """Goal: safe defaults. Method: the empty configuration, and memory's."""
    config = load(None, {}, {})
    assert (None, "127.0.0.1", 8080, math.inf, 0) == (
        config.store, config.host, config.port, config.timeout_s, config.max_sessions_per_user)
    assert 24.0 == Config(store="memory://").timeout_hours


@pytest.mark.parametrize(("text", "told"), [
    ("sessions:\n  timeout: 5\n", "line 2: 'timeout'"),
    ("sessions:\n  timeout_hours: soon\n", "line 2: timeout_hours is a number"),
    ("sessions:\n  timeout_hours: -1\n", "line 2: timeout_hours"),
    ("sessions:\n  timeout_hours: true\n", "line 2: timeout_hours"),
    ("sessions:\n  storage_type: memory\n  max_sessions_per_user: 1.5\n", "line 3: max_sessions_per_user"),
    ("\nsesions:\n  storage_type: memory\n", "line 2: 'sesions'"),
    ("sessions: 5\n", "line 1"),
    ("- a\n", "line 1"),
    ("server:\n  port: 70000\n", "line 2: port"),
    ("server:\n  port: 1\n  port: 2\n", "line 3: 'port' is there twice"),
    ("agents:\n  a: 5\n", "line 1: agents"),
    ("server:\n\tport: 1\n", "line 2"),
    ("sessions: [\n", "line 2"),
    ("sessions:\n  storage_type: oracle\n", "oracle"),
])
def test_a_wrong_key_or_value_is_an_error_that_names_its_line(tmp_path: Path, text: str, told: str) -> None:
    """Goal: the mistake is found at once. Method: one mistake each."""
    with pytest.raises(InvalidArgumentError) as caught:
        loaded(tmp_path, text)
    assert told in str(caught.value)


@pytest.mark.parametrize(("variable", "text"), [
    ("PRAISON_SERVER_PROT", "1"), ("PRAISON_SERVER_PORT", "x"), ("PRAISON_SERVER_MAX_PAGE", "0")])
def test_a_wrong_variable_is_named(variable: str, text: str) -> None:
    """Goal: nothing is ignored without a word. Method: a misspelt one, and wrong values."""
    with pytest.raises(InvalidArgumentError, match=variable):
        load(None, {variable: text}, {})


def test_what_cannot_be_meant_together_is_refused(tmp_path: Path) -> None:
    """Goal: found before the first request. Method: memory of several workers, agents that are not there, no file."""
    with pytest.raises(InvalidArgumentError, match="workers"):
        Config(store="memory://", workers=2)
    with pytest.raises(StoreReadError):
        load(str(tmp_path / "none.yaml"), {}, {})
    for place in ("no.such.module:f", "math:no_such", "math:pi"):
        with pytest.raises(InvalidArgumentError, match="agent"):
            create_app(Config(store="memory://", agents={"a": place}))


def test_sessions_in_memory_end_after_a_day_however_they_are_asked_for() -> None:
    """Goal: one default, wherever a setting comes from. Method: a flag, a variable, and the class itself."""
    assert 24.0 == Config(store="memory://").timeout_hours
    assert 24.0 == load(None, {}, {"store": "memory://"}).timeout_hours
    assert 24.0 == load(None, {"PRAISON_SERVER_STORAGE_TYPE": "memory"}, {}).timeout_hours
