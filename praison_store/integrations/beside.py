"""A framework's own message beside ours: it comes back as it was, and no long text is stored twice. Pure; no I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..model.formats import to_openai_chat
from ..model.formats.chat import json_text
from ..model.formats.parts import of_data_url, shortest
from ..model.message import Record
from ..model.values import storable

# A text of fewer characters is shorter than what would point at it.
_LONG = 24
_AT, _AS = "$at", "$as"
_URL_SAFE = str.maketrans("+/", "-_")
# Our own marks, beside those of an adapter.
_COUNT, _NEXT, _SAID, _WHOLE, _POINTED, AFTER = "count", "next", "said", "whole", "pointed", "after"
_MARKS = frozenset({_COUNT, _NEXT, _SAID, _WHOLE, _POINTED})

Place = tuple[tuple[str | int, ...], str]


@dataclass(frozen=True, slots=True)
class Told:
    """
    Messages of a session that belong together.

    Shape: `exact` is the framework's own message, None where another wrote these, or changed them; `marks` is what the
    adapter put beside it; `start` is the place of the first record among all.
    """

    records: list[Record]
    exact: Record | None = None
    marks: Record = field(default_factory=dict)
    start: int = 0


class Group(NamedTuple):
    """Records that are messages together: the framework's `exact` one, or what others `said` in OpenAI's chat form."""

    records: list[Record]
    said: list[Record]
    exact: Record | None


def said_in_parts(
    role: str, parts: list[Record], calls: Sequence[Record] = (), results: Sequence[tuple[str, list[Record]]] = ()
) -> list[Record]:
    """Return what a message of parts says, one message or more: each result is a tool's, all else one of `role`."""
    said: list[Record] = [{"role": "tool", "tool_call_id": call_id, "content": shortest(answer) or ""}
                          for call_id, answer in results]
    if calls:
        said.append({"role": role, "content": shortest(parts), "tool_calls": list(calls)})
    elif parts or not said:
        said.append({"role": role, "content": shortest(parts) or ""})
    return said


def put_beside(name: str, exact: Record, said: Sequence[Record], marks: Mapping[str, Any]) -> list[Record]:
    """
    Return messages of ours with the framework's beside the first, in the field `name`.

    Shape: a long text of the framework's message that stands in ours is a pointer to it, and so is JSON or base64 that
    ours holds as text.
    Args:
        said: one message or more.
    Raises:
        InvalidMessageError: The framework's message holds what JSON cannot. Nothing was written.
    """
    exact = storable(exact, name)
    said = [dict(record) for record in said]
    places = dict(_places(said))
    pointed = _pointed(exact, places, any(text[0] in "{[" for text in places))
    # A message that holds what looks like a pointer is kept whole, because it would be followed.
    form = {_POINTED: pointed} if _comes_back(pointed, said, exact) else {_WHOLE: exact}
    for index, record in enumerate(said[1:], 1):
        record[name] = {_NEXT: index}
    said[0][name] = {**marks, _COUNT: len(said), _SAID: _digest(said), **form}
    return said


def told_in(records: Sequence[Record], name: str, start: int = 0) -> Iterator[Told]:
    """
    Yield the messages of a session in order: those of the framework one by one, others as long as they go on.

    Args:
        start: the place of the first record among all.
    """
    others: list[Record] = []
    index = 0
    while index < len(records):
        told = _own(records, index, name, start + index)
        if told is None:
            others.append(records[index])
            index += 1
            if AFTER not in _marks(others[-1], name):
                continue
        if others:
            yield Told(others, start=start + index - len(others))
            others = []
        if told is not None:
            yield told
            index += len(told.records)
    if others:
        yield Told(others, start=start + len(records) - len(others))


def conversation_of(records: Sequence[Record], name: str, apart: str = "") -> list[Group]:
    """
    Return the messages of a session in order, as a framework with OpenAI's roles shows them.

    Args:
        apart: records that differ in this field are not joined.
    Shape: calls of others that follow each other are one message, as `to_openai_chat` joins them; what says nothing
    (another service's reasoning) goes with what it led to.
    """
    groups: list[Group] = []
    for told in told_in(records, name):
        groups += _of_others(told.records, apart) if told.exact is None else [Group(told.records, [], told.exact)]
    return groups


