"""Every contender as one shape: ours, and the peers that are installed."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

# Set before any peer is imported: none may look at a home directory or talk to a network.
os.environ.setdefault("PRAISONAI_HOME", os.path.join(tempfile.gettempdir(), "praison-store-benchmarks"))
os.environ.update(PRAISONAI_TELEMETRY_DISABLED="true", DO_NOT_TRACK="true", OPENAI_AGENTS_DISABLE_TRACING="1")
os.environ.update(LANGCHAIN_TRACING_V2="false", LANGSMITH_TRACING="false")

from praison_store import DefaultSessionStore

SESSION = "session-1"
LINE_BYTES = 200
_LINE_WITHOUT_TEXT_BYTES = 74


def text_of(label: str = "") -> str:
    """Return a message's text that starts with a label and fills one line of 200 bytes in our file."""
    return label.ljust(LINE_BYTES - _LINE_WITHOUT_TEXT_BYTES, "x")


class Store(Protocol):
    """One session in one store."""

    def add(self, text: str) -> int | None:
        """Add a user's message; return the nanoseconds it took where the store times itself. Raises if refused."""
        ...

    def history(self) -> int | None:
        """Read the newest 100 messages; return the nanoseconds it took where the store times itself."""
        ...

    def fill(self, texts: Sequence[str]) -> None:
        """Replace the session's messages."""
        ...

    def texts(self) -> list[str]:
        """Return the text of every message the store holds, archived ones included."""
        ...

    def close(self) -> None:
        """Give back descriptors."""
        ...


class RefusedError(Exception):
    """A store said that it did not take a message, without raising."""


class Ours:
    """This package's store."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.store = DefaultSessionStore(directory, **options)
        self.path = f"{directory}/{SESSION}.json"

    def add(self, text: str) -> None:
        """Add a message."""
        self.store.add_message(SESSION, "user", text)

    def history(self) -> None:
        """Read the window."""
        self.store.get_chat_history(SESSION)

    def fill(self, texts: Sequence[str]) -> None:
        """Replace the messages."""
        self.store.set_chat_history(SESSION, [{"role": "user", "content": text} for text in texts])

    def texts(self) -> list[str]:
        """Return the archive and the window."""
        kept = [*self.store.get_archived_messages(SESSION), *self.store.get_session(SESSION).messages]
        return [str(message.content) for message in kept]

    def close(self) -> None:
        """Close the store."""
        self.store.close()


class PraisonAI:
    """The session store of PraisonAI's agents."""

    def __init__(self, directory: Path, **options: Any) -> None:
        from praisonaiagents.session.store import (  # type: ignore[import-untyped]  # the package tells no types
            DefaultSessionStore as TheirStore,
        )

        logging.getLogger("praisonaiagents").setLevel(logging.CRITICAL + 1)
        self.store = TheirStore(session_dir=str(directory), **options)

    def add(self, text: str) -> None:
        """Add a message."""
        if not self.store.add_message(SESSION, "user", text):
            raise RefusedError("add_message returned False")

    def history(self) -> None:
        """Read the window."""
        self.store.get_chat_history(SESSION)

    def fill(self, texts: Sequence[str]) -> None:
        """Replace the messages, and what was archived inside the file."""
        self.store.delete_session(SESSION)
        self.store.set_chat_history(SESSION, [{"role": "user", "content": text} for text in texts])

    def texts(self) -> list[str]:
        """Return the archive inside the file and the window."""
        session = self.store.get_session(SESSION)
        return [str(message.content) for message in (*session.archived_messages, *session.messages)]

    def close(self) -> None:
        """Do nothing: it keeps nothing open."""


