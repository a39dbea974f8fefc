"""Queries: an agent answers in a session, and what was asked, answered and counted is one write."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from ..aio.session import Session
from ..errors import ModelCallError, SessionStoreError
from ..model.message import Record
from ..model.session import SessionData, iso_utc
from ..model.session_id import SessionKey, file_stem
from . import agents as answering
from .access import Who
from .answers import JsonRoute, answer, refusals
from .requests import Asked, Asker, TheService
from .service import Service, new_id, not_found, owner_of
from .status import status_of

logger = logging.getLogger("praison_store.server")
router = APIRouter(route_class=JsonRoute, tags=["queries"])
_SHORT, _STORED_ANSWER = 200, 1000
_METADATA = {"type": "object", "required": [
    "agent_type", "agent_name", "thread_id", "execution_time", "timestamp", "query_length", "session_info"]}
_SCHEMA = {"type": "object", "required": ["answer", "logs", "metadata"], "properties": {"metadata": _METADATA}}
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"description": "The answer", "content": {"application/json": {"schema": _SCHEMA}}}}
_STREAM: dict[int | str, dict[str, Any]] = {200: {"description": "Server-sent events: session, delta, done or error",
                 "content": {"text/event-stream": {"schema": {}}}}}


@router.get("/agents", responses={**refusals(), 200: {"description": "Who answers"}})
async def list_agents(request: Request) -> Response:
    """Return the agents; the first answers where a query names none."""
    found = _agents(request).listed()
    return answer({"agents": found, "total_count": len(found)})


@router.post("/query", responses={**refusals(404, 409, 423, 502), **_ANSWER})
async def query(request: Request, asked: Asked, who: Asker, service: TheService) -> Response:
    """
    Let an agent answer.

    Without `thread_id` in a new session; an unknown one begins a session with exactly that id.
    """
    turn = await _Query.begun(service, _agents(request), asked, who)
    return answer(await _counted(request, turn, None))


@router.post("/query/stream", responses={**refusals(404, 409, 423), **_STREAM})
async def query_in_pieces(request: Request, asked: Asked, who: Asker, service: TheService) -> Response:
    """Let an agent answer, and tell the pieces as they come; the last event is what `POST /query` answers."""
    turn = await _Query.begun(service, _agents(request), asked, who)
    return StreamingResponse(_events(request, turn), media_type="text/event-stream")


def _agents(request: Request) -> answering.Agents:
    agents: answering.Agents = request.app.state.agents
    return agents


async def _counted(request: Request, turn: _Query, tell: answering.Tell | None) -> Record:
    queries = request.app.state.metrics.queries
    try:
        told = await turn.taken(tell)
    except SessionStoreError:
        queries.labels(turn.name, "failed").inc()
        raise
    queries.labels(turn.name, "answered").inc()
    return told


async def _events(request: Request, turn: _Query) -> AsyncIterator[bytes]:
    pieces: asyncio.Queue[str | None] = asyncio.Queue()
    # A task that ends by itself: whoever hangs up finds question and answer in the session, as after `POST /query`.
    work = asyncio.get_running_loop().create_task(_counted(request, turn, pieces.put_nowait))
    answering: set[asyncio.Task[Record]] = request.app.state.answering
    answering.add(work)
    work.add_done_callback(answering.discard)
    work.add_done_callback(lambda _: pieces.put_nowait(None))
    yield _event("session", {"thread_id": turn.key.session_id})
    while (piece := await pieces.get()) is not None:
        yield _event("delta", {"text": piece})
    try:
        yield _event("done", await work)
    except SessionStoreError as error:
        status, text = status_of(error)
        yield _event("error", {"status": status, "detail": text})
    except Exception as error:  # noqa: BLE001 - the answer has begun, so its end is all that can tell of it
        logger.error("a query failed: %s", type(error).__name__)  # noqa: TRY400 - a trace shows paths
        yield _event("error", {"status": 500, "detail": "The service failed."})


def _event(name: str, data: Record) -> bytes:
    # JSON has no raw newline, so one line of data is one event.
    return b"event: %s\ndata: %s\n\n" % (name.encode(), answer(data).body)


class _Query:
    """One query: who asks, in which session, and who answers."""

    def __init__(
        self, service: Service, key: SessionKey, asked: Asked, agent: tuple[str, str, Any], user_id: str | None
    ) -> None:
        self.key, self.name = key, agent[1]
        self._service, self._asked, self._user_id = service, asked, user_id
        self._agent_type, _, self._agent = agent
        self._is_new = False

    @classmethod
    async def begun(cls, service: Service, agents: answering.Agents, asked: Asked, who: Who) -> _Query:
        """Return a turn in a session that is there. Raises SessionNotFoundError: it, or the agent, is not."""
        agent = agents.named(asked.agent_type)
        namespace = service.namespace(who, None, asked.user_id)
        if asked.thread_id is None:
            key = SessionKey(new_id(), namespace)
        else:
            file_stem(asked.thread_id)
            key = SessionKey(asked.thread_id, namespace)
            if who.user is None and not namespace:
                key = await service.key(who, asked.thread_id)
        turn = cls(service, key, asked, agent, owner_of(who, asked.user_id))
        await turn._open()
        return turn

    async def _open(self) -> None:
        """Begin the session where there is none; refuse another user's."""
        user_id = self._user_id

        def change(session: SessionData) -> bool:
            if user_id is not None and session.user_id not in (None, user_id):
                raise not_found(self.key.session_id)  # no session is shared by accident
            if session.revision and (user_id is None or session.user_id is not None):
                return False
            session.user_id = session.user_id or user_id
            session.metadata = {"query_count": 0, "created_from": "query", **session.metadata}
            return True

        _, self._is_new = await self._service.written(self.key, change, user_id)

    async def taken(self, tell: answering.Tell | None) -> Record:
        """Ask, answer and count in the session's turn, and write it at once; return what the client is told."""
        failure: ModelCallError | None = None
        text, begun_s = "", time.perf_counter()
        namespace = self.key.namespace or None
        async with self._service.manager.session(self.key.session_id, namespace) as session:
            history = [message.to_dict() for message in session.messages]
            try:
                text = await answering.answered(
                    self._agent, self._asked.query, history,
                    lambda said: [session.add_message(record) for record in said], self._asked.parameters, tell)
            except ModelCallError as error:
                failure = error  # raised below, when what was asked and counted is saved
            took_s = time.perf_counter() - begun_s
            self._note(session, text, took_s, failure)
            count = session.metadata["query_count"]
            user_id = session.user_id
        if failure is not None:
            raise failure
        return {
            "answer": text, "logs": [], "metadata": {
                "agent_type": self._agent_type, "agent_name": self._agent.config.name,
                "thread_id": self.key.session_id, "execution_time": round(took_s, 6), "timestamp": iso_utc(time.time()),
                "query_length": len(self._asked.query), "session_info": {
                    "user_id": user_id, "session_created": self._is_new, "session_queries": count},
            },
        }

    def _note(self, session: Session, text: str, took_s: float, failure: ModelCallError | None) -> None:
        """Note the query in the session, as 004 documents it."""
        query, context = self._asked.query, session.context
        session.user_id = session.user_id or self._user_id
        known = session.metadata.get("query_count")
        session.metadata["query_count"] = (known if type(known) is int else 0) + 1
        session.metadata["last_query"] = query[:_SHORT]
        session.metadata["last_agent_type"] = self._agent_type
        session.agent_name = session.agent_name or self._agent.config.name
        context["last_query"] = query
        context["last_agent_used"] = self._agent.config.name
        context["last_execution_time"] = round(took_s, 6)
        errors = context.get("error_count")
        context["error_count"] = errors if type(errors) is int else 0
        context.setdefault("last_error", None)
        if failure is None:
            context["last_response"] = text[:_STORED_ANSWER]
        else:
            # The error's own words may name a path or a key, and whoever sees the session would read them.
            context["error_count"] += 1
            context["last_error"] = type(failure.__cause__ or failure).__name__


