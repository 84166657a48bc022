"""Time a call honestly: warm-up, percentiles, and how much other processes disturbed it.

Knows no engine: takes callables, returns numbers. Medians of fresh processes say more than many calls
in one, because a process keeps its luck with memory placement; `Summary` is made for that.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

# More foreign work than this, in cores, makes a measurement dirty. /proc/stat counts in 10 ms, so half
# a second of measuring is off by up to 0.04 cores on two cores.
MAX_FOREIGN_CORES = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long one measurement takes: at least this many calls and this much time."""

    num_warmup: int = 2
    min_iters: int = 5
    min_duration_s: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyProfile:
    """What calls of one process took."""

    p50_ms: float
    p95_ms: float
    items_per_s: float  # from the mean, so that slow calls count
    num_iters: int
    foreign_cores: float  # of other processes meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One quantity over several rounds; of clean rounds alone where there are any."""

    median: float
    min: float
    max: float
    num_rounds: int
    num_clean: int
    rounds: tuple[float, ...]  # all of them, dirty ones too, in order
    foreign_cores: tuple[float, ...]  # in the same order


class ForeignLoad:
    """Measures the CPU time that other processes take, from its making on."""

    def __init__(self, partner: int | None = None) -> None:
        """Start to measure.

        Args:
            partner: the id of a process that is no stranger, such as the server under test.
        """
        self._partner = None if partner is None else psutil.Process(partner)
        self._start = self._read()

    def cores(self) -> float:
        """Return how many cores others kept busy on average since the start; never less than none."""
        now_s, machine_s, own_s = self._read()
        start_s, machine_start_s, own_start_s = self._start
        foreign_s = (machine_s - machine_start_s) - (own_s - own_start_s)
        return max(0.0, foreign_s / max(now_s - start_s, 1e-9))

    def _read(self) -> tuple[float, float, float]:
        """Return the time, the machine's busy CPU time and our own; stolen time is busy too."""
        times = psutil.cpu_times()
        machine_s = sum(
            getattr(times, kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq", "steal")
        )
        own = os.times()
        own_s = own.user + own.system + own.children_user + own.children_system
        if self._partner is not None:
            times = self._partner.cpu_times()
            own_s += times.user + times.system
        return time.perf_counter(), machine_s, own_s


def measure_latency(call: Callable[[], object], batch_size: int, effort: Effort) -> LatencyProfile:
    """Call again and again; return percentiles of the calls after the warm-up."""
    for _ in range(effort.num_warmup):
        call()
    foreign = ForeignLoad()
    calls_ms: list[float] = []
    start_s = time.perf_counter()
    while len(calls_ms) < effort.min_iters or time.perf_counter() - start_s < effort.min_duration_s:
        call_start_s = time.perf_counter()
        call()
        calls_ms.append((time.perf_counter() - call_start_s) * 1000)
    return LatencyProfile(
        p50_ms=percentile(calls_ms, 0.5),
        p95_ms=percentile(calls_ms, 0.95),
        items_per_s=batch_size * len(calls_ms) / sum(calls_ms) * 1000,
        num_iters=len(calls_ms),
        foreign_cores=foreign.cores(),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value at a share in [0, 1] of the sorted values, between neighbours in proportion."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def is_clean(foreign_cores: float) -> bool:
    """Tell whether other processes left a measurement alone."""
    return foreign_cores <= MAX_FOREIGN_CORES


def summarize(values: Sequence[float], foreign_cores: Sequence[float]) -> Summary:
    """Return the median and range of the clean rounds, or of all where none was clean.

    Raises:
        ValueError: when there is no round.
    """
    if not values:
        raise ValueError("there is no round to summarize")
    clean = [value for value, foreign in zip(values, foreign_cores, strict=True) if is_clean(foreign)]
    used = clean or values
    return Summary(
        median=statistics.median(used),
        min=min(used),
        max=max(used),
        num_rounds=len(values),
        num_clean=len(clean),
        rounds=tuple(values),
        foreign_cores=tuple(foreign_cores),
    )


def fewest_clean_rounds(summaries: Sequence[Summary]) -> int:
    """Return how many clean rounds the most disturbed quantity had; 0 without any."""
    return min((summary.num_clean for summary in summaries), default=0)
