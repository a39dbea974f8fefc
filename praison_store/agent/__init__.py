"""
Side door: a small agent whose conversation is kept.

    agent = Agent("Assistant", session_id="my-session-123")
    agent.start("Hello, my name is Alice")

Contract: a turn (what the user said, what tools were called and answered, what the model said) is one write, made when
the turn is over; a turn whose model failed keeps what the user said. History is read anew for each turn, so that agents
of one session in many processes see each other's turns, each of them whole.

    turn      what is asked and answered in a turn, without I/O      tools     functions a model may call
    model     who answers: a callable, or a model's name             awaited   the agent for asyncio

Considered and not taken: a write for each message, which shows others half a turn, and leaves a call without its result
where a process dies in between.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import InvalidArgumentError, OutcomeUnknownError, UnsupportedOperationError, shown
from ..model import arguments
from ..model.message import Record, llm_message
from ..store import DefaultSessionStore, get_default_session_store
from . import turn
from .model import Model, model_named
from .tools import Tool, text_of_result, tools_of


class Agent:
    """
    A conversation with a model, kept under its `session_id`.

    Args:
        name: told to the store, so that sessions can be listed by agent.
        instructions: the system text of every turn; it is not stored.
        llm: a callable that takes the messages and returns text or an assistant message; or the name of a model, asked
            through the client of its service (`gpt-...` by `openai`, `claude-...` by `anthropic`). None is the model
            the variable OPENAI_MODEL_NAME names.
        session_id: where the conversation is kept; None keeps it in this object alone.
        db: a database adapter or an engine's URL, in place of JSON files. store: a store to use as it is.
        prompt_caching: let Anthropic cache the system text and what was said before.
        tools: functions the model may call; their names, docstrings and parameters are told to it.
    Raises:
        InvalidArgumentError: An argument that cannot be meant. MissingExtraError: The model's client is not installed.
    Source: names and behaviour follow the PraisonAI session README.
    """

    def __init__(
        self, name: str = "Agent", instructions: str | None = None, *, llm: Model | str | None = None,
        session_id: str | None = None, db: Any = None, user_id: str | None = None, prompt_caching: bool = False,
        tools: Sequence[Callable[..., Any]] | None = None, store: DefaultSessionStore | None = None,
    ) -> None:
        if db is not None and store is not None:
            raise InvalidArgumentError("db and store both say where the conversation is kept: pass one of them.")
        if store is not None and not isinstance(store, DefaultSessionStore):
            raise InvalidArgumentError(f"store is a DefaultSessionStore, not {shown(store)}: pass one, or db.")
        self.name = arguments.text(name, "name") or ""
        self.instructions = arguments.text(instructions, "instructions", none=True)
        self.session_id = arguments.text(session_id, "session_id", none=True)
        self.user_id = arguments.text(user_id, "user_id", none=True)
        self._db = db
        self._tools: dict[str, Tool] = tools_of(tools, awaited=False)
        self._model = model_named(llm, caching=prompt_caching, awaited=False)
        self._store: DefaultSessionStore | None = None
        self._own: DefaultSessionStore | None = None
        self._said: list[Record] = []
        self._is_introduced = False
        if self.session_id is not None:
            self._own = DefaultSessionStore(db=db) if db is not None else None
            self._store = store or self._own or get_default_session_store()
            self._store.session_exists(self.session_id)  # an id or a place that will not do is told at once

    def start(self, prompt: str) -> str:
        """Say something; return the answer. See `chat`."""
        return self.chat(prompt)

    def run(self, prompt: str) -> str:
        """Say something; return the answer. See `chat`."""
        return self.chat(prompt)

    def chat(self, prompt: str) -> str:
        """
        Say something to the model with all that was said before; return its answer, when the turn is stored.

        Raises:
            ModelCallError: The model did not answer; what was said is kept, and asked again it is said again.
            SessionStoreError: The turn could not be stored. The answer is lost, what was stored before is whole.
        """
        self._introduce()
        plan = turn.taken(self.instructions, self._heard(), prompt, self._tools, time.time)
        try:
            step = next(plan)
            while True:
                try:
                    told = self._done(step)
                except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001 - the turn decides what it means
                    step = plan.throw(error)
                else:
                    step = plan.send(told)
        except StopIteration as end:
            answer: str = end.value
            return answer

    def _done(self, step: turn.Ask | turn.Use | turn.Keep) -> Any:
        if isinstance(step, turn.Ask):
            return self._model(step.messages, step.tools)
        if isinstance(step, turn.Use):
            return text_of_result(step.tool.function(**step.arguments))
        return self._keep(step.messages)

    @property
    def history(self) -> list[Record]:
        """Return what was said so far, as a model takes it, oldest first."""
        if self._store is None or self.session_id is None:
            return [llm_message(record) for record in self._said]
        return self._store.get_chat_history(self.session_id)

    def close(self) -> None:
        """Give back connections: the model's, and those of a `db` named by its URL. The agent may go on."""
        self._model.close()
        if self._own is not None and isinstance(self._db, str):
            self._own.close()

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _heard(self) -> list[Record]:
        """Return what was said so far as it is stored, with what services' forms need beside role and content."""
        if self._store is None or self.session_id is None:
            return list(self._said)
        return [message.to_dict() for message in self._store.get_session(self.session_id).messages]

    def _keep(self, messages: Sequence[Record]) -> None:
        """Store messages in one write, each with an id, so that a write whose outcome is unknown is repeated safely."""
        if self._store is None or self.session_id is None:
            self._said += messages
            return
        named = [{**message, "message_id": uuid.uuid4().hex} for message in messages]
        try:
            self._store.add_messages(self.session_id, named)
        except OutcomeUnknownError:
            self._store.add_messages(self.session_id, named)

    def _introduce(self) -> None:
        """Name the agent and its user in a session that names none, before the first turn."""
        if self._is_introduced or self._store is None or self.session_id is None:
            return
        try:
            session = self._store.get_session(self.session_id)
            name = None if session.agent_name else self.name
            user_id = None if session.user_id else self.user_id
            self._store.set_agent_info(self.session_id, name, user_id)
        except UnsupportedOperationError:
            pass  # an adapter without a hook for names keeps the messages all the same
        self._is_introduced = True
