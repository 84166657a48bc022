"""Sketches: the times of every stage, in slices of time that can be merged into any window."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from ddsketch import DDSketch

from engines.loading import EngineKey
from engines.tracing import Trace

K = TypeVar("K")

# Of each quantile, by construction (Masson, Rim, Lee: DDSketch, VLDB 2019, https://arxiv.org/abs/1908.10693).
RELATIVE_ERROR = 0.01
QUANTILES = (0.5, 0.9, 0.99)
NUM_SLOWEST = 6  # requests that a slice keeps as they are
EMBED = "embed"  # a whole call of an engine's door: the stages of that engine lie within


class StageKey(NamedTuple):
    """Whose times are kept together; names are empty where a stage belongs to no model."""

    stage: str
    model: str = ""
    engine: str = ""
    tower: str = ""


class StageTimes(NamedTuple):
    """The times of one stage in a window, in milliseconds; quantiles are off by RELATIVE_ERROR at most."""

    key: StageKey
    number: int
    total_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float


@dataclass(slots=True)
class Slice:
    """What ended in some seconds."""

    start_s: float  # time.perf_counter
    stages: dict[StageKey, DDSketch] = field(default_factory=dict)
    operations: dict[str, DDSketch] = field(default_factory=dict)  # whole requests
    failed: int = 0  # requests
    items: int = 0  # that were asked of engines
    cached: int = 0  # of them
    cold: int = 0  # requests that waited for an engine to be loaded
    # Requests, the slowest first, of each engine that they asked and, under None, of all of them.
    slowest: dict[EngineKey | None, list[Trace]] = field(default_factory=dict)

    def add(self, trace: Trace) -> None:
        """Count a request that has ended."""
        _add(self.operations, trace.operation, trace.duration_ms)
        self.failed += trace.outcome != "ok"
        self.cold += any(span.stage == "load" for span in trace.spans)
        for span in trace.spans:
            if span.stage == EMBED:
                self.items += span.items
                self.cached += span.cached
            key = StageKey(span.stage, span.model, span.engine, span.tower)
            _add(self.stages, key, span.duration_ms)
        engines = {EngineKey(span.model, span.engine) for span in trace.spans if span.engine}
        for engine in (None, *engines):
            self.keep_slowest(engine, [trace])

    def keep_slowest(self, engine: EngineKey | None, traces: Sequence[Trace]) -> None:
        """Keep the slowest of some requests and of those that it has."""
        held = [*self.slowest.get(engine, ()), *traces]
        self.slowest[engine] = sorted(held, key=lambda each: -each.duration_ms)[:NUM_SLOWEST]

    @property
    def requests(self) -> int:
        """Return how many requests ended."""
        return sum(round(sketch.count) for sketch in self.operations.values())


def merge(slices: Iterable[Slice]) -> Slice:
    """Return one slice with everything that is in some."""
    merged = Slice(0.0)
    for each in slices:
        _merge(merged.stages, each.stages)
        _merge(merged.operations, each.operations)
        merged.failed += each.failed
        merged.items += each.items
        merged.cached += each.cached
        merged.cold += each.cold
        for engine, traces in each.slowest.items():
            merged.keep_slowest(engine, traces)
    return merged


def joined(sketches: Sequence[DDSketch]) -> DDSketch:
    """Return one sketch of everything that is in some."""
    whole = DDSketch(RELATIVE_ERROR)
    for sketch in sketches:
        whole.merge(sketch)
    return whole


def stage_times(sketches: Mapping[StageKey, DDSketch]) -> list[StageTimes]:
    """Return a row for each stage."""
    return [summarize(key, sketch) for key, sketch in sketches.items()]


def summarize(key: StageKey, sketch: DDSketch) -> StageTimes:
    """Return the quantiles of some times, of which there is at least one."""
    p50_ms, p90_ms, p99_ms = (_quantile(sketch, share) for share in QUANTILES)
    return StageTimes(key, round(sketch.count), float(sketch.sum), p50_ms, p90_ms, p99_ms)


def _quantile(sketch: DDSketch, share: float) -> float:
    """Return the nearest rank's value: of so many values that share is no higher.

    The sketch itself takes the rank below (n - 1) * share, which of two values is always the lower one.
    """
    others = sketch.count - 1
    if others < 1:
        return float(sketch.get_quantile_value(1.0) or 0.0)
    rank = math.ceil(share * sketch.count) - 1  # from 0; the half keeps rounding away from the rank below
    return float(sketch.get_quantile_value(min((rank + 0.5) / others, 1.0)) or 0.0)


def _merge(into: dict[K, DDSketch], sketches: Mapping[K, DDSketch]) -> None:
    for key, sketch in sketches.items():
        into.setdefault(key, DDSketch(RELATIVE_ERROR)).merge(sketch)


def _add(sketches: dict[K, DDSketch], key: K, value_ms: float) -> None:
    sketch = sketches.get(key)
    if sketch is None:
        sketch = sketches[key] = DDSketch(RELATIVE_ERROR)
    sketch.add(value_ms)
