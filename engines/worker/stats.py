"""TowerStats: what a batcher counts, for metrics and for the readiness report."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class TowerStats:
    """Counts since the start; seconds are those of time.perf_counter."""

    calls: int = 0
    items: int = 0
    background_items: int = 0  # of the items
    infer_s: float = 0.0
    batch_sizes: Counter[int] = field(default_factory=Counter)  # calls by the number of items in them
    failed_items: int = 0
    retried_batches: int = 0  # failed as a whole and were tried item by item
    stalls: int = 0  # calls that hung
    restarts: int = 0  # of a worker that failed
    last_success_s: float | None = None

    def count_call(self, items: int, infer_ms: float, *, background: bool = False) -> None:
        """Count one call that went well."""
        self.calls += 1
        self.items += items
        self.background_items += items if background else 0
        self.infer_s += infer_ms / 1000
        self.batch_sizes[items] += 1
        self.last_success_s = time.perf_counter()
