"""Whole sessions, listings and leases: what `HttpEngine` asks a service for, and 000's three requests."""

from __future__ import annotations

import hashlib
import time
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote, urlencode

from fastapi import APIRouter, Query, Request, Response

from ..aio.keeper import KEEP_ALL
from ..codec import values
from ..engines.contract import Change
from ..errors import InvalidArgumentError, InvalidMessageError, LeaseExpiredError, RevisionConflictError, shown
from ..model import portable
from ..model.filters import AndFilter, Filter, NotFilter, OrFilter, from_query
from ..model.lease import Lease
from ..model.message import Record
from ..model.selection import selected
from ..model.session import SessionData, SessionInfo
from ..model.session_id import SessionKey
from .access import Who
from .answers import Answer, JsonRoute, answer, refusals, value_of
from .expiry import SERVICE
from .requests import Asker, Namespace, Offset, SessionId, TheService, Told
from .service import Service, extended, not_found, row_of
from .status import PreconditionError

router = APIRouter(route_class=JsonRoute, tags=["whole sessions"])
_MOST_WRITES = 2**53
_MOST_RELEASED = 4096
_LONGEST_PATTERN = 200
_LISTING = ("namespace", "limit", "offset", "order_by", "search")
_JSON_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}
_FIELDS: dict[str, Any] = {
    "type": "object", "required": ["session_id", "user_id", "created_at", "last_accessed", "metadata", "context"]}
_SESSION: dict[int | str, dict[str, Any]] = {200: {"description": "The whole session; its ETag is what If-Match takes",
                  "content": {"application/json": {"schema": _FIELDS}}}, 304: {"description": "As you have it"}}


def tag_of(session: SessionData) -> str:
    """
    Return what names one version of a session.

    A session begun anew has the same revisions, so the tag tells what was written as well; not `updated_at`, which an
    engine has set aside where a change looks at a session.
    """
    last = session.messages[-1].to_dict() if session.messages else None
    writes = session.extra.get("recent_writes")
    seen = [session.created_at, session.user_id, session.metadata, session.context, len(session.messages), last,
            writes[-1:] if isinstance(writes, list) else None]
    return f'"{session.revision}.{hashlib.sha256(values.dumps_extended(seen)).hexdigest()[:16]}"'


@router.get("/sessions/{session_id}", responses={**refusals(404, 423), **_SESSION})
async def read_session(
    request: Request, session_id: SessionId, who: Asker, service: TheService, namespace: Namespace = None
) -> Response:
    """Return a session with everything it holds, archived messages included."""
    key = await service.key(who, session_id, namespace)
    await _check_lease(service, lease_of(key, request))
    session, archived = await service.whole(key)
    tag = tag_of(session)
    if {"*", tag} & _tags_of(request, "if-none-match"):
        return Response(status_code=304, headers={"ETag": tag})
    data = session.to_dict()
    data.pop("archived_bytes", None)
    data["archived_messages"] = archived
    data |= {"context": session.context, "last_accessed": session.updated_at}
    return answer(data, extended=extended(session), headers={"ETag": tag})


@router.put("/sessions/{session_id}", openapi_extra=_JSON_BODY, responses={
    **refusals(404, 409, 412, 423), 200: {"description": "Replaced"}, 201: {"description": "Begun"}})
async def write_session(
    request: Request, session_id: SessionId, who: Asker, service: TheService, namespace: Namespace = None
) -> Response:
    """Store a whole session in place of what is there; `If-Match` or `If-None-Match: *` say what may be there."""
    key = await service.key(who, session_id, namespace)
    wanted = _session_of(await _body(request), key, who)
    wanted.updated_at = service.expiry.begun_at(wanted)
    change = _replacing(wanted, _tags_of(request, "if-match"), _tags_of(request, "if-none-match"))
    session, is_new = await service.written(
        key, change, wanted.user_id, keep_archive=False, lease=lease_of(key, request))
    return Answer({"session_id": key.session_id, "revision": session.revision}, 201 if is_new else 200)


@router.delete("/sessions/{session_id}", responses={
    **refusals(404, 412, 423), 200: {"description": "Deleted", "model": Told}})
