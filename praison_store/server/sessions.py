"""004's routes, and what a user then expects: messages, search, forks, exports and imports."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response

from ..aio.threads import in_thread
from ..errors import InvalidMessageError
from ..model import portable, recall
from ..model.message import records_of
from ..model.session import SessionData, SessionHit, iso_utc
from ..model.session_id import SessionKey
from ..model.values import storable
from . import documents
from .answers import Answer, JsonRoute, answer, refusals
from .requests import (
    Asker,
    Begun,
    Namespace,
    NewFork,
    NewMessages,
    NewSession,
    Offset,
    SessionId,
    TheService,
    Told,
    UserId,
)
from .service import described, extended, new_id, not_found, owner_of, row_of

router = APIRouter(route_class=JsonRoute, tags=["sessions"])
# Before the routes of a session, or `stats` would be taken for an id; `HttpEngine` sends that id with an escape.
before = APIRouter(route_class=JsonRoute, tags=["service"])
Limit = Annotated[int, Query(ge=1, le=1000)]


@router.post("/sessions", responses={**refusals(404, 423), 200: {"description": "Begun", "model": Begun}})
async def begin_session(who: Asker, service: TheService, asked: NewSession | None = None) -> Response:
    """Begin a session; its id cannot be guessed."""
    asked = asked or NewSession()
    key = SessionKey(new_id(), service.namespace(who, None, asked.user_id))
    metadata, user_id = storable(asked.metadata or {}, "metadata"), owner_of(who, asked.user_id)

    def change(session: SessionData) -> None:
        session.user_id = user_id
        session.metadata = {"created_from": "api", **metadata, "query_count": 0}

    await service.written(key, change, user_id)
    return Answer({"session_id": key.session_id})


@before.get("/sessions/stats", responses={**refusals(), 200: {"description": "Counts"}})
async def statistics(request: Request, who: Asker, service: TheService) -> Response:
    """Count sessions and users; a user's token counts the user's own."""
    filters, namespace = service.mine(who, None)
    infos = await service.engine.find(filters=filters, namespace=namespace)
    alive = [info for info in infos if not service.expiry.has_ended(info)]
    swept_s = request.app.state.metrics.last_sweep_s()
    return Answer({
        "active_sessions_memory": len(alive), "total_sessions": len(infos),
        "unique_users": len({info.user_id for info in alive if info.user_id is not None}),
        "total_messages": sum(info.message_count for info in alive),
        "storage_type": service.engine.capabilities.name.rpartition("+")[2],
        "session_timeout_hours": service.config.timeout_hours,
        "last_cleanup": None if swept_s is None else iso_utc(swept_s),
    })


@before.post("/sessions/cleanup", responses={**refusals(404), 200: {"description": "Done", "model": Told}})
async def clean_up(who: Asker, service: TheService) -> Response:
    """Remove sessions past their time now. Nobody sees them any more even before; an admin's token is needed."""
    if not who.is_admin:
        raise not_found("")
    return Answer({"message": f"Cleaned up {await service.expiry.sweep()} expired sessions"})


@router.get("/users/{user_id}/sessions", responses={**refusals(404), 200: {"description": "The user's sessions"}})
async def sessions_of_user(
    user_id: UserId, who: Asker, service: TheService, limit: Limit = 1000, offset: Offset = 0
) -> Response:
    """Return a user's sessions, the most recently used first."""
    filters, namespace = service.mine(who, user_id)
    rows, total = await service.page(filters, namespace, None, min(limit, service.config.max_page), offset)
    return answer({"sessions": [row_of(info) for info in rows], "total_count": total})


# ---- messages ------------------------------------------------------------------------------------------------------


@router.get("/sessions/{session_id}/messages", responses={**refusals(404), 200: {"description": "A page of messages"}})
async def read_messages(
    session_id: SessionId, who: Asker, service: TheService, namespace: Namespace = None, limit: Limit = 100,
    offset: Offset = 0, newest: Annotated[bool, Query(description="count from the end")] = False,
) -> Response:
    """
    Return a page of a session's messages, archived ones included, oldest first.

    Each has its `index` from the first and tells whether it is `archived`; asked from `total` on: what came since.
    """
    session, archived = await service.whole(await service.key(who, session_id, namespace))
    messages, in_archive = session.transcript(archived)
    stop = len(messages) - offset if newest else min(offset + limit, len(messages))
    start = max(stop - limit, 0) if newest else min(offset, len(messages))
    rows = [{**messages[index], "index": index, "archived": index in in_archive}
            for index in range(start, max(stop, start))]
    return answer({
        "session": described(session), "messages": rows, "total": len(messages), "offset": start,
        "revision": session.revision,
    }, extended=extended(session))


