"""Errors: one tree, the builtins each promises, fields that survive a process boundary, messages that help."""

from __future__ import annotations

import copy
import errno
import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest

import praison_store
from praison_store import DefaultSessionStore, InvalidSessionIdError, StoreReadError, StoreWriteError, errors

CAUSE = OSError(errno.ENOSPC, "No space left on device")
BUILTINS: dict[str, tuple[type, ...]] = {
    "SessionStoreError": (Exception,),
    "InvalidArgumentError": (ValueError, TypeError),
    "InvalidSessionIdError": (ValueError,),
    "InvalidMessageError": (ValueError,),
    "SessionNotFoundError": (KeyError, LookupError),
    "SessionExistsError": (FileExistsError, OSError),
    "RevisionConflictError": (Exception,),
    "LeaseHeldError": (TimeoutError,),
    "LeaseExpiredError": (Exception,),
    "AgentLockExpiredError": (errors.LeaseExpiredError,),
    "TableNotFoundError": (LookupError,),
    "LockTimeoutError": (TimeoutError,),
    "CorruptSessionError": (ValueError,),
    "StoreReadError": (OSError,),
    "StoreWriteError": (OSError,),
    "OutcomeUnknownError": (OSError, StoreWriteError),
    "UnsupportedOperationError": (NotImplementedError,),
    "MissingExtraError": (ImportError,),
    "ModelCallError": (RuntimeError,),
}
FIELDS: dict[str, dict[str, Any]] = {
    "InvalidSessionIdError": {"session_id": "a/b"},
    "InvalidMessageError": {"where": "content[0]"},
    "SessionNotFoundError": {"session_id": "s"},
    "SessionExistsError": {"session_id": "s"},
    "RevisionConflictError": {"session_id": "s", "expected_revision": 1, "revision": 2},
    "LeaseHeldError": {"session_id": "s", "waited_s": 0.5},
    "LeaseExpiredError": {"session_id": "s", "generation": 2},
    "AgentLockExpiredError": {"session_id": "s", "generation": 2},
    "TableNotFoundError": {"table": "sessions"},
    "LockTimeoutError": {"path": "/p", "waited_s": 0.5, "holder": (1, 2)},
    "CorruptSessionError": {"path": "/p"},
    "StoreReadError": {"path": "/p", "cause": CAUSE},
    "StoreWriteError": {"path": "/p", "cause": CAUSE},
    "OutcomeUnknownError": {"path": "/p", "cause": CAUSE},
    "UnsupportedOperationError": {"operation": "o"},
    "MissingExtraError": {"extra": "cli"},
}
ALL = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, errors.SessionStoreError) and not name.startswith("_")
}


def make(name: str) -> errors.SessionStoreError:
    """Return an error with every field it has."""
    return ALL[name]("what, where: next step.", **FIELDS.get(name, {}))


def test_every_error_is_in_the_table_in_the_docs_and_public() -> None:
    """Goal: no error is forgotten here. Method: the module's classes, its drawing, and the public names."""
    assert set(BUILTINS) == set(ALL)
    assert set(ALL) <= set(praison_store.__all__)
    assert errors.__doc__ is not None
    assert [] == [name for name in ALL if name not in errors.__doc__]


@pytest.mark.parametrize("name", BUILTINS)
def test_every_error_is_the_builtin_a_stranger_would_catch(name: str) -> None:
    """Goal: `except TimeoutError` works without knowing us. Method: the promised bases of each class."""
    assert issubclass(ALL[name], errors.SessionStoreError)
    assert [] == [kind for kind in BUILTINS[name] if not issubclass(ALL[name], kind)]


@pytest.mark.parametrize("name", BUILTINS)
@pytest.mark.parametrize("how", ["copy", "deepcopy", *range(pickle.HIGHEST_PROTOCOL + 1)])
def test_every_error_survives_pickling_with_its_fields(name: str, how: str | int) -> None:
    """Goal: a worker's error tells its parent everything. Method: every protocol, and both copies."""
    error = make(name)
    again = getattr(copy, how)(error) if isinstance(how, str) else pickle.loads(pickle.dumps(error, how))
    assert type(error) is type(again)
    assert "what, where: next step." == str(again) == again.message
    assert vars(error) == vars(again)
    for field, value in FIELDS.get(name, {}).items():
        if field != "cause":
            assert value == getattr(again, field)
    if isinstance(error, OSError):
        assert isinstance(again, OSError)
        assert (error.errno, error.strerror, error.filename) == (again.errno, again.strerror, again.filename)


@pytest.mark.parametrize("kind", [StoreReadError, StoreWriteError])
def test_an_os_error_keeps_its_errno(kind: type[OSError]) -> None:
    """Goal: a caller can tell a full disk from a missing right. Method: with a cause and without."""
    with_cause = kind("message", path="/p", cause=CAUSE)  # type: ignore[call-arg] # fields of ours
    assert (errno.ENOSPC, "No space left on device", "/p") == (
        with_cause.errno, with_cause.strerror, with_cause.filename)
    assert kind("message", path="/p").errno is None  # type: ignore[call-arg] # fields of ours


def test_errors_raised_by_a_store_survive_pickling(tmp_path: Path) -> None:
    """Goal: real ones too, whatever they were made of. Method: raise several, with odd ids and values."""
    with DefaultSessionStore(tmp_path, 1, durability="process") as store:
        store.add_user_message("s", "x")
        (tmp_path / "bad.json").write_text("not json")
        (tmp_path / "link.json").symlink_to(tmp_path / "s.json")
        (tmp_path / "locked.json.lock").mkdir()
        calls = (
            lambda: store.get_chat_history(""),
            lambda: store.get_chat_history(lambda: None),  # type: ignore[arg-type] # the mistake
            lambda: store.get_chat_history("s", -1),
            lambda: store.add_user_message("s", float("nan")),  # type: ignore[arg-type] # the mistake
            lambda: store.add_message("s", "user", "x", {"k": lambda: None}),
            lambda: store.export_session("unknown"),
            lambda: store.fork_session("s", "s"),
            lambda: store.get_chat_history("bad"),
            lambda: store.get_chat_history("link"),
            lambda: store.add_user_message("locked", "x"),
            lambda: DefaultSessionStore(tmp_path / "s.json"),
            lambda: DefaultSessionStore(db=object()),
        )
        seen = set()
        for call in calls:
            with pytest.raises(errors.SessionStoreError) as caught:
                call()
            again = pickle.loads(pickle.dumps(caught.value))
            assert (type(caught.value), str(caught.value)) == (type(again), str(again))
            seen.add(type(again).__name__)
        assert 8 <= len(seen)


def test_every_message_says_what_and_the_next_step(tmp_path: Path) -> None:
    """Goal: an error is enough to go on. Method: each has a colon or a second sentence, and names its subject."""
    with DefaultSessionStore(tmp_path, durability="process") as store:
        with pytest.raises(InvalidSessionIdError, match=r"A session id .*: pass"):
            store.get_chat_history("")
        with pytest.raises(errors.SessionNotFoundError, match=r"'unknown': list_sessions\(\)"):
            store.export_session("unknown")
        with pytest.raises(errors.InvalidMessageError, match=r"metadata\.k\[0\] .*: "):
            store.add_message("s", "user", "x", {"k": [float("nan")]})
        with pytest.raises(errors.InvalidArgumentError, match=r"limit .*: pass"):
            store.list_sessions(0)
