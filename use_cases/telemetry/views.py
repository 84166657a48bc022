"""Views: what of the telemetry one looks at: one engine or all, a window of time; as plain numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from ddsketch import DDSketch

from engines.loading import EngineKey
from engines.tracing import Trace
from use_cases.telemetry.sketches import (
    EMBED,
    NUM_SLOWEST,
    Slice,
    StageKey,
    StageTimes,
    joined,
    stage_times,
    summarize,
)
from use_cases.telemetry.telemetry import SLICE_S, Sample, Telemetry

WHOLE = "whole request"  # as a stage


class Moment(NamedTuple):
    """The times of one stage in one slice."""

    ago_s: float  # of the slice's middle
    times: StageTimes


class Rates(NamedTuple):
    """What ended in one slice."""

    ago_s: float
    requests_per_s: float
    failed_per_s: float
    hit_ratio: float | None  # of the items asked of engines; None where none were


class State(NamedTuple):
    """A sample of the server."""

    ago_s: float
    rss_mb: float
    cpu_cores: float
    engine_calls: float  # that ran at a time, on average
    queued: int
    in_work: int


@dataclass(frozen=True, slots=True)
class View:
    """Everything that the tab shows; lists are empty where nothing is known yet."""

    operations: Sequence[StageTimes]  # whole requests, of all engines, the operation as the stage
    stages: Sequence[StageTimes]
    over_time: Mapping[str, Sequence[Moment]]  # of the chosen stage, by engine's title
    rates: Sequence[Rates]
    states: Sequence[State]
    batch_sizes: Mapping[int, int]  # calls by the number of items
    last: Sequence[Trace]
    slowest: Sequence[Trace]
    traces: Sequence[Trace]  # of the window, of the engine, as far back as they are kept
    requests: int
    failed: int
    cold: int


def title_of(engine: EngineKey) -> str:
    """Return how people call an engine."""
    return f"{engine.model} on {engine.engine}"


def engines_seen(telemetry: Telemetry) -> list[EngineKey]:
    """Return the engines that have times, or are loaded."""
    names = {
        EngineKey(key.model, key.engine) for each in telemetry.slices for key in each.stages if key.model
    }
    if telemetry.samples:
        names |= {key for key in telemetry.samples[-1].engines}
    return sorted(names)


def stages_seen(telemetry: Telemetry) -> list[str]:
    """Return the stages that have times, the most frequent first, after whole requests."""
    counts: Counter[str] = Counter()
    for each in telemetry.slices:
        for key, sketch in each.stages.items():
            counts[key.stage] += round(sketch.count)
    return [WHOLE, *(stage for stage, _ in counts.most_common() if stage != EMBED)]


def take_view(telemetry: Telemetry, window_s: float, stage: str, engine: EngineKey | None) -> View:
    """Return what happened in the last seconds.

    Args:
        telemetry: it is counted up to now.
        window_s: how far back to look.
        stage: whose times over time are wanted; WHOLE for whole requests.
        engine: None for all.
    """
    slices, now_s = telemetry.slices_of(window_s), telemetry.clock()
    whole = telemetry.window(window_s)
    samples = _samples(telemetry.samples, now_s - window_s)
    traces = [each for each in telemetry.traces if each.end_s > now_s - window_s and _is_about(each, engine)]
    kept = {key: sketch for key, sketch in whole.stages.items() if _fits(key, engine)}
    return View(
        operations=[
            summarize(StageKey(operation), sketch) for operation, sketch in sorted(whole.operations.items())
        ],
        stages=sorted(stage_times(kept), key=lambda row: -row.total_ms),
        over_time=_over_time(slices, now_s, stage, engine),
        rates=[_rates(each, now_s) for each in _without_gaps(slices, now_s)],
        states=_states(samples, now_s, now_s - window_s, engine),
        batch_sizes=_batch_sizes(samples, engine),
        last=traces[-NUM_SLOWEST:][::-1],
        slowest=whole.slowest.get(engine, []),
        traces=traces,
        requests=whole.requests,
        failed=whole.failed,
        cold=whole.cold,
    )


def _fits(key: StageKey, engine: EngineKey | None) -> bool:
    return key.stage != EMBED and (engine is None or (key.model, key.engine) == engine)


def _is_about(trace: Trace, engine: EngineKey | None) -> bool:
    return engine is None or any((span.model, span.engine) == engine for span in trace.spans)


def _over_time(
    slices: Iterable[Slice], now_s: float, stage: str, engine: EngineKey | None
) -> dict[str, list[Moment]]:
    series: dict[str, list[Moment]] = {}
    for each in slices:
        ago_s = now_s - each.start_s - SLICE_S / 2
        by_title: dict[str, list[DDSketch]] = {}
        if stage == WHOLE:
            by_title = {operation: [sketch] for operation, sketch in each.operations.items()}
        else:
            for key, sketch in each.stages.items():
                if key.stage == stage and _fits(key, engine):
                    title = title_of(EngineKey(key.model, key.engine)) if key.model else "all models"
                    by_title.setdefault(title, []).append(sketch)
        for title, sketches in by_title.items():
            series.setdefault(title, []).append(Moment(ago_s, summarize(StageKey(stage), joined(sketches))))
    return series


def _without_gaps(slices: Sequence[Slice], now_s: float) -> list[Slice]:
    """Return the slices and, from the first one on, empty ones for the times in which nothing ended."""
    if not slices:
        return []
    known = {round(each.start_s / SLICE_S): each for each in slices}
    numbers = range(min(known), int(now_s // SLICE_S) + 1)
    return [known.get(number) or Slice(number * SLICE_S) for number in numbers]


def _rates(each: Slice, now_s: float) -> Rates:
    # The slice that is not over yet has had less time.
    lasted_s = min(max(now_s - each.start_s, 1.0), SLICE_S)
    return Rates(
        ago_s=now_s - each.start_s - lasted_s / 2,
        requests_per_s=each.requests / lasted_s,
        failed_per_s=each.failed / lasted_s,
        hit_ratio=each.cached / each.items if each.items else None,
    )


def _samples(samples: Iterable[Sample], start_s: float) -> list[Sample]:
    """Return the samples since then after the one before them, from which the first one's counts began."""
    found: list[Sample] = []
    for each in samples:
        if each.at_s <= start_s:
            found.clear()
        found.append(each)
    return found


def _states(samples: Sequence[Sample], now_s: float, start_s: float, engine: EngineKey | None) -> list[State]:
    states: list[State] = []
    for number, sample in enumerate(samples):
        if sample.at_s <= start_s:
            continue
        busy = 0.0
        if number:
            before = samples[number - 1]
            for name, counts in sample.engines.items():
                if engine in (None, name) and name in before.engines:
                    busy += max(counts.infer_s - before.engines[name].infer_s, 0.0)
            busy /= sample.at_s - before.at_s
        states.append(
            State(
                ago_s=now_s - sample.at_s,
                rss_mb=sample.rss_bytes / 1e6,
                cpu_cores=sample.cpu_cores,
                engine_calls=busy,
                queued=sample.queued,
                in_work=sample.in_work,
            )
        )
    return states


def _batch_sizes(samples: Sequence[Sample], engine: EngineKey | None) -> Counter[int]:
    """Return the calls between the first sample and the last, by their size."""
    sizes: Counter[int] = Counter()
    for before, after in pairwise(samples):
        for name, counts in after.engines.items():
            if engine in (None, name):
                known = before.engines.get(name)
                sizes.update(Counter(counts.batch_sizes))
                if known is not None and known.infer_s <= counts.infer_s:  # else it was loaded anew
                    sizes.subtract(known.batch_sizes)
    return +sizes
