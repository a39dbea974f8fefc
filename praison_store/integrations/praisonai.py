"""Our store in the place of PraisonAI's own: `install()`, and every `praisonaiagents` agent with a session uses it."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..errors import (
    InvalidArgumentError,
    InvalidMessageError,
    InvalidSessionIdError,
    SessionExistsError,
    SessionNotFoundError,
    StoreReadError,
    shown,
)
from ..model import arguments, portable, recall
from ..model.filters import ComparisonFilter
from ..model.message import Record
from ..model.session import SessionData
from ..model.session_id import key_of
from ..store import DefaultSessionStore
from . import praisonai_records as forms
from .extras import missing_extra
from .praisonai_agents import AgentStore
from .transcript import Transcript, keeping_policy

_RANK_OF_AUTOMATED = 0.25
_RETENTIONS = {"compact": "archive"}
# What stood in PraisonAI's place for its default store before ours; empty where nothing of ours is there.
_before: list[Any] = []


class PraisonStore(AgentStore):
    """
    Our store with everything PraisonAI's `DefaultSessionStore` and its optional session protocols offer.

    Promise: calls take and return what PraisonAI's do; each write to a session is one atomic step on any engine, so
    that several processes lose none of each other's messages, PraisonAI's own on the same files among them. Where its
    store returns False or an empty session because it could not do its work, ours raises.
    """

    @classmethod
    def of(cls, store: DefaultSessionStore) -> PraisonStore:
        """Return a store on the engine of another, with its options."""
        if isinstance(store, cls):
            return store
        made = cls(max_messages=store.max_messages, lock_timeout=store.lock_timeout, retention=store.retention,
                   durability=store.durability, db=store.engine)
        made.session_dir = store.session_dir
        return made

    def __enter__(self) -> PraisonStore:
        return self

    # ---- finding ----------------------------------------------------------------------------------------------

    def list_sessions(self, limit: int | None = 50, *, user_id: str | None = None) -> list[Record]:
        """Return one dict for each session, the most recently written first; None for all, or those of one user."""
        of_user = ComparisonFilter.eq("user_id", arguments.text(user_id, "user_id")) if user_id else None
        found = self.engine.find(filters=of_user, limit=arguments.at_least(limit, "limit", 1, none=True))
        return [info.to_dict(most_messages=self._policy.window_messages) for info in found]

    def search(self, query: str, limit: int = 5, window: int = 5) -> list[Any]:
        """
        Return the sessions that hold words of a query as PraisonAI's `SessionHit`; see `DefaultSessionStore.search`.

        A conversation that was begun anew (one lineage) is one hit; automated runs come after people's.
        """
        text = (arguments.text(query or "", "query") or "").strip()
        arguments.at_least(limit, "limit", 1)
        arguments.at_least(window, "window", 0)
        ranked = []
        for session, archived in self.engine.search(recall.terms_of(text)) if text else ():
            hit = recall.hit(session, archived, text, window)
            if hit is not None:
                if forms.is_automated(session, session.transcript(archived)[0]):
                    hit.score *= _RANK_OF_AUTOMATED
                ranked.append((forms.lineage_of(session.header()), hit))
        ranked.sort(key=lambda pair: (pair[1].score, pair[1].when), reverse=True)
        best: dict[Any, Any] = {}
        for lineage, hit in ranked:
            best.setdefault(("lineage", lineage) if lineage else ("session", hit.session_id), hit)
        made = _framework("praisonaiagents.session.protocols").SessionHit
        return [made(**vars(hit)) for hit in list(best.values())[:limit]]

    def window(
        self, session_id: str, around: int | str | None = None, window: int = 5, *,
        around_message_id: int | str | None = None,
    ) -> list[Record]:
        """Return the messages around an index of `search`; around the newest for None, and for what is no index."""
        wanted = around if around_message_id is None else around_message_id
        try:
            return super().window(session_id, None if wanted is None else arguments.index(wanted, "around"), window)
        except InvalidArgumentError:
            return super().window(session_id, None, window)  # a model may ask for any text

    def recent(self, limit: int = 10) -> list[Any]:
        """Return the most recently written sessions as PraisonAI's `SessionSummary`."""
        made = _framework("praisonaiagents.session.protocols").SessionSummary
        return [made(**asdict(summary)) for summary in super().recent(limit)]

    # ---- carrying elsewhere -----------------------------------------------------------------------------------

    def export_session(self, session_id: str, *, include_lineage: bool = True) -> Record:
        """
        Return everything there is of a session, and of those of its lineage, as `import_sessions` takes it.

        Returns:
            PraisonAI's payload; its `sessions` are empty for an unknown id.
        """
        try:
            payload = super().export_session(session_id)
        except SessionNotFoundError:
            return {"format": portable.FORMAT, "version": portable.VERSION, "sessions": []}
        lineage = forms.lineage_of(payload["sessions"][0])
        if lineage and include_lineage:
            infos = self.engine.find(filters=forms.of_lineage(lineage))
            others = [info.session_id for info in infos if forms.lineage_of(info.record()) == lineage]
            payload["sessions"] += self._exported(one for one in others if one != session_id)
        return payload

    def export_all(self) -> Record:
        """
        Return every session as PraisonAI's portable payload.

        Raises:
            StoreReadError, CorruptSessionError: A session cannot be read, so that this would be no backup.
        Cost: every session, in memory.
        """
        there, found = self.engine.count(), [info.session_id for info in self.engine.find()]
        if len(found) < min(there, self.engine.count()):
            message = f"{there - len(found)} of {there} sessions cannot be read, so this is no backup: look at check()."
            raise StoreReadError(message, path=self.session_dir or self.engine.capabilities.name)
        sessions = self._exported(found)
        return {"format": portable.FORMAT, "version": portable.VERSION, "sessions": sessions}

    def import_sessions(
        self, payload: Mapping[str, Any], *, max_sessions: int = 10_000, reset_live_fields: bool = True,
        overwrite: bool = False,
    ) -> Any:
        """
        Store the sessions of an export, whole and with their times; return PraisonAI's `ImportReport`.

        Args:
            max_sessions: how many are taken at most. reset_live_fields: leave out what linked them to a gateway.
            overwrite: put them in the place of sessions that are there, which else are left as they are.
        Returns:
            How many were stored, and for each of the others why it was not.
        Raises:
            StoreWriteError, LockTimeoutError and the like: those before it are stored; call again for the rest.
        """
        report = _framework("praisonaiagents.session.protocols").ImportReport(version=portable.VERSION)
        sessions = forms.sessions_of(payload, portable.VERSION)
        if isinstance(sessions, str):
            report.skipped.extend([{"session_id": "", "reason": sessions}] if sessions else [])
            return report
        seen: set[str] = set()
        for index, raw in enumerate(sessions):
            if report.imported >= max_sessions:
                report.skipped.append({"session_id": "", "reason": f"max_sessions={max_sessions} is reached"})
                break
            session_id = str(raw.get("session_id") or "") if isinstance(raw, Mapping) else ""
            session_id = session_id if session_id.strip() else ""
            reason = f"malformed record at index {index}" if not isinstance(raw, Mapping) else ""
            reason = reason or ("" if session_id else f"missing session_id at index {index}")
            reason = reason or ("duplicate in the payload" if session_id in seen else "")
            seen.add(session_id)
            reason = reason or self._import(raw, session_id, reset_live_fields, overwrite)
            if reason:
                report.skipped.append({"session_id": session_id, "reason": reason})
            else:
                report.imported += 1
        return report

    # ---- a mirror of another store ----------------------------------------------------------------------------

    def append(self, session_id: str, records: Sequence[Mapping[str, Any]]) -> None:
        """
        Store a mirror's records behind the others; one whose `id` is there takes that one's place.

        Raises:
            InvalidMessageError: One has no `id` or `timestamp`, or would not read back equal; nothing was stored.
        Cost: one write; a record that was changed costs the whole session.
        Not promised: one step where a record that was changed left the window already; the new ones are stored first.
        """
        wanted = {record["message_id"]: record for record in
                  (forms.of_mirrored(one, session_id) for one in records)}
        if not wanted:
            return
        transcript = Transcript(session_id, self, keeps_all=True)
        before = _by_id(transcript.session())
        if all(before.get(record_id, record) == record for record_id, record in wanted.items()):
            transcript.append(list(wanted.values()))
            after = _by_id(transcript.session())
            if all(after.get(record_id) == record for record_id, record in wanted.items()):
                return

        def edit(there: list[Record]) -> list[Record] | None:
            known = {record.get("message_id"): record for record in there}
            changed = {record_id: record for record_id, record in wanted.items() if known.get(record_id) != record}
            mended = [changed.get(record.get("message_id"), record) for record in there]
            return [*mended, *(changed[new] for new in changed if new not in known)] if changed else None

        transcript.change(edit)

    def load(self, session_id: str) -> list[Record]:
        """Return every message of a session, archived ones too, as a mirror's records; empty for an unknown one."""
        return forms.mirrored(Transcript(session_id, self).records(), session_id)

    # ---- checkpoints ------------------------------------------------------------------------------------------

    def list_checkpoints(self, session_id: str) -> list[Record]:
        """Return what a session can be taken back to, the oldest first, without summaries and transcripts."""
        found = forms.checkpoints_of(self.get_session(session_id))
        return [{name: value for name, value in one.items() if name not in ("summary", "transcript")} for one in found]

    def get_checkpoint(self, session_id: str, checkpoint_id: str) -> Record | None:
        """Return one checkpoint whole; None where there is none of that id."""
        found = forms.checkpoints_of(self.get_session(session_id))
        return next((one for one in found if one["id"] == checkpoint_id), None)

    def _exported(self, session_ids: Iterable[str]) -> list[Record]:
        wholes = (self.engine.whole(key_of(session_id)) for session_id in session_ids)
        most = self._policy.window_messages
        return [portable.exported(*whole, most)["sessions"][0] for whole in wholes if whole is not None]

    def _import(self, raw: Mapping[str, Any], session_id: str, reset_live_fields: bool, overwrite: bool) -> str:
        """Store one session; return why it was not."""
        try:
            session: SessionData = forms.restored(raw, session_id, reset_live_fields=reset_live_fields)
            change = portable.become(session, overwrite=overwrite)
            # An import lets nothing go, not even where the store's retention is `truncate`.
            self.engine.update(key_of(session_id), change, now_s=time.time(), policy=keeping_policy(self),
                               keep_archive=not overwrite)
        except SessionExistsError:
            return "already exists: pass overwrite=True to replace it"
        except (InvalidArgumentError, InvalidMessageError, InvalidSessionIdError) as error:
            return f"invalid: {error}"
        return ""


