"""The agents that answer queries: functions and `AgentConfig`s by name, and one that repeats what it is told."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from ..agent.awaited import Agent, AgentConfig
from ..aio.threads import begun_in_thread
from ..errors import InvalidArgumentError, SessionNotFoundError, shown
from ..model.message import Record
from ..model.recall import text_of

ECHO = "echo"
_MOST_THREADS = 256
Tell = Callable[[str], None]
InThread = Callable[..., Awaitable[Any]]
_tell: ContextVar[Tell | None] = ContextVar("praison_store_tell", default=None)
_parameters: ContextVar[dict[str, Any] | None] = ContextVar("praison_store_parameters", default=None)


def echo(messages: list[Record]) -> str:
    """Repeat what was said last, and tell how much was said before: enough to try a client out."""
    earlier = sum(message.get("role") == "user" for message in messages) - 1
    return f"You said: {text_of(messages[-1].get('content'))} ({earlier} earlier)"


class Agents:
    """
    The agents of a service by name.

    Args:
        named: for each name a function of the messages, an `AgentConfig`, or `module:name` of one. A function may be
            `async def`, may yield its answer in pieces, and may take `parameters`, those of the query.
    Raises:
        InvalidArgumentError: There is no such module or name in it, or it can answer nothing.
    """

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._is_trial = not named
        given = named if named else {ECHO: echo}
        # Threads of their own: with the loop's, agents that think would keep the store from its work.
        self._threads = ThreadPoolExecutor(_MOST_THREADS, "praison_store agent")
        self._agents = {name: self._agent(name, _resolved(name, one)) for name, one in given.items()}

    def listed(self) -> list[Record]:
        """Return what there is of each agent to tell, the one that answers by default first."""
        return [{"name": name, "agent_name": agent.config.name, "description": (agent.config.instructions or "")[:200]}
                for name, agent in self._agents.items()]

    def named(self, agent_type: str | None) -> tuple[str, str, Agent]:
        """
        Return how an agent was asked for, its name, and itself; the first one for None.

        Raises:
            SessionNotFoundError: There is none of that name. While none is registered, the echo answers to every name.
        """
        name = next(iter(self._agents)) if agent_type is None or self._is_trial else agent_type
        if name not in self._agents:
            raise SessionNotFoundError("Agent not found", session_id="")
        return agent_type or name, name, self._agents[name]

    async def close(self) -> None:
        """Give back the connections of the agents' models."""
        for agent in self._agents.values():
            await agent.close()
        self._threads.shutdown(wait=False)

    def _agent(self, name: str, given: Any) -> Agent:
        if isinstance(given, AgentConfig):
            config = replace(given, llm=_asked(given.llm, self._in_thread)) if callable(given.llm) else given
            return Agent(config=config)
        if not callable(given):
            message = f"The agent {name} is a function of the messages, not {shown(given)}: pass one."
            raise InvalidArgumentError(message)
        return Agent(config=AgentConfig(name=name, llm=_asked(given, self._in_thread)))

    async def _in_thread(self, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        return await begun_in_thread(self._threads, function, *given, **named)


async def answered(
    agent: Agent, query: str, history: Sequence[Record], keep: Callable[[list[Record]], object],
    parameters: dict[str, Any] | None, tell: Tell | None,
) -> str:
    """Return an agent's answer; pieces of it are told as they come, or all of it. Raises ModelCallError."""
    pieces = 0

    def counted(piece: str) -> None:
        nonlocal pieces
        pieces += 1
        if tell is not None:
            tell(piece)

    told, given = _tell.set(counted), _parameters.set(parameters)
    try:
        text = await agent.take_turn(query, history, keep)
    finally:
        _tell.reset(told)
        _parameters.reset(given)
    if not pieces:
        counted(text)
    return text


def _resolved(name: str, place: Any) -> Any:
    if not isinstance(place, str):
        return place
    module, _, attribute = place.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidArgumentError(
            f"The agent {name} is not at {shown(place)}: {error}. Pass module:callable, found from here or PYTHONPATH."
        ) from error
    return found


def _asked(function: Callable[..., Any], in_thread: InThread) -> Callable[[list[Record]], Any]:
    """Return a function as a model that is awaited: its pieces are told and joined."""
    try:
        takes_parameters = "parameters" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        takes_parameters = False

    async def ask(messages: list[Record]) -> Any:
        named = {"parameters": _parameters.get() or {}} if takes_parameters else {}
        if inspect.iscoroutinefunction(function):
            reply = await function(messages, **named)
        elif inspect.isasyncgenfunction(function):
            reply = function(messages, **named)
        else:
            reply = await in_thread(function, messages, **named)
            reply = await reply if inspect.isawaitable(reply) else reply
        return await _joined(reply, in_thread)

    return ask


async def _joined(reply: Any, in_thread: InThread) -> Any:
    tell = _tell.get()
    if isinstance(reply, AsyncIterator):
        pieces = []
        async for piece in reply:
            pieces.append(str(piece))
            if tell is not None:
                tell(pieces[-1])
        return "".join(pieces)
    if isinstance(reply, Iterator):
        pieces = []
        while (piece := await in_thread(next, reply, None)) is not None:
            pieces.append(str(piece))
            if tell is not None:
                tell(pieces[-1])
        return "".join(pieces)
    return reply
