"""`praison-store serve`: the HTTP service."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import InvalidArgumentError, MissingExtraError
from .options import Directory
from .printing import tell


def serve(
    directory: Directory = None,
    config: Annotated[str | None, typer.Option(metavar="FILE", help="A YAML file of settings.")] = None,
    host: Annotated[str | None, typer.Option(help="The address to bind; 127.0.0.1 by default.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="The port; 8080 by default.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="How many processes answer.")] = None,
    agent: Annotated[list[str] | None, typer.Option(
        metavar="NAME=MODULE:CALLABLE", help="An agent that answers queries; the first is the default one.")] = None,
    tokens: Annotated[str | None, typer.Option(
        metavar="FILE", help="Answer the tokens of this file only; `praison-store token` makes it.")] = None,
    timeout_hours: Annotated[float | None, typer.Option(
        help="Remove sessions so long behind their last write; 0 is never.")] = None,
    max_sessions_per_user: Annotated[int | None, typer.Option(
        min=0, help="Remove a user's least recently used sessions above this; 0 is no limit.")] = None,
    allow_host: Annotated[list[str] | None, typer.Option(
        metavar="NAME", help="A name the service is reached by, behind a proxy for one.")] = None,
    cors_origin: Annotated[list[str] | None, typer.Option(
        metavar="ORIGIN", help="Pages of this origin may use the service.")] = None,
) -> None:
    """
    Serve sessions over HTTP: a REST API, agents that answer in sessions, documentation at /docs.

    Settings come from --config, over it from variables PRAISON_SERVER_<NAME>, over both from these options. Without
    any, the default directory is served to this machine alone, and nothing is ever removed.
    """
    from ..server import config as settings

    agents = dict(_named(one) for one in agent or ()) or None
    loaded = settings.load(config, flags={
        "store": directory, "host": host, "port": port, "workers": workers, "agents": agents, "token_file": tokens,
        "timeout_hours": timeout_hours, "max_sessions_per_user": max_sessions_per_user, "hosts": allow_host,
        "cors_origins": cors_origin,
    })
    try:
        from ..server import running
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("praison_store"):
            raise
        raise MissingExtraError(
            f"The service needs {error.name}: pip install 'praison_store[server]'.", extra="server") from error
    tell(f"Serving on http://{loaded.host}:{loaded.port} (page at /ui/, documentation at /docs); Ctrl-C stops.")
    running.run(loaded)


def _named(given: str) -> tuple[str, str]:
    name, mark, place = given.partition("=")
    if not mark or not name or ":" not in place:
        raise InvalidArgumentError(f"--agent is NAME=MODULE:CALLABLE, not {given!r}: pass one.")
    return name, place
