"""Demand: how much there was to do in the last moments."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

WINDOW_S = 1.0  # over which is averaged; long against a call, short against a visitor's stay


class Demand:
    """Averages the items in the system and the time between arrivals, recent moments counting most."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Take a clock in seconds."""
        self._clock = clock
        self._items = 0
        self._average = 0.0
        self._noted_s = clock()
        self._arrived_s: float | None = None
        self.gap_ms = math.inf  # the usual time between two arrivals

    @property
    def average(self) -> float:
        """Return the average number of items in the system up to now."""
        self.note(self._items)
        return self._average

    def note(self, items: int) -> None:
        """Say how many items are in the system from now on."""
        now_s = self._clock()
        weight = 1 - math.exp(-(now_s - self._noted_s) / WINDOW_S)
        self._average += weight * (self._items - self._average)
        self._items, self._noted_s = items, now_s

    def arrive(self) -> None:
        """Count one arrival, of however many items."""
        now_s = self._clock()
        if self._arrived_s is not None:
            gap_ms = (now_s - self._arrived_s) * 1000
            self.gap_ms = gap_ms if math.isinf(self.gap_ms) else 0.8 * self.gap_ms + 0.2 * gap_ms
        self._arrived_s = now_s
