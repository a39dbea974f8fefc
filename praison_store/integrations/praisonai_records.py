"""Sessions in PraisonAI's forms: exports, a mirror's records, checkpoints, and what ranks a hit. Pure; no I/O."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import InvalidArgumentError, InvalidMessageError, shown
from ..model import portable
from ..model.filters import ComparisonFilter, OrFilter
from ..model.message import Record, records_of
from ..model.session import SessionData

# Beside a message or a session of ours: what PraisonAI's form has no place for.
FIELD = "praisonai"
# What ties the parts of one conversation that was begun anew; the first that is there counts.
_LINEAGE = ("lineage_id", "root_session_id", "thread_id")
_LIVE = ("gateway_session_id", "agent_id")
_AUTOMATED = ("scheduled", "automated", "cron", "system", "batch")
_LEAST_TIMES, _MOST_AN_HOUR = 4, 60.0
_ABSENT = object()


# ---- finding --------------------------------------------------------------------------------------------------------


def lineage_of(record: Mapping[str, Any]) -> str | None:
    """Return the id of the conversation that a session, given by its fields, is a part of; None for none."""
    metadata = record.get("metadata") or {}
    found = (record.get(name) or metadata.get(name) for name in _LINEAGE)
    return next((str(value) for value in found if value), None)


def of_lineage(lineage: str) -> OrFilter:
    """Return the filter that lets every session of a lineage pass, and perhaps some others."""
    names = [f"{place}{name}" for name in _LINEAGE for place in ("", "metadata.")]
    return OrFilter([ComparisonFilter.eq(name, lineage) for name in names])


def is_automated(session: SessionData, messages: Sequence[Record]) -> bool:
    """
    Tell whether nobody sat at the other end: its source says so, or messages came faster than one a minute.

    Source: PraisonAI ranks such sessions lower in its search; the limits are the ones it uses.
    """
    source = session.extra.get("source") or session.metadata.get("source") or ""
    if str(source).lower() in _AUTOMATED or session.metadata.get("automated") is True:
        return True
    times = [message["timestamp"] for message in messages if isinstance(message.get("timestamp"), (int, float))]
    hours = (max(times) - min(times)) / 3600 if len(times) >= _LEAST_TIMES else 0.0
    return hours > 0 and len(times) / hours > _MOST_AN_HOUR


# ---- export and import ----------------------------------------------------------------------------------------------


def sessions_of(payload: object, newest_version: int) -> list[Any] | str:
    """Return the sessions of an export, or why there are none."""
    sessions = payload.get("sessions") if isinstance(payload, Mapping) else None
    if not isinstance(payload, Mapping) or not isinstance(sessions, list):
        return ""
    version = payload.get("version")
    if isinstance(version, int) and version > newest_version:
        return f"unsupported version {version} of the export: this package reads up to {newest_version}, upgrade it"
    return sessions


def restored(raw: Mapping[str, Any], session_id: str, *, reset_live_fields: bool) -> SessionData:
    """
    Return the session of an exported one, by default without what linked it to a running gateway.

    Raises:
        InvalidArgumentError, InvalidMessageError: It is no session, or one of its messages is none.
    """
    data = {**copy.deepcopy(dict(raw)), "session_id": session_id}
    for name in _LIVE if reset_live_fields else ():
        data.pop(name, None)
        if isinstance(data.get("metadata"), dict):
            data["metadata"].pop(name, None)
    for name in ("messages", "archived_messages"):
        listed = data.get(name)
        if listed is not None and not isinstance(listed, list):
            raise InvalidArgumentError(f"The session's {name} are a list, not {shown(listed)}: mend it.")
        data[name] = [{"role": "user", "content": "", **one} if isinstance(one, dict) else one for one in listed or ()]
    return portable.imported(data)


# ---- a mirror -------------------------------------------------------------------------------------------------------


def of_mirrored(record: Mapping[str, Any], session_id: str) -> Record:
    """
    Return the message of a mirror's record, which `mirrored` gives back as it was.

    Raises:
        InvalidMessageError: It has no `id` or no `timestamp`, or would not read back equal.
    """
    record_id = record.get("id") if isinstance(record, Mapping) else None
    if not isinstance(record_id, str) or not record_id or record.get("timestamp") is None:
        message = f"A mirror's record is a dict with id and timestamp, not {shown(record)}: give it both."
        raise InvalidMessageError(message, where="id")
    said = {"role": "user", "content": "", **record, "message_id": record_id}
    for name in ("id", "session_id", FIELD):
        said.pop(name, None)
    [made] = records_of([said], 0.0)
    shown_as = _view(made, session_id)
    missing = [name for name in shown_as if name not in record]
    others = {name: value for name, value in record.items() if shown_as.get(name, _ABSENT) != value}
    if missing or others:
        [made] = records_of([{**made, FIELD: {"missing": missing, "fields": others}}], 0.0)
    return made


def mirrored(records: Iterable[Record], session_id: str) -> list[Record]:
    """Return messages as a mirror's records; one without an id gets one, of its time and place, as PraisonAI does."""
    found: list[Record] = []
    taken: set[Any] = set()
    for record in records:
        whole = copy.deepcopy(record)
        rest = whole.pop(FIELD, None)
        rest = rest if isinstance(rest, dict) else {}
        seen = {name: value for name, value in _view(whole, session_id).items()
                if name not in rest.get("missing", ())}
        seen.update(rest.get("fields", {}))
        # Messages of one write have one time, and a mirror keeps one record of each id.
        first, count = seen["id"], 1
        while seen["id"] in taken:
            count += 1
            seen["id"] = f"{first}:{count}"
        taken.add(seen["id"])
        found.append(seen)
    return found


