"""Samples of the server's state, taken all the time: each costs some microseconds."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence

import psutil

from engines.pool import EnginePool
from engines.worker.stats import TowerStats
from use_cases.telemetry.telemetry import SLICE_S, EngineCounts, Sample, Telemetry


async def keep_sampling(telemetry: Telemetry, pool: EnginePool, in_work: Callable[[], int]) -> None:
    """Give telemetry a sample of this process every SLICE_S, until cancelled.

    Args:
        telemetry: counts what is new at the same time.
        pool: with the engines.
        in_work: returns the number of requests that are not answered yet.
    """
    process = psutil.Process()
    before_s, cpu_before_s = time.perf_counter(), _cpu_s(process)
    while True:
        await asyncio.sleep(SLICE_S)
        now_s, cpu_s = time.perf_counter(), _cpu_s(process)
        batchers = {key: pooled.engine.batchers.values() for key, pooled in pool.running.items()}
        telemetry.tick(
            Sample(
                at_s=now_s,
                rss_bytes=process.memory_info().rss,
                cpu_cores=(cpu_s - cpu_before_s) / (now_s - before_s),
                queued=sum(batcher.queue_size for each in batchers.values() for batcher in each),
                in_work=in_work(),
                engines={key: _counts([batcher.stats for batcher in each]) for key, each in batchers.items()},
            )
        )
        before_s, cpu_before_s = now_s, cpu_s


def _counts(towers: Sequence[TowerStats]) -> EngineCounts:
    sizes: Counter[int] = Counter()
    for stats in towers:
        sizes.update(stats.batch_sizes)
    return EngineCounts(sizes, sum(stats.infer_s for stats in towers))


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
