"""Sessions for Google's ADK: `Runner(app_name="app", agent=agent, session_service=PraisonSessionService())`."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from ..aio.threads import in_thread
from ..model.arguments import text
from ..model.filters import ComparisonFilter
from ..model.message import Record, SessionMessage
from ..model.session import SessionData
from ..model.session_id import SessionKey, key_of
from ..model.values import storable
from ..store import DefaultSessionStore
from .extras import missing_extra
from .transcript import Transcript, store_or_default

try:
    from google.adk.errors.already_exists_error import AlreadyExistsError
    from google.adk.errors.session_not_found_error import SessionNotFoundError
    from google.adk.events.event import Event
    from google.adk.platform import time as platform_time
    from google.adk.platform import uuid as platform_uuid
    from google.adk.sessions.base_session_service import BaseSessionService, GetSessionConfig, ListSessionsResponse
    from google.adk.sessions.session import Session
    from google.adk.sessions.state import State
except ModuleNotFoundError as error:
    raise missing_extra(error, "google-adk", "google") from error

from .google_events import FIELD, as_json, events_of, names_of_calls, records_of_event

_STATES = f"{FIELD}.state"


def session_key(app_name: str, user_id: str, session_id: str) -> SessionKey:
    """
    Return where the session of a user of an app is kept, for `Transcript` and for engines.

    Raises:
        InvalidArgumentError, InvalidSessionIdError: One of them is no text, or the session's is empty.
    """
    return SessionKey(key_of(session_id).session_id, f"{FIELD}/{_pair(app_name, user_id)}")


class PraisonSessionService(BaseSessionService):
    """
    Sessions of Google's ADK, usable where its SqliteSessionService is.

    Promise: an event comes back equal; several processes may use one session at once: each event is taken, whoever
    wrote meanwhile (there is no StaleSessionError), and the session object it was given is brought up to date. State
    of the session goes in one write with the event; state of the app and of the user is merged key by key, each in
    one write. Nothing of `temp:` is stored.
    Args:
        store: any store; None is the JSON files of this process.
    Raises:
        InvalidArgumentError: A store that is none.
    Errors: SessionStoreError where a call could not do its work. Values of a state that JSON has not are stored as
    ADK's own services store them, as their text; NaN, Infinity and integers past 64 bits are refused.
    Not promised: state of the app and the user and the event, or the session, are stored together. The state is first:
    where a call failed in between, repeat it; an event that is stored already is not stored twice, as long as the
    clocks of those who write agree.
    """

    def __init__(self, store: DefaultSessionStore | None = None) -> None:
        self._store = store_or_default(store)

    async def create_session(
        self, *, app_name: str, user_id: str, state: dict[str, Any] | None = None, session_id: str | None = None
    ) -> Session:
        """
        Begin a session; one without an id gets one.

        Raises:
            AlreadyExistsError: It is there, and was left as it is; as was the state, unless both began at once.
        """
        session_id = session_id if session_id and session_id.strip() else str(platform_uuid.new_uuid())
        deltas, now_s = _deltas(state or {}), platform_time.get_time()
        return await in_thread(self._create, app_name, user_id, session_id, deltas, now_s)

    async def get_session(
        self, *, app_name: str, user_id: str, session_id: str, config: GetSessionConfig | None = None
    ) -> Session | None:
        """Return a session with its events, oldest first, and the state it sees; None for an unknown one."""
        return await in_thread(self._get, app_name, user_id, session_id, config or GetSessionConfig())

    async def list_sessions(self, *, app_name: str, user_id: str | None = None) -> ListSessionsResponse:
        """
        Return the sessions of a user, or of all users of an app, the one updated last at the end; without events.

        Cost: one look at each session of the user; for all users, one at each session of the store before.
        """
        return ListSessionsResponse(sessions=await in_thread(self._list, app_name, user_id))

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Forget a session and its events; the state of its app and user stays."""
        await in_thread(self._store.engine.delete, session_key(app_name, user_id, session_id))

    async def get_user_state(self, *, app_name: str, user_id: str) -> dict[str, Any]:
        """Return the state all sessions of a user share, by names without `user:`."""
        return await in_thread(self._state, _user_key(app_name, user_id))

    async def append_event(self, session: Session, event: Event) -> Event:
        """
        Store an event and what it changes of the state, and bring `session` up to date; a partial one is passed on.

        Raises:
            SessionNotFoundError: The session is not there.
            InvalidMessageError: The event would not read back equal. Nothing was stored.
        """
        if event.partial:
            return event
        temporary = {name: value for name, value in event.actions.state_delta.items()
                     if name.startswith(State.TEMP_PREFIX)}
        stored = event.model_copy(update={"actions": event.actions.model_copy(update={
            "state_delta": {name: value for name, value in event.actions.state_delta.items()
                            if name not in temporary}})}) if temporary else event
        records, deltas = records_of_event(stored), _deltas(stored.actions.state_delta)
        session.state.update(temporary)
        revision, is_new = await in_thread(self._append, session, stored, records, deltas)
        event.actions.state_delta = stored.actions.state_delta
        seen = _Seen.of(session)
        if is_new and seen is not None and seen.revision == revision - 1:
            self._commit_event_to_session(session, event)
            _Seen(revision, seen.records + len(records)).mark(session)
        else:
            await self._catch_up(session, event)
        session.last_update_time = event.timestamp
        return event

    async def flush(self) -> None:
        """Do nothing: nothing is buffered."""

    # ---- in a worker thread ----------------------------------------------------------------------------------

    def _create(self, app_name: str, user_id: str, session_id: str, deltas: _Deltas, now_s: float) -> Session:
        key, taken = session_key(app_name, user_id, session_id), f"Session with id {session_id} already exists."
        known = {"app_name": app_name, "user_id": user_id, "last_update_time": now_s}
        if self._store.engine.exists(key):
            raise AlreadyExistsError(taken)
        # Before the session, because a call that failed in between could not be repeated with the session there.
        self._share(app_name, user_id, deltas)

        def begin(session: SessionData) -> None:
            if session.revision:
                raise AlreadyExistsError(taken)
            session.user_id, session.context, session.metadata = user_id, dict(deltas.session), {FIELD: known}

        revision = self._place(key).update(begin).revision
        state = self._merged(app_name, user_id, deltas.session)
        made = Session(id=session_id, app_name=app_name, user_id=user_id, state=state, last_update_time=now_s)
        _Seen(revision, 0).mark(made)
        return made

    def _get(self, app_name: str, user_id: str, session_id: str, config: GetSessionConfig) -> Session | None:
        key = session_key(app_name, user_id, session_id)
        whole = self._store.engine.whole(key)
        if whole is None:
            return None
        stored, archived = whole
        records = stored.transcript(archived)[0]
        events = events_of(records, _author(stored), newest=config.num_recent_events, since_s=config.after_timestamp)
        found = Session(
            id=session_id, app_name=app_name, user_id=user_id, events=events,
            state=self._merged(app_name, user_id, stored.context),
            last_update_time=_updated_s(stored.metadata, stored.updated_at))
        _Seen(stored.revision, len(records)).mark(found)
        return found

    def _list(self, app_name: str, user_id: str | None) -> list[Session]:
        app, owners = self._state(_app_key(app_name)), [user_id] if user_id is not None else []
        if user_id is None:
            of_app = ComparisonFilter.eq(f"metadata.{FIELD}.app_name", app_name)
            found = self._store.engine.find(filters=of_app, namespace=None)
            owners = sorted({str(info.metadata[FIELD].get("user_id")) for info in found})
        sessions = []
        for owner in owners:
            user = self._state(_user_key(app_name, owner))
            # In the place of its user, because a copy elsewhere tells the same app and user and would not be found.
            for info in self._store.engine.find(namespace=f"{FIELD}/{_pair(app_name, owner)}"):
                sessions.append(Session(
                    id=info.session_id, app_name=app_name, user_id=owner, state=_joined(app, user, info.context),
                    last_update_time=_updated_s(info.metadata, info.updated_at)))
        return sorted(sessions, key=lambda session: (session.last_update_time, session.user_id, session.id))

    def _append(
        self, session: Session, event: Event, records: list[Record], deltas: _Deltas
    ) -> tuple[int, bool]:
        """Store an event; return the session's revision, and False where the event was there already."""
        key, missing = _key_of(session), SessionNotFoundError(f"Session {session.id} not found.")
        before = self._store.engine.read(key, None)
        if before is None:
            raise missing
        if self._is_stored(key, before, records[0]):
            return before.revision, False  # nor is its state shared again, which others may have changed since
        self._share(session.app_name, session.user_id, deltas)
        is_new = False

        def add(stored: SessionData) -> bool:
            nonlocal is_new
            if not stored.revision:
                raise missing
            is_new = not _holds(stored, records[0])
            if is_new:
                stored.messages += [SessionMessage.from_dict(record) for record in records]
                stored.context = {**stored.context, **deltas.session}
                known = {"app_name": session.app_name, "user_id": session.user_id}
                stored.metadata = {**stored.metadata, FIELD: {**known, "last_update_time": event.timestamp}}
            return is_new

        return self._place(key).update(add).revision, is_new

    def _is_stored(self, key: SessionKey, stored: SessionData, record: Record) -> bool:
        """Tell whether a session holds a record; the archive is searched for what is older only."""
        window = stored.messages[stored.leading_messages or 0 :]
        if _holds(stored, record) or not window or record["timestamp"] > window[0].timestamp:
            return _holds(stored, record)
        whole = self._store.engine.whole(key)
        return whole is not None and record in whole[1]

    def _share(self, app_name: str, user_id: str, deltas: _Deltas) -> None:
        """Merge what an app's or a user's sessions share into what is stored of it."""
        for key, delta in ((_app_key(app_name), deltas.app), (_user_key(app_name, user_id), deltas.user)):
            def merge(stored: SessionData, delta: Record = delta) -> None:
                stored.context = {**stored.context, **delta}

            if delta:
                self._place(key).update(merge)

    def _state(self, key: SessionKey) -> Record:
        stored = self._store.engine.read(key, 1)
        return {} if stored is None else dict(stored.context)

    def _merged(self, app_name: str, user_id: str, own: Mapping[str, Any]) -> Record:
        return _joined(self._state(_app_key(app_name)), self._state(_user_key(app_name, user_id)), own)

    def _place(self, key: SessionKey) -> Transcript:
        return Transcript(key, self._store, keeps_all=True)

    def _missed(self, session: Session, event: Event) -> tuple[_Seen, list[Event]]:
        """Return how far the stored session has come, and the events a session object may not have."""
        whole = self._store.engine.whole(_key_of(session))
        if whole is None:
            raise SessionNotFoundError(f"Session {session.id} not found.")
        stored, archived = whole
        records, seen = stored.transcript(archived)[0], _Seen.of(session)
        start = seen.records if seen is not None else 0
        added = events_of(records[start:], _author(stored), start, names=names_of_calls(records[:start]))
        if seen is None:  # a session somebody made by hand: what follows the last event it has
            known = {one.id for one in session.events}
            last = max((at for at, one in enumerate(added) if one.id in known and one.id != event.id), default=-1)
            added = added[last + 1:]
        return _Seen(stored.revision, len(records)), added

    async def _catch_up(self, session: Session, event: Event) -> None:
        """Add to a session object what others, and this call, stored since it was read."""
        come, added = await in_thread(self._missed, session, event)
        known = {one.id: at for at, one in enumerate(session.events)}
        for one in added:
            if one.id not in known:
                self._commit_event_to_session(session, event if one.id == event.id else one)
        if event.id in known:
            session.events[known[event.id]] = event
        elif all(one.id != event.id for one in added):
            self._commit_event_to_session(session, event)  # others took records away meanwhile
        come.mark(session)


