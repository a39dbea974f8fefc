"""What an adapter hands out: messages, runs, traces and spans, with the fields PraisonAI's own records have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class DbMessage:
    """A message of a session; `tool_calls` in OpenAI's form."""

    role: str
    content: Any
    metadata: dict[str, Any] = field(default_factory=dict)
    timestamp: float = 0.0
    id: str | None = None
    tool_calls: list[Any] | None = None
    tool_call_id: str | None = None
    run_id: str | None = None


@dataclass(slots=True)
class DbRun:
    """One turn of an agent; `status` is running, completed, error or cancelled; times in seconds since 1970."""

    run_id: str
    session_id: str
    agent_name: str = ""
    started_at: float = 0.0
    ended_at: float | None = None
    status: str = "running"
    input_content: Any = None
    output_content: Any = None
    metadata: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class DbSpan:
    """A part of a trace."""

    span_id: str
    trace_id: str
    name: str = ""
    started_at: float = 0.0
    ended_at: float | None = None
    parent_span_id: str | None = None
    status: str = "running"
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class DbTrace:
    """What happened for one request, span by span, in the order they began."""

    trace_id: str
    session_id: str | None = None
    run_id: str | None = None
    agent_name: str | None = None
    user_id: str | None = None
    started_at: float = 0.0
    ended_at: float | None = None
    status: str = "running"
    spans: list[DbSpan] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
