"""What can be taken along: the stages' times as CSV, and the last requests as a trace for Chrome's viewer."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import orjson

from engines.tracing import Span, Trace
from use_cases.telemetry.sketches import StageTimes

_MICROSECONDS = 1e6


def to_csv(operations: Sequence[StageTimes], stages: Sequence[StageTimes]) -> str:
    """Return one line for each operation, whose whole requests it is about, and one for each stage."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ["of", "model", "engine", "tower", "stage", "number", "total_ms", "p50_ms", "p90_ms", "p99_ms"]
    writer.writerow(names)
    for of, rows in (("request", operations), ("stage", stages)):
        for row in rows:
            key, times = row.key, [f"{ms:.3f}" for ms in row[2:]]
            writer.writerow([of, key.model, key.engine, key.tower, key.stage, row.number, *times])
    return text.getvalue()


def to_chrome_trace(traces: Sequence[Trace]) -> bytes:
    """Return requests in the Trace Event Format that chrome://tracing and https://ui.perfetto.dev open.

    Each request is a process of its own; stages that overlap without one lying in the other get threads of
    their own, for the viewer draws only nested ones in one thread.
    """
    events: list[dict[str, object]] = []
    for number, trace in enumerate(traces, start=1):
        name = f"{trace.door} {trace.operation}"
        events.append({"ph": "M", "name": "process_name", "pid": number, "args": {"name": name}})
        whole = Span(name, trace.start_s, trace.end_s)
        facts = {"outcome": trace.outcome, "spans_left_out": trace.left_out}
        events.append(_event(whole, number, 0, facts))
        ends_s: list[float] = []  # of each thread's last stage
        for span in sorted(trace.spans, key=lambda each: (each.start_s, -each.end_s)):
            thread = _free_thread(ends_s, span)
            events.append(_event(span, number, thread + 1, _facts(span)))
    return orjson.dumps({"traceEvents": events, "displayTimeUnit": "ms"})


def _free_thread(ends_s: list[float], span: Span) -> int:
    for thread, end_s in enumerate(ends_s):
        if end_s <= span.start_s:
            ends_s[thread] = span.end_s
            return thread
    ends_s.append(span.end_s)
    return len(ends_s) - 1


def _event(span: Span, process: int, thread: int, facts: dict[str, object]) -> dict[str, object]:
    return {
        "ph": "X",
        "name": span.stage,
        "cat": "siglip",
        "pid": process,
        "tid": thread,
        "ts": span.start_s * _MICROSECONDS,
        "dur": (span.end_s - span.start_s) * _MICROSECONDS,
        "args": facts,
    }


def _facts(span: Span) -> dict[str, object]:
    facts = span._asdict()
    return {name: facts[name] for name in ("model", "engine", "tower", "batch_size", "items", "cached")}