class _Deltas(NamedTuple):
    """A change of state, as JSON, by who shares it: the app's sessions, the user's, this one."""

    app: Record
    user: Record
    session: Record


class _Seen(NamedTuple):
    """How far a session object has come: the revision it was read at, and how many records there were."""

    revision: int
    records: int

    @classmethod
    def of(cls, session: Session) -> _Seen | None:
        """Return what was marked on a session object; None where nothing of ours was."""
        ours = re.fullmatch(r"praison:(\d+)/(\d+)", session._storage_update_marker or "")
        return cls(int(ours[1]), int(ours[2])) if ours else None

    def mark(self, session: Session) -> None:
        """Keep this on a session object, where ADK has a place for it that copies take along."""
        session._storage_update_marker = f"praison:{self.revision}/{self.records}"


def _key_of(session: Session) -> SessionKey:
    return session_key(session.app_name, session.user_id, session.id)


def _holds(stored: SessionData, record: Record) -> bool:
    """Tell whether a record stands in the window of a session."""
    return any(message.extra.get(FIELD) == record[FIELD] and message.to_dict() == record
               for message in reversed(stored.messages))


def _deltas(state: Mapping[str, Any]) -> _Deltas:
    """Return a change of state by who shares it. Raises InvalidMessageError where JSON cannot hold it."""
    deltas = _Deltas({}, {}, {})
    for name, value in storable(as_json(dict(state), "state"), "state").items():
        if name.startswith(State.APP_PREFIX):
            deltas.app[name.removeprefix(State.APP_PREFIX)] = value
        elif name.startswith(State.USER_PREFIX):
            deltas.user[name.removeprefix(State.USER_PREFIX)] = value
        elif not name.startswith(State.TEMP_PREFIX):
            deltas.session[name] = value
    return deltas


