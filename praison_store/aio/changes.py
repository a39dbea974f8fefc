"""Bring what one holder changed into the session as it stands now: apart where it can be, refused where it cannot."""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..codec import values
from ..engines.refusals import conflict
from ..errors import InvalidMessageError
from ..model.message import Record, SessionMessage
from ..model.session import SessionData
from ..model.session_id import SessionKey


def text_of(value: Any) -> bytes:
    """Return JSON that differs where values do: 1, 1.0 and True are three, and NaN is not None."""
    try:
        text = values.dumps(value)
    except InvalidMessageError:
        return values.dumps_extended(value)  # what another store wrote may be more than ours writes
    return values.dumps_extended(value) if b"null" in text else text


def snapshot(message: SessionMessage) -> bytes | None:
    """
    Return bytes that differ where messages do, for this process alone; None where it holds what JSON has no form of.

    Cost: a tenth of writing JSON, which besides tells no NaN from None.
    """
    # As it comes back from where it is stored: without tool calls there are none, and metadata is a dict.
    fields = (message.role, message.content, message.timestamp, message.metadata or {}, message.tool_calls or None,
              message.tool_call_id, message.message_id, message.extra)
    try:
        return marshal.dumps(fields, 2)  # this version of the format knows no references: what is equal has equal bytes
    except ValueError:
        pass
    try:
        plain = values.loads_any(values.dumps_extended(message.to_dict()))[0]  # an Enum stands for its value
    except (InvalidMessageError, ValueError):
        return None  # whoever stores it refuses it
    return snapshot(SessionMessage.from_dict(plain))


def changed_names(seen: Mapping[str, bytes], ours: Mapping[str, bytes]) -> tuple[set[str], set[str]]:
    """Return the names whose value is new or another, and those that are gone."""
    return {name for name, text in ours.items() if seen.get(name) != text}, set(seen) - set(ours)


def extend(session: SessionData, records: Iterable[Record]) -> None:
    """Put messages behind the others, as `Engine.append` does: one whose `message_id` is there is stored once."""
    known = {message.message_id for message in session.messages} - {None}
    for record in records:
        message = SessionMessage.from_dict(record)
        if message.message_id not in known:
            session.messages.append(message)
            known |= {message.message_id} - {None}


@dataclass(frozen=True)
class Changes:
    """
    What was changed since the session that began at `created_at` was read at `revision`.

    Shape: `values` and `dropped` hold, for `context`, `metadata` and `metrics`, the names that were set and removed;
    `appended` are new messages behind those that were seen; `replaced` the whole list where one of those changed.
    `seen` tells what stood there before, as JSON; `seen_messages` each as a `snapshot`.
    """

    revision: int
    created_at: str
    seen: dict[str, dict[str, bytes]]
    seen_messages: list[bytes | None]
    values: dict[str, dict[str, Any]]
    dropped: dict[str, set[str]]
    appended: list[Record] = field(default_factory=list)
    replaced: list[Record] | None = None
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing was changed."""
        return not self.appended and self.appends_only

    @property
    def appends_only(self) -> bool:
        """Tell whether nothing but messages behind the others is new."""
        names = [*self.values.values(), *self.dropped.values()]
        return self.replaced is None and not self.fields and not any(names)

    def apply(self, key: SessionKey, session: SessionData) -> bool:
        """
        Make the changes in the session as it stands now; False where there is nothing to write.

        Raises:
            RevisionConflictError: Another changed the same name, or the messages this one edited, since; or deleted
                the session.
        """
        # Deleted and begun anew, a session counts its revisions from the first again.
        is_another = bool(self.revision and self.created_at) and session.created_at != self.created_at
        if session.revision < self.revision or is_another:
            raise conflict(key, self.revision, session.revision)
        if self.is_empty and session.revision:
            return False
        has_moved = session.revision != self.revision
        for name in self.values:
            self._apply_names(key, session, name, has_moved)
        for name, value in self.fields.items():
            setattr(session, name, value)
        if self.replaced is not None:
            if has_moved and list(map(snapshot, session.messages)) != self.seen_messages:
                raise conflict(key, self.revision, session.revision)
            session.messages = [SessionMessage.from_dict(record) for record in self.replaced]
        extend(session, self.appended)
        return True

    def _apply_names(self, key: SessionKey, session: SessionData, name: str, has_moved: bool) -> None:
        stored = session.extra.get(name) if name == "metrics" else getattr(session, name)
        current: dict[str, Any] = dict(stored) if isinstance(stored, Mapping) else {}
        for one in [*self.values[name], *self.dropped[name]]:
            now = text_of(current[one]) if one in current else None
            wanted = text_of(self.values[name][one]) if one in self.values[name] else None
            if has_moved and now not in (self.seen[name].get(one), wanted):
                raise conflict(key, self.revision, session.revision)
        current.update(self.values[name])
        for one in self.dropped[name]:
            current.pop(one, None)
        if name != "metrics":
            setattr(session, name, current)
        elif current:
            session.extra[name] = current
