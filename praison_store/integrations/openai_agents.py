"""Sessions for the OpenAI Agents SDK: `await Runner.run(agent, "hi", session=PraisonSession("s1"))`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ..aio.threads import in_thread
from ..errors import InvalidArgumentError, shown
from ..model.formats import from_responses, to_responses
from ..model.message import Record
from ..store import DefaultSessionStore
from .extras import missing_extra
from .transcript import Transcript

if TYPE_CHECKING:
    from agents.items import TResponseInputItem
    from agents.memory import SessionSettings


class PraisonSession:
    """
    One conversation of the OpenAI Agents SDK (its `Session` protocol), usable where its SQLiteSession is.

    Promise: an item comes back as it was, whatever its type; several processes may use one session at once, and none
    loses another's items; a limit keeps a result with its call, and a call with the reasoning it came from.
    Args:
        session_id: where the conversation is kept. store: any store; None is the JSON files of this process.
        session_settings: the SDK's own, or a dict of its fields; its `limit` is used where a call gives none.
    Raises:
        InvalidSessionIdError, InvalidArgumentError: An id, a store or settings that cannot be meant.
    Errors: SessionStoreError where a call could not do its work; nothing was changed.
    Not promised: an item past the window where the store's retention is `truncate`, whose user asked for that.
    """

    def __init__(
        self, session_id: str, store: DefaultSessionStore | None = None, *,
        session_settings: SessionSettings | Mapping[str, Any] | None = None,
    ) -> None:
        self._open: Transcript | None = Transcript(session_id, store)
        self.session_id = session_id
        self.session_settings = _settings_of(session_settings)

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """
        Return the newest items in the order they were added; None returns all, or as many as the settings say.

        Not promised: exactly `limit` items, where that would part a result from its call.
        """
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        items: list[Any] = to_responses(await in_thread(self._transcript().newest, limit, _one_by_one))
        return items

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Add items behind the others, all of them in one write or none. Raises InvalidMessageError."""
        records = from_responses(items)
        await in_thread(self._transcript().append, records)

    async def pop_item(self) -> TResponseInputItem | None:
        """Take the last item away and return it; None where there is none. What else its message said stays."""
        taken = await in_thread(self._transcript().take_last, _one_by_one)
        items: list[Any] = to_responses([taken] if taken else [])
        return items[-1] if items else None

    async def clear_session(self) -> None:
        """Take every item away; what else is known of the session stays."""
        await in_thread(self._transcript().change, lambda records: [] if records else None)

    def _transcript(self) -> Transcript:
        if self._open is None:
            raise RuntimeError(f"The session {self.session_id!r} is closed: make another PraisonSession of it.")
        return self._open

    def close(self) -> None:
        """End the use of this object, as the SDK's own sessions do; the store is its owner's to close."""
        self._open = None


def _one_by_one(records: list[Record]) -> list[Record]:
    """Return messages with one for each item; another adapter's may be none, or several."""
    return from_responses(to_responses(records))


def _settings_of(settings: SessionSettings | Mapping[str, Any] | None) -> SessionSettings | None:
    """Return settings that may be given as a dict, as the SDK's own sessions take them."""
    if not isinstance(settings, Mapping):
        return settings
    try:
        from agents.memory import SessionSettings  # only who gives a dict needs it made
    except ModuleNotFoundError as error:
        raise missing_extra(error, "openai-agents", "agents") from error
    unknown = sorted(map(str, settings.keys() - {field.name for field in fields(SessionSettings)}))
    if unknown:
        raise InvalidArgumentError(f"Unknown session settings: {', '.join(unknown)} in {shown(settings)}.")
    return SessionSettings(**settings)
