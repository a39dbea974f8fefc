"""Functions a model may call: what it is told of them, and how its arguments reach them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import InvalidArgumentError, shown
from ..model.message import Record

_KINDS = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", tuple: "array",
          dict: "object"}


@dataclass(frozen=True)
class Tool:
    """One function: its name, what it does, the JSON schema of its parameters, and the function."""

    name: str
    description: str
    parameters: Record
    function: Callable[..., Any]

    def openai(self) -> Record:
        """Return the tool as OpenAI's chat takes it."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}

    def anthropic(self) -> Record:
        """Return the tool as Anthropic's messages take it."""
        return {"name": self.name, "description": self.description, "input_schema": self.parameters}


def text_of_result(result: object) -> str:
    """Return what a tool returned as text: text as it is, else JSON, else how it shows itself."""
    if isinstance(result, str):
        return result
    try:
        return json.dumps(result, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return shown_whole(result)


def shown_whole(value: object) -> str:
    """Return a value as it shows itself, whatever its own `__str__` does."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a foreign __str__ may raise anything, and a turn must not fail with it
        return f"a {type(value).__name__} that cannot be shown"


def tools_of(functions: Sequence[Callable[..., Any]] | None, *, awaited: bool) -> dict[str, Tool]:
    """Return tools by name. Raises InvalidArgumentError for what is no function with a name and parameters."""
    tools: dict[str, Tool] = {}
    for function in functions or ():
        name = getattr(function, "__name__", None)
        if not callable(function) or not isinstance(name, str) or not name.isidentifier():
            raise InvalidArgumentError(f"A tool is a function with a name, not {shown(function)}: define one.")
        if inspect.iscoroutinefunction(function) and not awaited:
            raise InvalidArgumentError(f"{name} is a coroutine function: pass it to praison_store.aio.Agent.")
        if name in tools:
            raise InvalidArgumentError(f"Two tools are named {name}: give one of them another name.")
        tools[name] = Tool(name, inspect.getdoc(function) or "", _schema(function), function)
    return tools


def _schema(function: Callable[..., Any]) -> Record:
    try:
        hints = get_type_hints(function)
    except Exception:  # noqa: BLE001 - hints are foreign text; one that means nothing says nothing to a model either
        hints = {}
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"{shown(function)} tells no parameters: wrap it in a function.") from error
    properties: Record = {}
    required: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise InvalidArgumentError(f"{shown(function)} takes {parameter.name} by its place alone, and models name "
                                       f"what they pass: take the / out of its parameters.")
        properties[parameter.name] = _kind_of(hints.get(parameter.name))
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    return {"type": "object", "properties": properties, "required": required}


def _kind_of(hint: Any) -> Record:
    """Return the JSON schema of a type hint; an empty one, which takes anything, for what has no form in JSON."""
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (Union, UnionType):
        kinds = [_kind_of(one) for one in inner if one is not type(None)]
        return kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if all(kinds) else {}
    kind = _KINDS.get(origin)
    if kind == "array":
        return {"type": kind, "items": _kind_of(inner[0]) if inner else {}}
    return {"type": kind} if kind else {}