async def delete_session(
    request: Request, session_id: SessionId, who: Asker, service: TheService, namespace: Namespace = None
) -> Response:
    """Forget a session; with `If-Match`, that version of it only."""
    key = await service.key(who, session_id, namespace)
    lease = lease_of(key, request)
    await _check_lease(service, lease)
    wanted, revision = _tags_of(request, "if-match"), None
    if wanted:
        session = await service.live(key)
        if not {"*", tag_of(session)} & wanted:
            raise PreconditionError
        revision = session.revision
    try:
        await service.deleted(key, revision=revision, lease=lease)
    except RevisionConflictError:
        raise PreconditionError from None
    return Answer({"message": "Session deleted successfully"})


@router.get("/sessions", responses={**refusals(404), 200: {
    "description": "Sessions without their messages, the most recently written first",
    "content": {"application/json": {"schema": {"type": "object", "required": ["sessions", "total"]}}}}})
async def list_sessions(
    request: Request, who: Asker, service: TheService, namespace: Namespace = None,
    limit: Annotated[int | None, Query(ge=0, le=2**53)] = None, offset: Offset = 0,
    order_by: Annotated[list[str] | None, Query(description="fields; -name descends")] = None,
    search: Annotated[list[str] | None, Query(description="words one of which a session holds")] = None,
) -> Response:
    """
    Return a page of sessions. Any other parameter is a filter, `field__op=<JSON>`, such as `agent_name__eq="Ann"`.

    A page is no longer than the service allows; `total` tells how many sessions there are in all.
    """
    pairs = parse_qsl(request.url.query, keep_blank_values=True)
    filters = from_query(urlencode([pair for pair in pairs if pair[0] not in _LISTING]))
    _check_patterns(filters)
    most = min(service.config.max_page if limit is None else limit, service.config.max_page)
    place = service.namespace(who, namespace) if who.user is not None else namespace
    if search:
        infos = await _holding(service, [term.lower() for term in search], place)
        rows = [(info.record(), info) for info in infos]
        matching = list(selected(rows, service.expiry.living(filters), order_by, None, 0))
        page, total = matching[offset : offset + most], len(matching)
    else:
        page, total = await service.page(filters, place, order_by, most, offset)
    return answer({"sessions": [row_of(info) for info in page], "total": total})


def _check_patterns(condition: Filter | None) -> None:
    """Raise InvalidArgumentError where a pattern is so long that comparing it would hold up everybody else."""
    if isinstance(condition, (AndFilter, OrFilter)):
        for part in condition.filters:
            _check_patterns(part)
    elif isinstance(condition, NotFilter):
        _check_patterns(condition.filter)
    elif condition is not None and condition.op in ("like", "ilike") and len(condition.value) > _LONGEST_PATTERN:
        raise InvalidArgumentError(f"A pattern has at most {_LONGEST_PATTERN} characters: pass a shorter one.")


async def _holding(service: Service, terms: list[str], namespace: str | None) -> list[SessionInfo]:
    """Return the sessions that may hold one of the terms. Cost: every session that does is read."""
    places: list[str] = [] if namespace is None else [namespace]
    if namespace is None:
        places = sorted({info.namespace for info in await service.engine.find(namespace=None)} - {SERVICE})
    found = []
    for place in places:
        for session, _archived in await service.engine.search(terms, namespace=place):
            found.append(SessionInfo.from_header(session.header(), len(session.messages), 0, place))
    return sorted(found, key=lambda info: info.updated_at, reverse=True)


# ---- leases --------------------------------------------------------------------------------------------------------


@router.put("/sessions/{session_id}/lease", openapi_extra=_JSON_BODY,
            responses={**refusals(404, 409, 423), 200: {"description": "The lease"}})
async def hold_lease(
    request: Request, session_id: SessionId, who: Asker, service: TheService, namespace: Namespace = None
) -> Response:
    """Claim the lease on a session, `{owner, ttl_s}`, or renew it, `{owner, ttl_s, generation}`."""
    key, asked = await service.key(who, session_id, namespace), await _body(request)
    owner, ttl_s, generation = asked.get("owner"), asked.get("ttl_s"), asked.get("generation")
    if not isinstance(owner, str) or isinstance(ttl_s, bool) or not isinstance(ttl_s, (int, float)):
        raise InvalidArgumentError("A lease is asked for with owner, a text, and ttl_s, a number: pass both.")
    if generation is None:
        lease = await service.engine.claim(key, owner, ttl_s)
        return Answer({"detail": "Another holds the session: try again."}, 423) if lease is None else _shown(lease)
    if isinstance(generation, bool) or not isinstance(generation, int):
        raise InvalidArgumentError("generation is the whole number a claim was answered with: pass it.")
    try:
        return _shown(await service.engine.renew(Lease(key, owner, generation, 0.0), ttl_s))
    except LeaseExpiredError:
        return Answer({"detail": "The lease is another's by now."}, 409)


