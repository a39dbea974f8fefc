"""Who answers: a callable of the caller's, or a model asked through the client of its service."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from ..errors import InvalidArgumentError, MissingExtraError, shown
from ..model.formats import from_anthropic, from_openai_chat, to_anthropic, to_openai_chat
from ..model.message import Record
from .tools import Tool

Model = Callable[[list[Record]], Any]
DEFAULT_MODEL = "gpt-4o-mini"
_ANTHROPIC_TOKENS = 4096  # the service wants a bound


class Asked(Protocol):
    """What asks a model; the tools are what it may call. Awaited clients return an awaitable."""

    def __call__(self, messages: list[Record], tools: Sequence[Tool]) -> Any:
        """Return the answer: text, or a message as a dict."""
        ...


def model_named(llm: Model | str | None, *, caching: bool, awaited: bool) -> Asked:
    """
    Return what asks a model.

    Args:
        llm: a callable of the messages; or a model's name, with its service in front or not (`anthropic/claude-...`);
            None is the name in OPENAI_MODEL_NAME, else DEFAULT_MODEL.
        caching: let Anthropic cache what stays the same. awaited: through the client for asyncio.
    Raises:
        InvalidArgumentError: Neither. MissingExtraError: The service's client is not installed.
    """
    if callable(llm):
        if inspect.iscoroutinefunction(llm) and not awaited:
            raise InvalidArgumentError("llm is a coroutine function: pass it to praison_store.aio.Agent.")
        return partial(_called, llm)
    if llm is not None and (not isinstance(llm, str) or not llm):
        raise InvalidArgumentError(f"llm is a callable or the name of a model, not {shown(llm)}: pass one of them.")
    name = llm or os.environ.get("OPENAI_MODEL_NAME") or DEFAULT_MODEL
    service, _, rest = name.partition("/")
    if service == "anthropic" or name.startswith("claude"):
        return _Anthropic(rest if service == "anthropic" else name, caching, awaited)
    return _OpenAI(rest if service == "openai" else name, awaited)


def _called(llm: Model, messages: list[Record], tools: Sequence[Tool]) -> Any:
    return llm(messages)


class _OpenAI:
    """Ask a model through the `openai` client, which reads OPENAI_API_KEY and OPENAI_BASE_URL."""

    def __init__(self, name: str, awaited: bool) -> None:
        openai = _client("openai")
        self._name, self._awaited = name, awaited
        self._class = openai.AsyncOpenAI if awaited else openai.OpenAI
        self._made: Any = None

    def __call__(self, messages: list[Record], tools: Sequence[Tool]) -> Any:
        """Return the message of a chat completion; see `Asked`."""
        # Made with the first question, so that an agent may be made where no key is known yet.
        self._made = self._made or self._class()
        offered = {"tools": [tool.openai() for tool in tools]} if tools else {}
        asked = self._made.chat.completions.create(model=self._name, messages=to_openai_chat(messages), **offered)
        return _then(asked, _of_completion) if self._awaited else _of_completion(asked)


def _of_completion(completion: Any) -> Record:
    return from_openai_chat(completion.choices[0].message.model_dump(exclude_none=True))


class _Anthropic:
    """Ask a model through the `anthropic` client, which reads ANTHROPIC_API_KEY and ANTHROPIC_BASE_URL."""

    def __init__(self, name: str, caching: bool, awaited: bool) -> None:
        anthropic = _client("anthropic")
        self._name, self._caching, self._awaited = name, caching, awaited
        self._class = anthropic.AsyncAnthropic if awaited else anthropic.Anthropic
        self._made: Any = None

    def __call__(self, messages: list[Record], tools: Sequence[Tool]) -> Any:
        """Return the message of an answer; see `Asked`."""
        self._made = self._made or self._class()
        system, sent = to_anthropic(messages, caching=self._caching)
        offered: dict[str, Any] = {"tools": [tool.anthropic() for tool in tools]} if tools else {}
        if system:
            offered["system"] = system
        asked = self._made.messages.create(
            model=self._name, messages=sent, max_tokens=_ANTHROPIC_TOKENS, **offered)
        return _then(asked, _of_answer) if self._awaited else _of_answer(asked)


def _of_answer(answer: Any) -> Mapping[str, Any]:
    parts = [part.model_dump(exclude_none=True) for part in answer.content]
    found = from_anthropic([{"role": "assistant", "content": parts}])
    return found[0] if found else {"role": "assistant", "content": ""}


async def _then(awaitable: Any, read: Callable[[Any], Any]) -> Any:
    return read(await awaitable)


def _client(package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise MissingExtraError(
            f"A model named by its name needs the package {package}: pip install 'praison_store[{package}]', or pass "
            f"llm a function of the messages.", extra=package, name=package,
        ) from error
