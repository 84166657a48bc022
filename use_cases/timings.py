"""The stages of a request, in the order in which they happen, and how their times are put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

STAGES = ("load", "decode", "preprocess", "tokenize", "queue", "infer", "post")


def add_up(timings_ms: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the sum of each stage over parts of a request; "load" only if there was one."""
    return _combine(timings_ms, sum)


def longest(timings_ms: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the longest time of each stage over parts that ran side by side."""
    return _combine(timings_ms, max)


def _combine(
    timings_ms: Sequence[Mapping[str, float]], combine: Callable[[list[float]], float]
) -> dict[str, float]:
    found = {stage: [part[stage] for part in timings_ms if stage in part] for stage in STAGES}
    combined = {stage: combine(times) for stage, times in found.items() if times}
    return {stage: ms for stage, ms in combined.items() if ms or stage != "load"}
