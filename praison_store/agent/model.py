"""Who answers: a callable of the caller's, or a model asked through the client of its service."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ..errors import InvalidArgumentError, MissingExtraError, ModelCallError, shown
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

    def close(self) -> Any:
        """Give back connections; awaited clients return an awaitable, or None where there is nothing to wait for."""
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
        return _Called(llm)
    if llm is not None and (not isinstance(llm, str) or not llm):
        raise InvalidArgumentError(f"llm is a callable or the name of a model, not {shown(llm)}: pass one of them.")
    name = llm or os.environ.get("OPENAI_MODEL_NAME") or DEFAULT_MODEL
    service, _, rest = name.partition("/")
    if service == "anthropic" or name.startswith("claude"):
        return _Anthropic(rest if service == "anthropic" else name, caching, awaited)
    return _OpenAI(rest if service == "openai" else name, awaited)


class _Called:
    """Ask a function of the caller's."""

    def __init__(self, llm: Model) -> None:
        self._llm = llm

    def __call__(self, messages: list[Record], tools: Sequence[Tool]) -> Any:
        """Return what the function does; see `Asked`."""
        return self._llm(to_openai_chat(messages))

    def close(self) -> None:
        """Do nothing: the function is the caller's."""


class _Client:
    """The client of a service, made with the first question, so that an agent may be made where no key is known yet."""

    def __init__(self, package: str, names: tuple[str, str], awaited: bool) -> None:
        self._class = getattr(_package(package), names[awaited])
        self._awaited = awaited
        self._made: Any = None
        self._loop: object = None

    def answered(self, ask: Callable[[Any], Any], read: Callable[[Any], Any]) -> Any:
        """Ask through the client, and return what is read from its answer, or the coroutine that does."""
        return self._awaited_answer(ask, read) if self._awaited else read(ask(self._opened(None)))

    async def _awaited_answer(self, ask: Callable[[Any], Any], read: Callable[[Any], Any]) -> Any:
        import asyncio  # who awaits has it; who does not need not load it

        return read(await ask(self._opened(asyncio.get_running_loop())))

    def _opened(self, loop: object) -> Any:
        # A client for asyncio belongs to the event loop it was first used in.
        if self._made is None or self._loop is not loop:
            self._made, self._loop = self._class(), loop
        return self._made

    def close(self) -> Any:
        """Close the client; the next question makes another. See `Asked.close`."""
        made, self._made = self._made, None
        return None if made is None else made.close()


class _OpenAI(_Client):
    """Ask a model through the `openai` client, which reads OPENAI_API_KEY and OPENAI_BASE_URL."""

    def __init__(self, name: str, awaited: bool) -> None:
        super().__init__("openai", ("OpenAI", "AsyncOpenAI"), awaited)
        self._name = name

    def __call__(self, messages: list[Record], tools: Sequence[Tool]) -> Any:
        """Return the message of a chat completion; see `Asked`."""
        offered = {"tools": [tool.openai() for tool in tools]} if tools else {}
        asked = {"model": self._name, "messages": to_openai_chat(messages), **offered}
        return self.answered(lambda client: client.chat.completions.create(**asked), _of_completion)


def _of_completion(completion: Any) -> Record:
    if completion.choices[0].finish_reason == "length":
        raise _cut(completion.model)
    return from_openai_chat(completion.choices[0].message.model_dump(exclude_none=True))


class _Anthropic(_Client):
    """Ask a model through the `anthropic` client, which reads ANTHROPIC_API_KEY and ANTHROPIC_BASE_URL."""

    def __init__(self, name: str, caching: bool, awaited: bool) -> None:
        super().__init__("anthropic", ("Anthropic", "AsyncAnthropic"), awaited)
        self._name, self._caching = name, caching

    def __call__(self, messages: list[Record], tools: Sequence[Tool]) -> Any:
        """Return the message of an answer; see `Asked`."""
        system, sent = to_anthropic(messages, caching=self._caching)
        offered: dict[str, Any] = {"tools": [tool.anthropic() for tool in tools]} if tools else {}
        if system:
            offered["system"] = system
        asked = {"model": self._name, "messages": sent, "max_tokens": _ANTHROPIC_TOKENS, **offered}
        return self.answered(lambda client: client.messages.create(**asked), _of_answer)


def _of_answer(answer: Any) -> Mapping[str, Any]:
    if answer.stop_reason == "max_tokens":
        raise _cut(answer.model)
    parts = [part.model_dump(exclude_none=True) for part in answer.content]
    found = from_anthropic([{"role": "assistant", "content": parts}])
    return found[0] if found else {"role": "assistant", "content": ""}


def _cut(model: str) -> ModelCallError:
    """Return the error of an answer that is not whole: stored, nobody could tell that it was cut."""
    return ModelCallError(
        f"The answer of {model} was cut: it may have no more tokens. What was said is kept: ask for less at once, or "
        f"pass llm a function that allows more.")


def _package(package: str) -> Any:
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
