"""Where requests spend their time: the stages' shares of it, and what lies between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from engines.tracing import Span, Trace
from use_cases.telemetry.sketches import EMBED

BETWEEN = "between stages"  # Python and event loop, and what has no stage of its own


class Share(NamedTuple):
    """The part of the requests' time that a stage took."""

    stage: str
    total_ms: float
    share: float  # of the whole, 0 to 1


def time_shares(traces: Iterable[Trace]) -> list[Share]:
    """Return how requests' time is shared out, the largest share first; the shares add up to 1.

    Where several stages run at the same time, as the two towers of a model do, each counts its part of it.
    """
    totals_ms: dict[str, float] = defaultdict(float)
    for trace in traces:
        for stage, elapsed_ms in _shared_out(trace).items():
            totals_ms[stage] += elapsed_ms
    whole_ms = sum(totals_ms.values())
    shares = [
        Share(stage, total_ms, total_ms / whole_ms) for stage, total_ms in totals_ms.items() if total_ms
    ]
    return sorted(shares, key=lambda each: -each.total_ms)


def _shared_out(trace: Trace) -> dict[str, float]:
    """Go through the moments at which a stage begins or ends, and share out the time between each two."""
    spans = [span for span in trace.spans if span.stage != EMBED]
    moments = sorted({trace.start_s, trace.end_s, *_moments(spans, trace)})
    totals_ms: dict[str, float] = defaultdict(float)
    for start_s, end_s in pairwise(moments):
        running = [span.stage for span in spans if span.start_s <= start_s and span.end_s >= end_s]
        for stage in running or [BETWEEN]:
            totals_ms[stage] += (end_s - start_s) * 1000 / max(len(running), 1)
    return totals_ms


def _moments(spans: Sequence[Span], trace: Trace) -> list[float]:
    moments = [moment for span in spans for moment in (span.start_s, span.end_s)]
    return [min(max(moment, trace.start_s), trace.end_s) for moment in moments]