def _joined(app: Mapping[str, Any], user: Mapping[str, Any], own: Mapping[str, Any]) -> Record:
    return copy.deepcopy({**own, **{State.APP_PREFIX + name: value for name, value in app.items()},
                          **{State.USER_PREFIX + name: value for name, value in user.items()}})


def _pair(app_name: str, user_id: str) -> str:
    # The first "/" ends the app, so that no two pairs are one text, whatever is in them.
    app, user = text(app_name, "app_name") or "", text(user_id, "user_id") or ""
    return f"{app.replace('%', '%25').replace('/', '%2F')}/{user}"


def _app_key(app_name: str) -> SessionKey:
    return SessionKey(f"app/{text(app_name, 'app_name')}", _STATES)


def _user_key(app_name: str, user_id: str) -> SessionKey:
    return SessionKey(f"user/{_pair(app_name, user_id)}", _STATES)


def _author(stored: SessionData) -> str:
    return stored.agent_name or "assistant"


def _updated_s(metadata: Mapping[str, Any], updated_at: str) -> float:
    known = metadata.get(FIELD)
    if isinstance(known, Mapping) and isinstance(known.get("last_update_time"), (int, float)):
        return float(known["last_update_time"])
    try:
        return datetime.fromisoformat(updated_at).timestamp()
    except ValueError:
        return 0.0  # another store's file may tell no time