def _view(record: Record, session_id: str) -> Record:
    given_id = record.get("message_id") or f"{session_id}:{record['timestamp']}"
    others = {name: value for name, value in record.items() if name != "message_id"}
    return {**others, "id": given_id, "session_id": session_id}


# ---- checkpoints ----------------------------------------------------------------------------------------------------


def checkpoints_of(session: SessionData) -> list[Record]:
    """
    Return what a session can be taken back to, the oldest first: snapshots PraisonAI left, and the last compaction.

    Shape: `id`, `kind` (`snapshot` or `compaction`), `session_id`, `message_index`, `created_at` in seconds since
    1970, `label`, `metadata`; a compaction's `summary`, a snapshot's `transcript` where it has one.
    """
    raw, pool = session.extra.get("snapshots"), session.extra.get("snapshot_storage")
    found = [_snapshot(one, pool, session.session_id) for one in raw if isinstance(one, dict)] \
        if isinstance(raw, list) else []
    last = session.last_compaction
    if last is not None:
        found.append({
            "id": f"compaction:{last.timestamp}", "kind": "compaction", "session_id": session.session_id,
            "message_index": last.message_index, "created_at": last.timestamp, "label": None,
            "metadata": last.metadata, "tokens_before": last.tokens_before, "tokens_after": last.tokens_after,
            "role": last.role, "summary": last.summary,
        })
    return sorted(found, key=lambda one: one["created_at"])


def _snapshot(raw: Record, pool: Any, session_id: str) -> Record:
    """Return one snapshot, with the records its transcript refers to in the place of the references."""
    made: Record = {"id": raw.get("id"), "kind": "snapshot", "session_id": raw.get("session_id") or session_id,
                    "message_index": raw.get("message_index", 0), "created_at": raw.get("created_at") or 0.0,
                    "label": raw.get("label"), "metadata": raw.get("metadata") or {}}
    references = raw.get("transcript_refs")
    records = pool.get("records") if isinstance(pool, dict) else None
    if isinstance(references, dict) and isinstance(records, dict):
        made["transcript"] = {
            name: copy.deepcopy([records.get(key) for key in one["items"]] if "items" in one
                                else records.get(one.get("value")))
            for name, one in references.items() if isinstance(one, dict)}
    elif raw.get("transcript") is not None:
        made["transcript"] = copy.deepcopy(raw["transcript"])
    return made
