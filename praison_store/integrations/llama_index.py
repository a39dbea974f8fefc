"""Chat stores for LlamaIndex: `ChatMemoryBuffer.from_defaults(chat_store=PraisonChatStore(), chat_store_key="s1")`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from ..aio.threads import in_thread
from ..errors import InvalidArgumentError, InvalidMessageError, UnsupportedOperationError, shown
from ..model import arguments
from ..model.message import Record
from ..model.session_id import SessionKey, key_of
from ..store import DefaultSessionStore
from .extras import missing_extra
from .llama_index_messages import edited, inserted, marked, record_of, said_in, status_of
from .transcript import Transcript, store_or_default

try:
    from llama_index.core.base.llms.types import ChatMessage
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.storage.chat_store.base import BaseChatStore
    from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus
except ModuleNotFoundError as error:
    raise missing_extra(error, "llama-index", "llama_index") from error

_ACTIVE = MessageStatus.ACTIVE


class PraisonChatStore(BaseChatStore):
    """
    The messages of any number of keys, usable where LlamaIndex's SimpleChatStore is; nothing needs to be persisted.

    Promise: a ChatMessage comes back as it was; each call is one step among those of all processes, none of which
    loses another's messages. A key is a session of the store, so that what other adapters wrote there is read too.
    Args:
        store: any store; None is the JSON files of this process. namespace: keeps these keys apart from all others.
    Raises:
        InvalidArgumentError: A store or namespace that cannot be meant.
    Errors: InvalidSessionIdError for a key that names no session, InvalidMessageError for a message that would not
    read back equal, SessionStoreError where a call could not do its work; nothing was changed.
    """

    _keys: _Keys = PrivateAttr()

    def __init__(self, store: DefaultSessionStore | None = None, *, namespace: str = "") -> None:
        super().__init__()
        self._keys = _Keys(store, namespace)

    @classmethod
    def class_name(cls) -> str:
        """Return the name LlamaIndex writes this store as."""
        return "PraisonChatStore"

    def __getstate__(self) -> Any:
        """Refuse to be pickled: LlamaIndex would make the copy on this process's default store, silently."""
        message = "A PraisonChatStore is not pickled: make one in each process, on the same store."
        raise UnsupportedOperationError(message, operation="pickle")

    def set_messages(self, key: str, messages: list[ChatMessage]) -> None:
        """Put messages in the place of all there are, in one write."""
        self._keys.of(key).replace(_records(messages))

    def get_messages(self, key: str) -> list[ChatMessage]:
        """Return all messages, oldest first; empty for an unknown key."""
        return said_in(self._keys.of(key).records())

    def add_message(self, key: str, message: ChatMessage, idx: int | None = None) -> None:
        """Add a message behind the others, or in front of the one at `idx`, as a list's `insert` counts."""
        record = record_of(message)
        if idx is None:
            self._keys.of(key).append([record])
        else:
            place = _index(idx)
            self._keys.of(key).change(lambda records: inserted(records, place, record))

    def delete_messages(self, key: str) -> list[ChatMessage] | None:
        """Take every message away and return them; None where there are none. What else is known of it stays."""
        gone: list[ChatMessage] = []

        def edit(records: list[Record]) -> list[Record] | None:
            gone[:] = said_in(records)
            return [] if records else None

        return gone if self._keys.of(key).change(edit) is not None else None

    def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Take the message at `idx` away and return it, counted from the end where negative; None where none is."""
        place = _index(idx)
        taken = _take(self._keys.of(key), lambda messages: [place % len(messages)]
                      if -len(messages) <= place < len(messages) else [])
        return taken[0] if taken else None

    def delete_last_message(self, key: str) -> ChatMessage | None:
        """Take the last message away and return it; None where there is none."""
        return self.delete_message(key, -1)

    def get_keys(self) -> list[str]:
        """Return the keys that have messages, the last written first."""
        return self._keys.listed()

    async def aset_messages(self, key: str, messages: list[ChatMessage]) -> None:
        """Await form of `set_messages`; a cancellation waits until it is done."""
        await in_thread(self.set_messages, key, messages)

    async def aget_messages(self, key: str) -> list[ChatMessage]:
        """Await form of `get_messages`."""
        return await in_thread(self.get_messages, key)

    async def async_add_message(self, key: str, message: ChatMessage, idx: int | None = None) -> None:
        """Await form of `add_message`; a cancellation waits until it is done."""
        await in_thread(self.add_message, key, message, idx)

    async def adelete_messages(self, key: str) -> list[ChatMessage] | None:
        """Await form of `delete_messages`; a cancellation waits until it is done."""
        return await in_thread(self.delete_messages, key)

    async def adelete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Await form of `delete_message`; a cancellation waits until it is done."""
        return await in_thread(self.delete_message, key, idx)

    async def adelete_last_message(self, key: str) -> ChatMessage | None:
        """Await form of `delete_last_message`; a cancellation waits until it is done."""
        return await in_thread(self.delete_last_message, key)

    async def aget_keys(self) -> list[str]:
        """Await form of `get_keys`."""
        return await in_thread(self.get_keys)


