"""Fold events, as they were noted one behind the other, into runs and traces. Pure; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..model.message import Record, SessionMessage, new_record
from .records import DbRun, DbSpan, DbTrace

RUNS, TOOL_CALLS, TRACES = "praison_store:runs", "praison_store:tool_calls", "praison_store:traces"
# What an export names the events that belong to a session.
OF_SESSION = {"runs": RUNS, "tool_calls": TOOL_CALLS}


def event(kind: str, now_s: float, **told: Any) -> Record:
    """Return the record of something that happened; what is None is left out."""
    return new_record(kind, None, now_s, {name: value for name, value in told.items() if value is not None})


def runs_of(session_id: str, events: Iterable[SessionMessage]) -> list[DbRun]:
    """Return the runs of a session, in the order they began; one that was only ended is there too."""
    runs: dict[str, DbRun] = {}
    for one in events:
        told, run_id = one.metadata, str(one.metadata.get("run_id"))
        run = runs.setdefault(run_id, DbRun(run_id, session_id, started_at=one.timestamp))
        if one.role == "run_start":
            run.agent_name, run.input_content = told.get("agent_name", ""), told.get("input_content")
        else:
            run.ended_at, run.status = one.timestamp, told.get("status", "completed")
            run.output_content, run.metrics = told.get("output_content"), told.get("metrics", {})
        run.metadata = {**run.metadata, **told.get("metadata", {})}
    return list(runs.values())


def trace_of(trace_id: str, context: Mapping[str, Any], events: Iterable[SessionMessage]) -> DbTrace:
    """Return a trace with its spans, in the order they began."""
    trace = DbTrace(trace_id, context.get("session_id"), context.get("run_id"), context.get("agent_name"),
                    context.get("user_id"))
    spans: dict[str, DbSpan] = {}
    for one in events:
        told = one.metadata
        if one.role in ("trace_start", "trace_end"):
            trace.metadata = {**trace.metadata, **told.get("metadata", {})}
        if one.role == "trace_start":
            trace.started_at = one.timestamp
        elif one.role == "trace_end":
            trace.ended_at, trace.status = one.timestamp, told.get("status", "ok")
        else:
            span = spans.setdefault(told["span_id"], DbSpan(told["span_id"], trace_id, started_at=one.timestamp))
            span.attributes = {**span.attributes, **told.get("attributes", {})}
            if one.role == "span_start":
                span.name, span.parent_span_id = told.get("name", ""), told.get("parent_span_id")
            else:
                span.ended_at, span.status = one.timestamp, told.get("status", "ok")
    trace.spans = list(spans.values())
    return trace
