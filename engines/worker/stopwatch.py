"""Stopwatch: how long each stage of one request took."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from engines.worker.calls import Row


class Stopwatch:
    """Runs from its creation; what is neither preparation nor an engine call counts as "queue"."""

    def __init__(self, preparation: str) -> None:
        """Take the name of the preparation's stage."""
        self._start_s = time.perf_counter()
        self._preparation = preparation
        self._prepare_ms = 0.0
        self._elsewhere_ms = 0.0
        self._calls: dict[int, float] = {}  # an engine call counts once, however many items it brought

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Count the block as preparation; for worker threads."""
        start_s = time.perf_counter()
        yield
        self._prepare_ms += (time.perf_counter() - start_s) * 1000

    def leave_out(self, elapsed_ms: float) -> None:
        """Do not count a time that is told elsewhere."""
        self._elsewhere_ms += elapsed_ms

    def count(self, rows: Iterable[Row]) -> None:
        """Count the engine calls that rows came from."""
        self._calls.update((row.call_number, row.infer_ms) for row in rows)

    def timings_ms(self) -> dict[str, float]:
        """Return the stages' times up to now, which add up to what the caller has waited."""
        elapsed_ms = (time.perf_counter() - self._start_s) * 1000 - self._elsewhere_ms - self._prepare_ms
        infer_ms = min(sum(self._calls.values()), max(elapsed_ms, 0.0))  # parallel calls overlap
        return {
            self._preparation: self._prepare_ms,
            "queue": max(elapsed_ms - infer_ms, 0.0),
            "infer": infer_ms,
        }
