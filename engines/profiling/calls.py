"""What a runtime's profiler saw of a tower's calls, and its summary by block and by kind of operator."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engines.models import Family
from engines.profiling.blocks import OTHER, Place, name_blocks


class Step(NamedTuple):
    """One operator's own time in one call."""

    place: Place
    ms: float
    flop: int | None = 0  # of its products; None when the profile does not tell


class Call(NamedTuple):
    """One call of a tower; its steps in the order in which they ran."""

    wall_ms: float  # the steps may leave some of it out
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """How many calls are profiled: as many as fit into the time, but no more than a profile can hold."""

    seconds: float
    num_warmup: int = 2
    min_calls: int = 3
    max_calls: int = 50


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """All operators of one kind together, in the median call."""

    operator: str
    num_runs: int
    ms: float
    flop: int | None  # None when the profile does not tell


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerProfile:
    """Medians over the calls."""

    num_calls: int
    wall_ms: float
    block_ms: dict[str, float]  # in the order in which they ran; OTHER is always there, and last
    operators: tuple[OperatorTime, ...]  # the slowest first

    @property
    def total_ms(self) -> float:
        """Return the sum over the blocks, which is the median call but for the medians' rounding."""
        return sum(self.block_ms.values())


def repeat_call(call: Callable[[], object], limits: CallLimits) -> None:
    """Call, the warm-up included, as often as the limits say."""
    for _ in range(limits.num_warmup):
        call()
    end_s = time.perf_counter() + limits.seconds
    for index in range(limits.max_calls):
        if index >= limits.min_calls and time.perf_counter() > end_s:
            break
        call()


def summarize_calls(calls: Sequence[Call], family: Family) -> TowerProfile:
    """Return the medians of at least one call.

    What a call took beside its operators, or in operators of no known block, is OTHER's.
    """
    by_block = [_block_ms(call, family) for call in calls]
    names = dict.fromkeys(name for blocks in by_block for name in blocks if name != OTHER)
    return TowerProfile(
        num_calls=len(calls),
        wall_ms=statistics.median(call.wall_ms for call in calls),
        block_ms={name: _median(by_block, name) for name in (*names, OTHER)},
        operators=_operator_times(calls),
    )


def _block_ms(call: Call, family: Family) -> dict[str, float]:
    blocks = name_blocks([step.place for step in call.steps], family)
    sums = _sums(zip(blocks, (step.ms for step in call.steps), strict=True))
    named_ms = sum(ms for block, ms in sums.items() if block != OTHER)
    return {**sums, OTHER: max(call.wall_ms - named_ms, 0.0)}


def _operator_times(calls: Sequence[Call]) -> tuple[OperatorTime, ...]:
    times = [_sums((step.place.operator, step.ms) for step in call.steps) for call in calls]
    runs = [_sums((step.place.operator, 1.0) for step in call.steps) for call in calls]
    flops = _flops(calls[0])  # the same in each call
    kinds = {operator for counts in runs for operator in counts}
    rows = [
        OperatorTime(kind, round(_median(runs, kind)), _median(times, kind), flops.get(kind, 0))
        for kind in kinds
    ]
    return tuple(sorted(rows, key=lambda row: (-row.ms, row.operator)))


def _flops(call: Call) -> dict[str, int | None]:
    sums: dict[str, int | None] = {}
    for step in call.steps:
        before = sums.get(step.place.operator, 0)
        sums[step.place.operator] = None if before is None or step.flop is None else before + step.flop
    return sums


def _sums(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    sums: defaultdict[str, float] = defaultdict(float)
    for key, value in pairs:
        sums[key] += value
    return sums


def _median(rows: Sequence[Mapping[str, float]], key: str) -> float:
    return float(statistics.median(row.get(key, 0.0) for row in rows))
