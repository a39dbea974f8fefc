"""History for Agent Framework: `Agent(client, context_providers=[PraisonHistoryProvider()])`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..aio.threads import in_thread
from ..errors import InvalidMessageError, shown
from ..model import arguments
from ..model.message import Record
from ..model.session_id import SessionKey, key_of
from ..store import DefaultSessionStore
from .agent_framework_messages import messages_of, record_of, said_by
from .extras import missing_extra
from .transcript import Transcript, store_or_default

try:
    from agent_framework import HistoryProvider, Message
except ModuleNotFoundError as error:
    raise missing_extra(error, "agent-framework", "agent_framework") from error


class PraisonHistoryProvider(HistoryProvider):
    """
    The conversations of Agent Framework's sessions, usable where its FileHistoryProvider is.

    Promise: a Message comes back as it was; several processes may use one session at once, and none loses another's
    messages; a turn that repeats an earlier one is kept. Where a client hands over what was said before once more,
    with something new behind it, only the new is stored.
    Args:
        source_id: the provider's name among an agent's. store: any store; None is the JSON files of this process.
        namespace: keeps these conversations apart from all others, as two providers on one store must be.
        skip_excluded: leave out what a compaction marked as excluded. The rest are the framework's own.
    Raises:
        InvalidArgumentError: A store or namespace that cannot be meant.
    Errors: InvalidSessionIdError for an id that names no session, None included; InvalidMessageError for a message
    that would not read back equal; SessionStoreError where a call could not do its work; nothing was changed.
    """

    def __init__(
        self, source_id: str = "praison_store", store: DefaultSessionStore | None = None, *, namespace: str = "",
        load_messages: bool = True, store_inputs: bool = True, store_context_messages: bool = False,
        store_context_from: set[str] | None = None, store_outputs: bool = True, skip_excluded: bool = False,
    ) -> None:
        super().__init__(
            source_id, load_messages=load_messages, store_inputs=store_inputs, store_outputs=store_outputs,
            store_context_messages=store_context_messages, store_context_from=store_context_from)
        self.skip_excluded = skip_excluded
        self._store = store_or_default(store)
        self._namespace = arguments.text(namespace, "namespace") or ""

    async def get_messages(
        self, session_id: str | None, *, state: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Message]:
        """Return every message of a session, oldest first; empty for an unknown one."""
        messages = messages_of(await in_thread(lambda: self._of(session_id).records()))
        if self.skip_excluded:
            messages = [message for message in messages if not message.additional_properties.get("_excluded", False)]
        return messages

    async def save_messages(
        self, session_id: str | None, messages: Sequence[Message], *, state: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add messages behind the others, all of them in one write or none."""
        if isinstance(messages, (str, bytes, Message)):
            raise InvalidMessageError(f"messages is a list of Message, not {shown(messages)}.", where="messages")
        records = [record_of(message) for message in messages]
        await in_thread(lambda: _save(self._of(session_id), records))

    def _of(self, session_id: str | None) -> Transcript:
        return Transcript(SessionKey(key_of(session_id).session_id, self._namespace), self._store)


def _save(transcript: Transcript, records: list[Record]) -> None:
    starts = [place for place in range(1, len(records)) if _starts_anew(records, place)]
    if not starts:
        transcript.append(records)
        return
    transcript.change(lambda stored: [*stored, *_unsaid(stored, records, starts)])


def _starts_anew(records: list[Record], place: int) -> bool:
    """
    Tell whether a user speaks here, behind an answer: what is in front may have been said and stored before.

    A run ends with its answer. So a turn that repeats an earlier one, word by word, is never taken for one handed over
    again, as the framework's own providers take it.
    """
    return said_by(records[place])[0] == "user" and said_by(records[place - 1])[0] in ("assistant", "tool")


def _unsaid(stored: list[Record], records: list[Record], starts: list[int]) -> list[Record]:
    """Return the records behind the longest beginning that the stored ones end with."""
    before = [said_by(record) for record in stored[-len(records) :]]
    handed = [said_by(record) for record in records]
    for start in reversed(starts):
        if start <= len(before) and before[-start:] == handed[:start]:
            return records[start:]
    return records
