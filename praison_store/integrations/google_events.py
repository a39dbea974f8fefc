"""Events of Google's ADK as messages of ours, and the same events back. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from google.adk.events.event import Event
from pydantic_core import to_jsonable_python

from ..errors import InvalidMessageError
from ..model.formats import arguments_of, to_openai_chat
from ..model.formats.chat import call_of, function_of, json_text
from ..model.formats.parts import data_url, of_data_url, parts_of, picture_of
from ..model.message import Record, records_of
from ..model.values import storable
from .beside import Told, continues, put_beside, said_in_parts, told_in

FIELD = "google_adk"
_URL_SAFE = str.maketrans("+/", "-_")


def records_of_event(event: Event) -> list[Record]:
    """
    Return an event as messages of ours: one for each function's response, and one for all else.

    Shape: the event stands beside the first of them, under FIELD.
    Raises:
        InvalidMessageError: It holds a number JSON has not, or text UTF-8 has not, and would not read back equal.
    """
    # Dumped as JSON a NaN is a null, so that what would be lost is looked for in what is not JSON yet.
    storable(as_json(event.model_dump(exclude_none=True), "event"), "event")
    # By its own names for JSON, because a security scheme dumped by ours comes back with a field more.
    whole = event.model_dump(mode="json", exclude_none=True, by_alias=True)
    parts = (whole.get("content") or {}).get("parts") or []
    said = _said_in("user" if event.author == "user" else "assistant", parts)
    records = [{**record, "timestamp": event.timestamp} for record in put_beside(FIELD, whole, said, {})]
    return records_of(records, event.timestamp)


def events_of(
    records: Sequence[Record], author: str, start: int = 0, *, newest: int | None = None, since_s: float | None = None,
    names: Mapping[str, str] | None = None,
) -> list[Event]:
    """
    Return records as events: those that were events as they were, others as what they say and call.

    Args:
        author: who said what no event tells the author of. start: the place of the first record among all.
        newest: no more than so many, counted from the end. since_s: none from before that time.
        names: the tools of calls made before the first record; see `names_of_calls`.
    Cost: that of the events returned, and of as many again.
    """
    names = {**(names or {}), **names_of_calls(records)}
    looked_at = len(records) if newest is None else newest
    while True:
        cut = max(len(records) - looked_at, 0)
        while cut and cut < len(records) and continues(records[cut], FIELD):
            cut -= 1
        found = [event for told in told_in(records[cut:], FIELD, start + cut)
                 for event in _events(told, author, names, since_s)]
        if newest is None:
            return found
        if cut == 0 or len(found) >= newest:
            return found[max(len(found) - newest, 0):]
        looked_at = 2 * looked_at + 1


def as_json(value: Any, where: str) -> Any:
    """
    Return a value as JSON has it; what JSON has nothing for is its text, as in ADK's own services.

    Raises:
        InvalidMessageError: It holds itself.
    """
    try:
        return to_jsonable_python(value, serialize_unknown=True, bytes_mode="base64")
    except ValueError as error:
        raise InvalidMessageError(f"{where} is nothing JSON can hold ({error}): pass plain data.", where=where
                                  ) from error


def names_of_calls(records: Sequence[Record]) -> dict[str, str]:
    """Return which tool each call of our form was for."""
    calls = [call for record in records for call in record.get("tool_calls") or () if isinstance(call, Mapping)]
    return {str(call.get("id")): str(function_of(call).get("name")) for call in calls}


def _events(told: Told, author: str, names: Mapping[str, str], since_s: float | None) -> list[Event]:
    wanted = [since_s is None or record.get("timestamp", 0.0) >= since_s for record in told.records]
    if told.exact is None:
        return [event for index, record in enumerate(told.records) if wanted[index]
                for event in _foreign(record, told.start + index, author, names)]
    return [Event.model_validate_json(json.dumps(told.exact))] if wanted[0] else []


def _said_in(role: str, parts: Sequence[Record]) -> list[Record]:
    """Return what the parts of an event say; what a model thought for itself is not said, nor a file."""
    shown: list[Record] = []
    calls, results = [], []
    for part in parts:
        call, response, data = (part.get(name) or {} for name in ("functionCall", "functionResponse", "inlineData"))
        if part.get("thought"):
            continue
        if call.get("name"):
            calls.append(call_of(call.get("id") or call["name"], call["name"], call.get("args", {})))
        elif call_id := response.get("id") or response.get("name"):
            results.append((call_id, _answer(response.get("response"))))
        elif str(data.get("mimeType")).startswith("image/") and data.get("data"):
            url = data_url(data["mimeType"], data["data"])
            shown.append({"type": "image_url", "image_url": {"url": url}})
        elif part.get("text"):
            shown.append({"type": "text", "text": part["text"]})
    return said_in_parts(role, shown, calls, results)


def _answer(answer: Record | None) -> list[Record]:
    if answer is None:
        return []
    # ADK puts what is no dict under this name; a text is shown as it is.
    only_text = set(answer) == {"result"} and isinstance(answer["result"], str) and answer["result"]
    return [{"type": "text", "text": answer["result"] if only_text else json_text(answer)}]


def _foreign(record: Record, index: int, author: str, names: Mapping[str, str]) -> list[Event]:
    """Return what a message of another origin says as events; its system text is left out, an agent has its own."""
    base = str(record.get("message_id") or f"record-{index}")
    events = []
    for number, message in enumerate(to_openai_chat([record])):
        role = message["role"]
        if role in ("system", "developer"):
            continue
        parts = _foreign_parts(message, names)
        by_model = role == "assistant"
        event_id = f"{base}-{number}" if number else base
        whole = {"id": event_id, "invocation_id": base, "author": "user" if role == "user" else author,
                 "timestamp": record.get("timestamp", 0.0),
                 "content": {"role": "model" if by_model else "user", "parts": parts}}
        events.append(Event.model_validate_json(json.dumps(whole)))
    return events


def _foreign_parts(message: Record, names: Mapping[str, str]) -> list[Record]:
    content = message.get("content")
    if message["role"] == "tool":
        call_id = str(message.get("tool_call_id"))
        return [{"function_response": {"id": call_id, "name": names.get(call_id, call_id),
                                       "response": {"result": content}}}]
    parts: list[Record] = []
    for part in parts_of(content):
        url = of_data_url(picture_of(part))
        if url is not None:
            parts.append({"inline_data": {"mime_type": url[0], "data": url[1].translate(_URL_SAFE)}})
        else:
            parts.append({"text": part["text"] if "text" in part else json_text(part)})
    for call in message.get("tool_calls") or ():
        function = function_of(call)
        parts.append({"function_call": {"id": call.get("id"), "name": function.get("name"),
                                        "args": arguments_of(function.get("arguments"))}})
    return parts
