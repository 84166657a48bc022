"""Stopwatch: how long each stage of one request to an engine took."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from engines.tracing import Span, current_trace
from engines.worker.calls import EngineCall, Row


class Stopwatch:
    """Runs from its creation; what is neither preparation nor an engine call counts as "queue".

    The stages go to the current trace as well, one span for each piece: there "queue" is split into "fill",
    while more items were waited for, and "queue", while the cores were busy.
    """

    def __init__(self, model: str, engine: str, tower: str) -> None:
        """Take the names of what computes."""
        self._start_s = time.perf_counter()
        self._names = model, engine, tower
        self._preparation = "tokenize" if tower == "text" else "preprocess"
        self._prepare_ms = 0.0
        self._elsewhere_ms = 0.0
        self._calls: dict[int, EngineCall] = {}  # counts once, however many items it brought
        self._trace = current_trace()

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Count the block as preparation; for worker threads."""
        start_s = time.perf_counter()
        yield
        end_s = time.perf_counter()
        self._prepare_ms += (end_s - start_s) * 1000
        if self._trace:
            self._trace.add(Span(self._preparation, start_s, end_s, *self._names))

    def leave_out(self, elapsed_ms: float) -> None:
        """Do not count a time that is told elsewhere."""
        self._elsewhere_ms += elapsed_ms

    def count(self, rows: Iterable[Row]) -> None:
        """Count the engine calls that rows came from."""
        first: dict[int, Row] = {}
        for row in rows:
            if row.call.number not in self._calls:
                self._calls[row.call.number] = row.call
                first[row.call.number] = row
        if not self._trace:
            return
        for row in first.values():
            moments = (row.arrived_s, row.filled_s, row.call.start_s, row.call.end_s)
            # An item that was being computed already may have begun before this request.
            times_s = [max(moment, self._start_s) for moment in moments]
            for stage, start_s, end_s in zip(("fill", "queue", "infer"), times_s, times_s[1:], strict=False):
                self._trace.add(Span(stage, start_s, end_s, *self._names, row.call.batch_size))

    def stop(self, items: int, cached: int = 0) -> dict[str, float]:
        """Return the stages' times, which add up to what the caller has waited.

        Args:
            items: that were asked for.
            cached: of them, that were known.
        """
        end_s = time.perf_counter()
        if self._trace:
            self._trace.add(Span("embed", self._start_s, end_s, *self._names, items=items, cached=cached))
        elapsed_ms = (end_s - self._start_s) * 1000 - self._elsewhere_ms - self._prepare_ms
        calls_ms = sum(call.infer_ms for call in self._calls.values())
        infer_ms = min(calls_ms, max(elapsed_ms, 0.0))  # parallel calls overlap
        return {
            self._preparation: self._prepare_ms,
            "queue": max(elapsed_ms - infer_ms, 0.0),
            "infer": infer_ms,
        }
