"""Which loaded engines are too many: nobody has used them for long, or memory is short."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import psutil

from engines.machine.garbage import collect_all
from engines.machine.malloc import trim_memory
from engines.worker.batched_engine import BatchedEngine

K = TypeVar("K")

_IN_USE_S = 10.0  # after its last request an engine may be about to get the next part of it


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """When engines are checked and unloaded; 0 switches each of them off."""

    canary_interval_s: float = 30.0
    idle_unload_s: float = 0.0
    memory_limit_mb: float = 0.0  # of this process's resident memory

    @property
    def max_canary_age_s(self) -> float:
        """Return the age from which on a canary that was not seen is a problem."""
        return 4 * self.canary_interval_s or float("inf")


def too_many(engines: Mapping[K, BatchedEngine], limits: PoolLimits) -> list[K]:
    """Return the engines to unload now, least recently used first; never one that has work or is kept.

    One engine at most goes for want of memory, because what that frees shows only afterwards; the
    last one stays, however large it is.
    """
    now_s = time.monotonic()
    by_age = sorted(engines, key=lambda key: engines[key].last_used_s)
    needed = {key for key, engine in engines.items() if engine.is_busy or engine.is_kept}
    unused_s = {key: now_s - engines[key].last_used_s for key in by_age if key not in needed}
    idle = [key for key, age_s in unused_s.items() if age_s > limits.idle_unload_s > 0]
    if idle or not limits.memory_limit_mb or len(engines) < 2:
        return idle
    if psutil.Process().memory_info().rss <= limits.memory_limit_mb * 1e6:
        return []
    return [key for key, age_s in unused_s.items() if age_s > _IN_USE_S][:1]


def free_memory() -> None:
    """Give what unloaded engines held back to the system."""
    collect_all()
    trim_memory()