class OpenAI:
    """The SQLite session of openai-agents, in a file; its own time is that of the awaited call."""

    def __init__(self, directory: Path) -> None:
        from agents import SQLiteSession

        self._loop = asyncio.new_event_loop()
        directory.mkdir(parents=True, exist_ok=True)
        self._session = SQLiteSession(SESSION, directory / "sessions.db")

    def _timed(self, call: Callable[[], Any]) -> int:
        async def timed() -> int:
            start_ns = time.perf_counter_ns()
            await call()
            return time.perf_counter_ns() - start_ns

        return self._loop.run_until_complete(timed())

    def add(self, text: str) -> int:
        """Add an item."""
        return self._timed(lambda: self._session.add_items([{"role": "user", "content": text}]))

    def history(self) -> int:
        """Read the newest 100 items."""
        return self._timed(lambda: self._session.get_items(100))

    def fill(self, texts: Sequence[str]) -> None:
        """Replace the items."""
        self._loop.run_until_complete(self._session.clear_session())
        items: Any = [{"role": "user", "content": text} for text in texts]
        self._loop.run_until_complete(self._session.add_items(items))

    def texts(self) -> list[str]:
        """Return every item's text."""
        items: Any = self._loop.run_until_complete(self._session.get_items())
        return [str(item["content"]) for item in items]

    def close(self) -> None:
        """Close the database and the loop."""
        self._session.close()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


class LangChain:
    """The file history of langchain-community, which rewrites its whole growing file."""

    def __init__(self, directory: Path) -> None:
        from langchain_community.chat_message_histories import FileChatMessageHistory
        from langchain_core.messages import HumanMessage

        directory.mkdir(parents=True, exist_ok=True)
        self._message = HumanMessage
        self._history = FileChatMessageHistory(str(directory / f"{SESSION}.json"))

    def add(self, text: str) -> None:
        """Add a message."""
        self._history.add_message(self._message(content=text))

    def history(self) -> None:
        """Read all messages."""
        _ = self._history.messages

    def fill(self, texts: Sequence[str]) -> None:
        """Replace the messages."""
        self._history.clear()
        self._history.add_messages([self._message(content=text) for text in texts])

    def texts(self) -> list[str]:
        """Return every message's text."""
        return [str(message.content) for message in self._history.messages]

    def close(self) -> None:
        """Do nothing: it keeps nothing open."""


@dataclass(frozen=True)
class Kind:
    """
    A contender that can be opened in any process.

    Shape: `durability` is what an acknowledged message survives by default: see `DefaultSessionStore`; `none`, not
    even a kill in the middle of a write.
    """

    name: str
    opened: Callable[..., Store]
    durability: str = "process"
    options: dict[str, Any] = field(default_factory=dict)

    def open(self, directory: Path) -> Store:
        """Open the store on a directory of its own. Raises ImportError where the peer is not installed."""
        return self.opened(directory, **self.options)

    def missing(self) -> str | None:
        """Return the name of the module whose absence keeps this peer from taking part; None where it can."""
        try:
            with tempfile.TemporaryDirectory() as directory:
                self.open(Path(directory)).close()
        except ImportError as error:
            return error.name or "a module"
        return None


def ours(durability: str, **options: Any) -> Kind:
    """Return our store with a durability; `retention` and `max_messages` as `DefaultSessionStore` takes them."""
    retention = options.get("retention", "archive")
    return Kind(f"ours, {durability}, {retention}", Ours, durability, {"durability": durability, **options})


def praisonai(**options: Any) -> Kind:
    """Return PraisonAI's store; `compact` is its default retention."""
    return Kind(f"PraisonAI, {options.get('retention', 'compact')}", PraisonAI, "process", options)


OPENAI = Kind("openai-agents SQLiteSession", OpenAI, "full")
LANGCHAIN = Kind("langchain FileChatMessageHistory", LangChain, "none")


def installed(kinds: Sequence[Kind], note: Callable[[str], object]) -> list[Kind]:
    """Return the kinds that can take part; `note` is told of each that cannot."""
    present = []
    for kind in kinds:
        missing = kind.missing()
        if missing is None:
            present.append(kind)
        else:
            note(f"{kind.name}: missing ({missing} is not installed)")
    return present
