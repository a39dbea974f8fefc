"""The application: its routes behind their limits, and what lives as long as it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import RedirectResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from .. import __version__
from ..aio.urls import engine_from_url
from ..engines.json_directory import session_directory
from ..errors import SessionStoreError
from ..model.session_id import SessionKey
from . import documents, queries, sessions
from .access import Tokens
from .agents import Agents
from .answers import Answer, JsonRoute, refusals, tell_http_error, tell_invalid, tell_store_error
from .config import Config
from .expiry import SERVICE, Expiry
from .limits import Gate
from .metrics import CONTENT_TYPE, Metrics
from .requests import Asker
from .service import Service, not_found
from .status import PreconditionError

PAGE = Path(__file__).parent / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def application(config: Config) -> FastAPI:
    """Return the application of a configuration; the store is opened when it starts."""
    tokens = Tokens(config.token_file) if config.token_file else None
    metrics, agents = Metrics(), Agents(config.agents)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = engine_from_url(config.store or session_directory(None))
        expiry = Expiry(engine, config.timeout_s, config.cleanup_interval_minutes * 60, metrics.note_sweep)
        app.state.service = Service(config, engine, tokens, expiry)
        expiry.start()
        async with AsyncExitStack() as ends:
            for end in (engine.close, agents.close, expiry.stop):
                ends.push_async_callback(end)
            yield
            await asyncio.gather(*app.state.answering, return_exceptions=True)

    app = FastAPI(
        title="praison-store", version=__version__, lifespan=lifespan, redirect_slashes=False, redoc_url=None,
        description="Sessions of AI agents: conversations that are kept, continued, searched and moved.",
        separate_input_output_schemas=False,
    )
    app.state.metrics, app.state.agents = metrics, agents
    app.state.answering = set[asyncio.Task[Any]]()
    app.router.route_class = JsonRoute
    _add_health(app)
    for router in (sessions.before, queries.router, sessions.router, documents.router):
        app.include_router(router)
    if PAGE.is_dir():
        app.add_route("/ui", lambda _: RedirectResponse("/ui/"), include_in_schema=False)
        app.mount("/ui", Page(directory=PAGE, html=True))
    for kind in (SessionStoreError, PreconditionError):
        app.add_exception_handler(kind, tell_store_error)
    app.add_exception_handler(RequestValidationError, tell_invalid)
    app.add_exception_handler(HTTPException, tell_http_error)
    app.add_middleware(Gate, config=config, tokens=tokens, metrics=metrics)
    if config.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(config.cors_origins), allow_methods=["*"],
            allow_headers=["Authorization", "Content-Type", "If-Match", "If-None-Match"], expose_headers=["ETag"])
    return app


class Page(StaticFiles):
    """The page's files; they may load nothing from elsewhere and run nothing that stands in a session."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file, with what it may do."""
        response = await super().get_response(path, scope)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Frame-Options"] = "DENY"
        return response


def _add_health(app: FastAPI) -> None:
    told: dict[int | str, dict[str, Any]] = {**refusals(404), 200: {"description": "It is well"}}

    @app.get("/", tags=["service"], responses=told)
    async def health() -> Response:
        """Tell that the service is there."""
        return Answer({"status": "ok", "service": "praison-store", "version": __version__})

    @app.get("/health/live", tags=["service"], responses=told)
    async def live() -> Response:
        """Tell that this worker answers."""
        return Answer({"status": "ok"})

    @app.get("/health/ready", tags=["service"], responses=told)
    async def ready(request: Request) -> Response:
        """Tell that the store answers; 503 where it does not."""
        service: Service = request.app.state.service
        await service.engine.exists(SessionKey("ready", SERVICE))
        return Answer({"status": "ok"})

    @app.get("/metrics", tags=["service"], responses={**told, 200: {
        "description": "Counters for Prometheus", "content": {"text/plain": {"schema": {"type": "string"}}}}})
    async def metrics(request: Request, who: Asker) -> Response:
        """Return the counters; an admin's token is needed where there are tokens."""
        if not who.is_admin:
            raise not_found("")
        found: Metrics = request.app.state.metrics
        return Response(found.text(), headers={"Content-Type": CONTENT_TYPE})
