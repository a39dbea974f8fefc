"""The agent for asyncio: each turn holds the session's lease, and is one write at its end."""

from __future__ import annotations

import inspect
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ..aio.manager import SessionManager
from ..aio.session import Session
from ..aio.threads import begun_in_thread
from ..engines.forks import renew_in_child
from ..errors import InvalidArgumentError, shown
from ..model import arguments
from ..model.message import Record
from . import turn
from .model import Model, model_named
from .tools import Tool, text_of_result, tools_of

_MOST_THREADS = 32  # each begins when it is needed


@dataclass
class AgentConfig:
    """
    What an agent is, without whose conversation it is in.

    Shape: `llm`, `instructions`, `prompt_caching` and `tools` as `praison_store.Agent` takes them; functions may be
    `async def`, and others run in a thread. `agent_id` tells agents of one session apart; None is its root agent.
    """

    name: str = "Agent"
    instructions: str | None = None
    llm: Model | str | None = None
    tools: Sequence[Callable[..., Any]] = field(default_factory=tuple)
    prompt_caching: bool = False
    agent_id: str | None = None


class Agent:
    """
    A conversation of a user with a model, kept by a session manager; await form of `praison_store.Agent`.

    Args:
        session_manager: where the conversation is kept; None keeps it in this object alone.
        user_id, session_id: whose session it is; without a `session_id` it is a new one, see `session_id`.
    Promise: runs on one session take turns, in this process and in others. A run that is cancelled keeps nothing; a
    function of it that is no coroutine goes on in its thread, and what it returns is nobody's.
    Source: names and behaviour follow NexAU's session management.
    """

    def __init__(
        self, *, config: AgentConfig, session_manager: SessionManager | None = None, user_id: str | None = None,
        session_id: str | None = None,
    ) -> None:
        if not isinstance(config, AgentConfig):
            raise InvalidArgumentError(f"config is an AgentConfig, not {shown(config)}: pass one.")
        if session_manager is not None and not isinstance(session_manager, SessionManager):
            raise InvalidArgumentError(f"session_manager is a SessionManager, not {shown(session_manager)}: pass one.")
        self.config, self.user_id = config, arguments.text(user_id, "user_id", none=True)
        self.session_id = arguments.text(session_id, "session_id", none=True) or uuid.uuid4().hex
        self._manager = session_manager
        self._tools: dict[str, Tool] = tools_of(config.tools, awaited=True)
        self._model = model_named(config.llm, caching=config.prompt_caching, awaited=True)
        self._said: list[Record] = []
        self._threads: ThreadPoolExecutor | None = None
        renew_in_child(self)

    def renew_after_fork(self) -> None:
        """Begin without threads in a forked child: those of the parent are not there."""
        self._threads = None

    async def run_async(self, prompt: str) -> str:
        """
        Say something to the model with all that was said before; return its answer, when the turn is stored.

        Raises:
            ModelCallError: The model did not answer; what was said is kept. LeaseHeldError, LeaseExpiredError: Another
                run has the session, or took it; nothing of this one is kept.
        """
        if self._manager is None:
            return await self.take_turn(prompt, list(self._said), self._said.extend)
        failure: Exception | None = None
        answer = ""
        try:
            async with self._manager.session(self.session_id, self.user_id) as session:
                agent_id, _ = await self._manager.register_agent(
                    user_id=self.user_id, session_id=self.session_id, agent_id=self.config.agent_id,
                    agent_name=self.config.name, is_root=self.config.agent_id is None)
                marks = {"agent_id": agent_id, "run_id": uuid.uuid4().hex}
                try:
                    answer = await self.take_turn(
                        prompt, _history_of(session, agent_id),
                        lambda said: [session.add_message(
                            {**record, **marks, "message_id": uuid.uuid4().hex}) for record in said])
                except Exception as error:  # noqa: BLE001 - raised below, when what was said is saved
                    failure = error
        except Exception as error:
            if failure is not None:
                raise error from failure  # what was said could not be saved either, and both are told
            raise
        if failure is not None:
            raise failure
        return answer

    async def close(self) -> None:
        """Give back the model's connections; the session manager is its owner's. The agent may go on."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False)
        closing = self._model.close()
        if closing is not None:
            await closing

    async def __aenter__(self) -> Agent:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def take_turn(self, prompt: str, history: Sequence[Record], keep: Callable[[list[Record]], object]) -> str:
        """
        Answer behind a history that somebody else keeps; return the answer.

        Args:
            keep: called once with what was said in the turn, as records; also where the model failed.
        Raises:
            ModelCallError: The model did not answer.
        """
        plan = turn.taken(self.config.instructions, history, prompt, self._tools, time.time)
        try:
            step = next(plan)
            while True:
                try:
                    told = keep(step.messages) if isinstance(step, turn.Keep) else await self._done(step)
                except Exception as error:  # noqa: BLE001 - the turn decides what it means
                    step = plan.throw(error)
                else:
                    step = plan.send(told)
        except StopIteration as end:
            answer: str = end.value
            return answer

    async def _done(self, step: turn.Ask | turn.Use) -> Any:
        if isinstance(step, turn.Ask):
            return await self._awaited(self._model, step.messages, step.tools)
        return text_of_result(await self._awaited(step.tool.function, **step.arguments))

    async def _awaited(self, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """Await a coroutine function; call any other in a thread, so that it does not hold up the loop."""
        if inspect.iscoroutinefunction(function):
            return await function(*given, **named)
        # Threads of its own: with the loop's, models that think would keep the store from its work.
        self._threads = self._threads or ThreadPoolExecutor(_MOST_THREADS, "praison_store agent")
        told = await begun_in_thread(self._threads, function, *given, **named)
        return await told if inspect.isawaitable(told) else told


def _history_of(session: Session, agent_id: str) -> list[Record]:
    """Return what one agent said and heard; messages nobody marked are everybody's."""
    return [message.to_dict() for message in session.messages
            if message.extra.get("agent_id") in (None, agent_id)]