@router.post("/sessions/{session_id}/messages", status_code=201, responses={
    **refusals(404, 423), 201: {"description": "Stored, all of them"}})
async def add_messages(
    request: Request, session_id: SessionId, given: NewMessages, who: Asker, service: TheService,
    namespace: Namespace = None,
) -> Response:
    """
    Store messages behind those that are there, all or none.

    Each is acknowledged; one whose `message_id` is there already is not stored a second time.
    """
    key = await service.key(who, session_id, namespace)
    messages = given.messages if given.messages is not None else [given.model_extra or {}]
    if not messages:
        raise InvalidMessageError("messages is empty: send one at least.", where="messages")
    lease = documents.lease_of(key, request)
    revision = await service.append(key, records_of(messages, time.time(), new=True), lease)
    return Answer({"session_id": session_id, "revision": revision, "accepted": len(messages)}, 201)


@router.get("/search", responses={**refusals(404), 200: {"description": "Sessions with the best match of each"}})
async def search(
    who: Asker, service: TheService, q: Annotated[str, Query(min_length=1, max_length=500)], limit: Limit = 5,
    window: Annotated[int, Query(ge=0, le=100)] = 5, namespace: Namespace = None,
) -> Response:
    """Return the sessions that hold words of a query, archived messages included, the best match first."""
    terms = recall.terms_of(q)
    place = service.namespace(who, namespace) if who.user is not None or namespace is not None else None
    found = await service.engine.search(terms, namespace=place) if terms else []

    def scored() -> list[SessionHit]:
        hits = [hit for session, archived in found if not service.expiry.has_ended(session)
                and (hit := recall.hit(session, archived, q, window))]
        return sorted(hits, key=lambda hit: (hit.score, hit.when), reverse=True)

    hits = await in_thread(scored)  # so that a search of much text holds up nobody else
    return answer({"hits": [vars(hit) for hit in hits[:limit]], "total": len(hits)})


# ---- whole sessions elsewhere --------------------------------------------------------------------------------------


@router.post("/sessions/{session_id}/fork", status_code=201, responses={
    **refusals(404, 409, 423), 201: {"description": "Begun"}})
async def fork_session(
    session_id: SessionId, who: Asker, service: TheService, asked: NewFork | None = None, namespace: Namespace = None
) -> Response:
    """Begin a session with the messages of another, or the first `at` of them; no tool exchange is cut."""
    key = await service.key(who, session_id, namespace)
    session, archived = await service.whole(key)
    asked = asked or NewFork()
    new = SessionKey(asked.new_id or new_id(), key.namespace)
    forked = portable.fork(session, archived, None, new.session_id, asked.at)
    forked.extra.pop("recent_writes", None)
    written, _ = await service.written(new, portable.become(forked), session.user_id)
    return Answer({"session_id": new.session_id, "parent_id": session_id, "message_count": len(written.messages)}, 201)


@router.get("/sessions/{session_id}/export", responses={**refusals(404), 200: {"description": "What import takes"}})
async def export_session(
    session_id: SessionId, who: Asker, service: TheService, namespace: Namespace = None
) -> Response:
    """Return everything there is of a session, as `POST /sessions/import` and `praison-store import` take it."""
    session, archived = await service.whole(await service.key(who, session_id, namespace))
    data = portable.exported(session, archived, None)
    data["sessions"][0].pop("recent_writes", None)
    return answer(data, extended=extended(session))


@before.post("/sessions/import", status_code=201, responses={
    **refusals(404, 409, 423), 201: {"description": "Stored"}})
async def import_session(
    payload: Annotated[dict[str, Any], Body()], who: Asker, service: TheService, overwrite: bool = False,
    namespace: Namespace = None,
) -> Response:
    """Store an exported session with its times, its id and its archive; one that is there only with `overwrite`."""
    wanted = documents.checked(portable.imported(payload))
    key = SessionKey(wanted.session_id, service.namespace(who, namespace, wanted.user_id))
    wanted.user_id = owner_of(who, wanted.user_id)
    wanted.updated_at = service.expiry.begun_at(wanted)
    await service.written(
        key, portable.become(wanted, overwrite=overwrite), wanted.user_id, keep_archive=not overwrite)
    return Answer({"session_id": key.session_id}, 201)