@router.delete("/sessions/{session_id}/lease", responses={
    **refusals(404, 409), 200: {"description": "Given back"}})
async def release_lease(
    session_id: SessionId, who: Asker, service: TheService, owner: Annotated[str, Query(min_length=1)],
    generation: Annotated[int, Query(ge=0, le=2**53)], namespace: Namespace = None,
) -> Response:
    """Give a lease back; 409 where it is another's by now, with what is known of who holds it."""
    key = await service.key(who, session_id, namespace)
    mark = (key, owner, generation)
    if await service.engine.release(Lease(key, owner, generation, 0.0)):
        service.released[mark] = None
        while len(service.released) > _MOST_RELEASED:
            del service.released[next(iter(service.released))]
        return Answer({"owner": None, "generation": generation, "expires_at_s": 0.0})
    # A release whose answer got lost is sent again, and its holder is not to think that it lost its lease.
    is_repeat = mark in service.released
    return Answer({"detail": "The lease is another's by now.", "owner": None if is_repeat else "another",
                   "generation": generation, "expires_at_s": 0.0}, 409)


def _shown(lease: Lease) -> Answer:
    return Answer({"owner": lease.owner, "generation": lease.generation, "expires_at_s": lease.expires_at_s})


def lease_of(key: SessionKey, request: Request) -> Lease | None:
    """Return the lease a request is made under. Raises InvalidArgumentError."""
    mark = request.headers.get("if-lease")
    if mark is None:
        return None
    generation, _, owner = mark.partition(" ")
    if not (generation.isascii() and generation.isdigit() and len(generation) < 19 and owner):
        raise InvalidArgumentError(f"If-Lease is a generation and an owner, not {shown(mark)}: pass both.")
    return Lease(key, unquote(owner), int(generation), 0.0)


async def _check_lease(service: Service, lease: Lease | None) -> None:
    """Make sure a request's lease is its holder's still. Raises LeaseExpiredError."""
    if lease is not None:
        await service.engine.update(lease.key, lambda session: False, now_s=time.time(), policy=KEEP_ALL, lease=lease)


# ---- the steps -----------------------------------------------------------------------------------------------------


async def _body(request: Request) -> dict[str, Any]:
    try:
        data = value_of(await request.body())
    except ValueError:
        raise InvalidArgumentError("The body is not JSON.") from None
    if not isinstance(data, dict):
        raise InvalidMessageError("The body is no JSON object: send one.", where="body")
    return data


def _session_of(data: Record, key: SessionKey, who: Who) -> SessionData:
    data.setdefault("session_id", key.session_id)
    data.setdefault("messages", [])
    data.pop("last_accessed", None)
    if data["session_id"] != key.session_id:
        raise InvalidArgumentError("The body is another session's: its session_id is the one in the URL.")
    wanted = checked(portable.imported(data))
    if who.user is not None:
        if wanted.user_id not in (None, who.user):
            raise not_found(key.session_id)
        wanted.user_id = who.user
    return wanted


def checked(wanted: SessionData) -> SessionData:
    """Return a session whose revision every engine can count on from. Raises InvalidArgumentError."""
    if wanted.revision > _MOST_WRITES:
        raise InvalidArgumentError(f"A revision is a count of writes, not {wanted.revision}: leave it out.")
    return wanted


def _tags_of(request: Request, header: str) -> set[str]:
    """Return the tags of a precondition, `*` too; empty where the request makes none."""
    return {tag.strip() for line in request.headers.getlist(header) for tag in line.split(",")} - {""}


def _replacing(wanted: SessionData, match: set[str], none_match: set[str]) -> Change:
    """Return the change that puts a session in place of what stands there. Raises PreconditionError in it."""
    become = portable.become(wanted, overwrite=True)

    def change(session: SessionData) -> bool | None:
        there = session.revision > 0
        names = {"*", tag_of(session)} if there else set()
        if (match and not match & names) or none_match & names:
            raise PreconditionError
        archived = wanted.extra.get("archived_messages")
        become(session)
        # An engine takes the archive out of what it is given, and makes a change anew where a database asks for it.
        session.extra = dict(wanted.extra)
        if archived is not None:
            session.extra["archived_messages"] = list(archived)
        return None

    return change
