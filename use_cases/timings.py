"""The stages of a request, in the order in which they happen, and how their times are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

STAGES = ("load", "decode", "preprocess", "tokenize", "queue", "infer", "search", "post")


def add_up(timings_ms: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the sum of each stage over parts of a request; "load" only if there was one."""
    found = {stage: [part[stage] for part in timings_ms if stage in part] for stage in STAGES}
    sums = {stage: sum(times) for stage, times in found.items() if times}
    return {stage: ms for stage, ms in sums.items() if ms or stage != "load"}
