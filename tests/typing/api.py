"""Every public name as a user's program uses it. Checked by mypy --strict, never run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

from praison_store import (
    Agent,
    AgentLockExpiredError,
    CheckReport,
    CompactionCheckpoint,
    CorruptSessionError,
    DefaultSessionStore,
    InvalidArgumentError,
    InvalidMessageError,
    InvalidSessionIdError,
    LeaseExpiredError,
    LeaseHeldError,
    LockTimeoutError,
    MissingExtraError,
    ModelCallError,
    OutcomeUnknownError,
    Problem,
    RevisionConflictError,
    Session,
    SessionData,
    SessionExistsError,
    SessionHit,
    SessionInfo,
    SessionManager,
    SessionMessage,
    SessionNotFoundError,
    SessionStoreError,
    SessionSummary,
    StoreReadError,
    StoreWriteError,
    TableNotFoundError,
    UnsupportedOperationError,
    VacuumReport,
    get_default_session_store,
)


def adding(store: DefaultSessionStore) -> None:
    """Add messages by every way in."""
    assert_type(store.add_message("s", "user", "x", {"k": 1}, [{"id": "1"}], "1", message_id="m"), bool)
    assert_type(store.add_user_message("s", [{"type": "text", "text": "x"}], {"k": [1]}, message_id="m"), bool)
    assert_type(store.add_assistant_message("s", None, tool_calls=[{"id": "1"}]), bool)
    assert_type(store.add_messages("s", [{"role": "user", "content": "x"}, SessionMessage("user", "x")]), bool)
    assert_type(store.add_messages("s", store.get_chat_history("s")), bool)
    assert_type(store.add_messages("s", store.get_session("s").messages), bool)
    assert_type(store.set_chat_history("s", (SessionMessage("user", "x"),)), bool)


def reading(store: DefaultSessionStore) -> None:
    """Read by every way out."""
    assert_type(store.get_chat_history("s", max_messages=5), list[dict[str, Any]])
    assert_type(store.get_chat_history("s", max_tokens=9, count=len), list[dict[str, Any]])
    assert_type(store.get_working_history("s", 5), list[dict[str, Any]])
    assert_type(store.get_session("s"), SessionData)
    assert_type(store.get_archived_messages("s"), list[SessionMessage])
    assert_type(store.session_exists("s"), bool)
    assert_type(store.list_sessions(limit=5), list[dict[str, Any]])
    assert_type(store.list_sessions_by_agent("a", limit=5), list[str])
    assert_type(store.get_sessions_by_agent("a", limit=5), list[SessionData])
    assert_type(store.get_agent_chat_history("a", max_messages=5, max_sessions=5), list[dict[str, Any]])
    assert_type(store.search("q", limit=5, window=5), list[SessionHit])
    assert_type(store.window("s", around="3", window=5), list[dict[str, Any]])
    assert_type(store.recent(limit=5), list[SessionSummary])


def changing(store: DefaultSessionStore) -> None:
    """Change sessions, one and whole."""
    assert_type(store.set_agent_info("s", agent_name="a", user_id=None), bool)
    assert_type(store.update_session_metadata("s", title="t", k=[1]), bool)
    assert_type(store.rename_session("s", "t"), bool)
    assert_type(store.append_compaction_checkpoint("s", "sum", role="system", tokens_before=9, tokens_after=3), bool)
    assert_type(store.clear_session("s"), bool)
    assert_type(store.delete_session("s"), bool)
    assert_type(store.fork_session("s", "t", at=5), SessionData)
    assert_type(store.import_session(store.export_session("s"), overwrite=True), SessionData)
    store.invalidate_cache("s")
    store.close()


def checking(store: DefaultSessionStore) -> None:
    """Look at a directory."""
    report: CheckReport = store.check(repair=True)
    problems: list[Problem] = report.problems
    assert_type([(one.code, one.path, one.saved) for one in problems], list[tuple[str, str, int | None]])
    assert_type((report.ok, report.sessions, report.messages), tuple[bool, int, int])
    removed: VacuumReport = store.vacuum()
    assert_type((removed.removed, removed.freed_bytes), tuple[list[str], int])


def shapes(session: SessionData, info: SessionInfo, hit: SessionHit, summary: SessionSummary) -> None:
    """Use what is returned."""
    message: SessionMessage = session.messages[0]
    assert_type((message.role, message.timestamp, message.metadata), tuple[str, float, dict[str, Any]])
    assert_type(message.to_llm_message(), dict[str, Any])
    checkpoint: CompactionCheckpoint | None = session.last_compaction
    assert_type(checkpoint.message_index if checkpoint else 0, int)
    assert_type(SessionData.from_dict(session.to_dict()), SessionData)
    assert_type(session.get_chat_history(5), list[dict[str, Any]])
    assert_type((session.agent_name, session.user_id, session.revision), tuple[str | None, str | None, int])
    assert_type((info.session_id, info.message_count, info.size_bytes), tuple[str, int, int])
    assert_type((hit.score, hit.anchor_index, summary.message_count), tuple[float, int, int])


def failing(store: DefaultSessionStore) -> None:
    """Tell errors apart, the narrow ones first."""
    try:
        store.add_user_message("s", "x")
    except LockTimeoutError as error:
        assert_type((error.path, error.waited_s, error.holder), tuple[str, float, tuple[int, ...]])
    except OutcomeUnknownError as error:
        assert_type((error.path, error.errno), tuple[str, int | None])
    except (StoreReadError, StoreWriteError) as error:
        assert_type(error.path, str)
    except CorruptSessionError as error:
        assert_type(error.path, str)
    except InvalidMessageError as error:
        assert_type(error.where, str)
    except InvalidSessionIdError as error:
        assert_type(error.session_id, object)
    except (SessionNotFoundError, SessionExistsError) as error:
        assert_type(error.session_id, str)
    except RevisionConflictError as error:
        assert_type((error.expected_revision, error.revision), tuple[int, int])
    except LeaseHeldError as error:
        assert_type((error.session_id, error.waited_s), tuple[str, float])
    except LeaseExpiredError as error:
        assert_type((error.session_id, error.generation), tuple[str, int])
        lost: type[AgentLockExpiredError] = type(error)
        assert_type(lost, type[LeaseExpiredError])
    except TableNotFoundError as error:
        assert_type(error.table, str)
    except UnsupportedOperationError as error:
        assert_type(error.operation, str)
    except MissingExtraError as error:
        assert_type(error.extra, str)
    except ModelCallError as error:
        assert_type(error.message, str)
    except InvalidArgumentError as error:
        assert_type(error.message, str)
    except SessionStoreError as error:
        assert_type(error.fields, dict[str, Any])


def named(path: Path) -> None:
    """Use sessions that are live in memory."""
    with SessionManager({"session": {"backend": "memory", "storage_path": str(path)}}) as manager:
        session: Session = manager.create_session("s", branch_from=None)
        session.add_message({"role": "user", "content": "x", "model": "m"})
        assert_type(session.get_messages(limit=5), list[dict[str, Any]])
        session.update_metadata({"k": 1})
        manager.save_session(session)
        assert_type([info.message_count for info in manager.list_sessions()], list[int])


def talking(store: DefaultSessionStore) -> None:
    """Talk to an agent."""
    agent = Agent("a", "Be brief.", llm=lambda messages: str(len(messages)), session_id="s", user_id="u", store=store)
    agent.close()
    assert_type((agent.start("x"), agent.chat("x"), agent.run("x")), tuple[str, str, str])
    assert_type(agent.history, list[dict[str, Any]])


def opening(adapter: object) -> None:
    """Open stores by every way."""
    assert_type(get_default_session_store(), DefaultSessionStore)
    with DefaultSessionStore(Path("sessions"), 200, 10.0, retention="truncate", durability="process") as store:
        assert_type(store, DefaultSessionStore)
        assert_type((store.session_dir, store.max_messages, store.lock_timeout), tuple[str | None, int, float])
        assert_type((store.retention, store.durability), tuple[str, str])
    for use in (adding, reading, changing, checking, failing, talking):
        use(DefaultSessionStore(session_dir="sessions", db=adapter))