def _by_id(session: SessionData | None) -> dict[str | None, Record]:
    return {one.message_id: one.to_dict() for one in session.messages} if session else {}


def install(store: DefaultSessionStore | None = None) -> PraisonStore:
    """
    Let every PraisonAI agent, team and session that names no store use ours from now on; return it.

    Args:
        store: any store of ours. None: the one installed already, else JSON files in `PRAISON_SESSION_DIR`, else where
            PraisonAI keeps its own, so that its sessions go on; retention and window as its environment variables say.
    Raises:
        InvalidArgumentError: It is no store, or a variable says what cannot be meant. MissingExtraError: PraisonAI is
            not installed. StoreWriteError: The directory cannot be made.
    Not promised: an agent that has spoken already keeps the store it began with. PraisonAI gives `a:b` and `a/b` one
    file, ours gives each its own: a session with such an id that PraisonAI wrote is not seen until
    `praison-store import` adopts its file.
    """
    if store is not None and not isinstance(store, DefaultSessionStore):
        raise InvalidArgumentError(f"store is a DefaultSessionStore, not {shown(store)}: pass one, or None.")
    theirs = _framework("praisonaiagents.session.store")
    with theirs._store_lock:
        there = theirs._default_store
        if store is None and isinstance(there, PraisonStore):
            return there
        chosen = _of_environment(theirs) if store is None else PraisonStore.of(store)
        if not isinstance(there, PraisonStore):
            _before[:] = [there]
        theirs._default_store = chosen
    return chosen


def uninstall() -> None:
    """Put back what was there before `install()`; nothing happens where ours is not there."""
    theirs = _framework("praisonaiagents.session.store")
    with theirs._store_lock:
        if isinstance(theirs._default_store, PraisonStore):
            theirs._default_store = _before[0] if _before else None
            _before.clear()


def _of_environment(theirs: Any) -> PraisonStore:
    """Return a store where PraisonAI's would be, that keeps what it would keep."""
    directory = os.environ.get("PRAISON_SESSION_DIR") or theirs.DEFAULT_SESSION_DIR
    retention = os.environ.get("PRAISONAI_SESSION_RETENTION") or "compact"
    window = os.environ.get("PRAISONAI_SESSION_ACTIVE_WINDOW") or "100"
    return PraisonStore(str(directory), arguments.index(window, "PRAISONAI_SESSION_ACTIVE_WINDOW"),
                        retention=_RETENTIONS.get(retention, retention))


def _framework(name: str) -> Any:
    try:
        importlib.import_module("praisonaiagents")
    except ModuleNotFoundError as error:
        raise missing_extra(error, "praisonai", "praisonaiagents") from error
    return importlib.import_module(name)