def _of_others(records: Sequence[Record], apart: str) -> list[Group]:
    groups: list[Group] = []
    silent: list[Record] = []
    for record in records:
        if silent and silent[-1].get(apart) != record.get(apart):
            groups.append(Group(silent, [], None))
            silent = []
        said = to_openai_chat([record])
        last = groups[-1] if groups else None
        if not said:
            silent = [*silent, record]
        elif last and _joins(last, said, record.get(apart) == last.records[-1].get(apart)):
            joined = [*last.records, *silent, record]
            groups[-1], silent = Group(joined, to_openai_chat(joined), None), []
        else:
            groups.append(Group([*silent, record], said, None))
            silent = []
    return [*groups, Group(silent, [], None)] if silent else groups


def _joins(last: Group, said: list[Record], alike: bool) -> bool:
    ends = last.said[-1] if last.said else {}
    calls = ends.get("role") == "assistant" and bool(ends.get("tool_calls"))
    return alike and calls and bool(said[0]["role"] == "assistant")


def _marks(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    marks = record.get(name)
    return marks if isinstance(marks, Mapping) else {}


def continues(record: Mapping[str, Any], name: str) -> bool:
    """Tell whether a record belongs to the one in front of it."""
    return _NEXT in _marks(record, name)


def _own(records: Sequence[Record], index: int, name: str, start: int) -> Told | None:
    marks = _marks(records[index], name)
    count = marks.get(_COUNT)
    if type(count) is not int or not 1 <= count <= len(records) - index:
        return None
    group = list(records[index : index + count])
    if any(_marks(record, name).get(_NEXT) != place for place, record in enumerate(group[1:], 1)):
        return None
    # A short text stands in the framework's message too, where an edit of ours would not be seen, nor a redaction.
    if marks.get(_SAID) != _digest(group):
        return None
    exact = marks.get(_WHOLE)
    if exact is None:
        try:
            exact = _followed(marks.get(_POINTED), group)
        except (LookupError, TypeError, ValueError):
            return None  # another changed what stands beside it
    rest = {key: value for key, value in marks.items() if key not in _MARKS}
    return Told(group, exact, rest, start) if isinstance(exact, dict) else None


def _digest(said: Iterable[Record]) -> str:
    """Return a text that differs where messages say another thing; other stores may write nothing as no text."""
    told = [[record.get(name) or "" for name in ("role", "content", "tool_calls", "tool_call_id")] for record in said]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _places(said: Iterable[Record]) -> Iterator[tuple[str, Place]]:
    """Yield each long text of the messages, and the base64 in it, with the way to it."""
    for index, record in enumerate(said):
        for name in ("content", "tool_calls"):
            for text, path in _texts(record.get(name), (index, name)):
                url = of_data_url(text)
                if url is not None and len(url[1]) >= _LONG:
                    yield url[1].translate(_URL_SAFE), (path, "base64url")
                    yield url[1], (path, "base64")
                yield text, (path, "")


def _texts(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    if isinstance(value, str):
        if len(value) >= _LONG:
            yield value, path
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*path, index))


def _pointed(value: Any, places: Mapping[str, Place], in_json: bool, inner: bool = True) -> Any:
    """Return a value with pointers in the place of the texts that stand elsewhere; `in_json` where some are JSON."""
    if isinstance(value, str):
        return _pointer(places[value]) if value in places else value
    if not isinstance(value, (dict, list)) or not places:
        return value
    if inner and value and in_json:
        text = json_text(value)
        if text in places:
            return _pointer((places[text][0], "json"))
    if isinstance(value, list):
        return [_pointed(one, places, in_json, isinstance(one, dict)) for one in value]
    return {name: _pointed(one, places, in_json) for name, one in value.items()}


def _pointer(place: Place) -> Record:
    return {_AT: list(place[0]), **({_AS: place[1]} if place[1] else {})}


def _comes_back(pointed: Any, said: Sequence[Record], exact: Any) -> bool:
    try:
        return bool(_followed(pointed, said) == exact)
    except (LookupError, TypeError, ValueError):
        return False


def _followed(value: Any, said: Sequence[Record]) -> Any:
    """Return a value with the texts in the place of their pointers. Raises where one leads nowhere."""
    if isinstance(value, list):
        return [_followed(one, said) for one in value]
    if not isinstance(value, dict):
        return value
    if _AT not in value:
        return {name: _followed(one, said) for name, one in value.items()}
    found: Any = said
    for step in value[_AT]:
        found = found[step]
    form = value.get(_AS)
    if not isinstance(found, str):
        raise TypeError(f"{value[_AT]} leads to no text")
    if form == "json":
        return json.loads(found)
    if form is None:
        return found
    url = of_data_url(found)
    if url is None:
        raise ValueError(f"{value[_AT]} leads to no base64")
    return url[1].translate(_URL_SAFE) if form == "base64url" else url[1]
