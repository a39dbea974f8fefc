"""What requests hold: the parameters of paths, who asks, and the bodies of 004."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Depends, Path, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from .access import Who
from .service import Service

_DOTS = re.compile(r"(\.{1,2}~*)~")
_bearer = HTTPBearer(auto_error=False, description="A token made by `praison-store token`, where the service has any.")


def id_of(segment: str) -> str:
    """Return the id of a segment as it came; one of dots has a `~` behind it, which no proxy takes for a way up."""
    named = unquote(segment, errors="strict")
    dots = _DOTS.fullmatch(named)
    return dots[1] if dots else named


def _session_id(session_id: Annotated[str, Path(min_length=1, max_length=60_000)]) -> str:
    return id_of(session_id)


def _user_id(user_id: Annotated[str, Path(min_length=1, max_length=60_000)]) -> str:
    return unquote(user_id, errors="strict")


def _who(
    request: Request, _token: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Who:
    who = request.state.who  # `limits.Gate` sets it
    if not isinstance(who, Who):
        raise TypeError("this route is open to requests that name nobody, and must not ask who it is")
    return who


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


SessionId = Annotated[str, Depends(_session_id)]
UserId = Annotated[str, Depends(_user_id)]
Asker = Annotated[Who, Depends(_who)]
TheService = Annotated[Service, Depends(_service)]
Namespace = Annotated[str | None, Query(max_length=4096, description="Where a session stands; none means yours.")]
Offset = Annotated[int, Query(ge=0, le=2**53)]
_Name = Annotated[str, Field(min_length=1, max_length=1024)]


class NewSession(BaseModel):
    """A session to begin."""

    model_config = ConfigDict(extra="forbid")
    user_id: _Name | None = None
    metadata: dict[str, Any] | None = None


class NewMessages(BaseModel):
    """Messages to put behind those that are there: one as role and content, or several."""

    model_config = ConfigDict(extra="allow")
    messages: list[dict[str, Any]] | None = None


class NewFork(BaseModel):
    """A session to begin with the messages of another."""

    model_config = ConfigDict(extra="forbid")
    new_id: _Name | None = None
    at: int | None = Field(default=None, ge=0, le=2**53)


class Asked(BaseModel):
    """A query of an agent."""

    model_config = ConfigDict(extra="forbid")
    query: str = Field(min_length=1)
    agent_type: _Name | None = None
    thread_id: _Name | None = None
    user_id: _Name | None = None
    parameters: dict[str, Any] | None = None


class Begun(BaseModel):
    """The id of a session."""

    session_id: str


class Told(BaseModel):
    """A line for people."""

    message: str