class PraisonMemoryStore(AsyncDBChatStore):
    """
    The messages of LlamaIndex's `Memory`: `Memory.from_defaults(session_id="s1", chat_store=PraisonMemoryStore())`.

    Promise, arguments and errors are those of PraisonChatStore, which reads the same sessions. What `Memory` puts away
    stays in the session, marked as archived.
    """

    _keys: _Keys = PrivateAttr()

    def __init__(self, store: DefaultSessionStore | None = None, *, namespace: str = "") -> None:
        super().__init__()
        self._keys = _Keys(store, namespace)

    @classmethod
    def class_name(cls) -> str:
        """Return the name LlamaIndex writes this store as."""
        return "PraisonMemoryStore"

    async def get_messages(
        self, key: str, status: MessageStatus | None = _ACTIVE, limit: int | None = None, offset: int | None = None
    ) -> list[ChatMessage]:
        """Return the messages of a status, None for any, oldest first: `limit` of them, from `offset` on."""
        first = arguments.at_least(offset, "offset", 0, none=True) or 0
        most = arguments.at_least(limit, "limit", 0, none=True)
        said = said_in(await in_thread(self._read, key), status)
        return said[first:] if most is None else said[first : first + most]

    async def count_messages(self, key: str, status: MessageStatus | None = _ACTIVE) -> int:
        """Return how many messages have a status, None for any."""
        return len(await self.get_messages(key, status))

    async def add_message(self, key: str, message: ChatMessage, status: MessageStatus = _ACTIVE) -> None:
        """Add a message behind the others."""
        await self.add_messages(key, [message], status)

    async def add_messages(self, key: str, messages: list[ChatMessage], status: MessageStatus = _ACTIVE) -> None:
        """Add messages behind the others, all of them in one write or none."""
        records = marked(_records(messages), status)
        await in_thread(lambda: self._keys.of(key).append(records))

    async def set_messages(self, key: str, messages: list[ChatMessage], status: MessageStatus = _ACTIVE) -> None:
        """Put messages in the place of all there are, archived ones too, in one write."""
        records = marked(_records(messages), status)
        await in_thread(lambda: self._keys.of(key).replace(records))

    async def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Take the message at `idx` away, archived ones counted, and return it; None where there is none."""
        place = _index(idx)
        taken = await in_thread(lambda: _take(self._keys.of(key), lambda messages: [place]
                                              if 0 <= place < len(messages) else []))
        return taken[0] if taken else None

    async def delete_messages(self, key: str, status: MessageStatus | None = None) -> None:
        """Take the messages of a status away, None for all."""
        def edit(records: list[Record]) -> list[Record] | None:
            kept = [record for record in records if status is not None and status_of(record) != status]
            return kept if len(kept) < len(records) else None

        await in_thread(lambda: self._keys.of(key).change(edit))

    async def delete_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Take the oldest active messages away and return them."""
        return await self._oldest(key, n, lambda records: [])

    async def archive_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Mark the oldest active messages as archived and return them."""
        return await self._oldest(key, n, lambda records: marked(records, MessageStatus.ARCHIVED))

    async def get_keys(self) -> list[str]:
        """Return the keys that have messages, the last written first."""
        return await in_thread(self._keys.listed)

    def _read(self, key: str) -> list[Record]:
        return self._keys.of(key).records()

    async def _oldest(self, key: str, n: int, become: Callable[[list[Record]], list[Record]]) -> list[ChatMessage]:
        count = arguments.at_least(n, "n", 0) or 0

        def oldest(messages: Sequence[MessageStatus]) -> list[int]:
            return [index for index, status in enumerate(messages) if status == _ACTIVE][:count]

        return await in_thread(lambda: _take(self._keys.of(key), oldest, become))


class _Keys:
    """The sessions of a store that LlamaIndex's keys name."""

    def __init__(self, store: DefaultSessionStore | None, namespace: str) -> None:
        self._store = store_or_default(store)
        self._namespace = arguments.text(namespace, "namespace") or ""

    def of(self, key: str) -> Transcript:
        return Transcript(SessionKey(key_of(key).session_id, self._namespace), self._store)

    def listed(self) -> list[str]:
        """Return the keys that have messages; all of a session's may have left its window."""
        found = self._store.engine.find(namespace=self._namespace)
        return [info.session_id for info in found if info.message_count or self.of(info.session_id).records()]


def _records(messages: Any) -> list[Record]:
    if isinstance(messages, (str, bytes)) or not isinstance(messages, Sequence):
        raise InvalidMessageError(f"messages is a list of ChatMessage, not {shown(messages)}.", where="messages")
    return [record_of(message) for message in messages]


def _index(idx: Any) -> int:
    if isinstance(idx, bool) or not isinstance(idx, int):
        raise InvalidArgumentError(f"idx is a whole number, not {shown(idx)}: pass a message's place in the list.")
    return idx


def _take(
    transcript: Transcript, choose: Callable[[list[MessageStatus]], Collection[int]],
    become: Callable[[list[Record]], list[Record]] = lambda records: [],
) -> list[ChatMessage]:
    """Change the messages chosen by their place among all, in one step, and return them as they were."""
    taken: list[ChatMessage] = []

    def edit(records: list[Record]) -> list[Record] | None:
        changed, taken[:] = edited(records, choose, become)
        return changed

    transcript.change(edit)
    return taken
