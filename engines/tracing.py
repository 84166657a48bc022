"""Traces: what one request did, and when, as spans that the code it runs through adds to it.

The door begins a trace; everything below adds its stages to the trace of the context that it runs in, in
worker threads too, for they get a copy of the context. Without a trace nothing is kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

MAX_SPANS = 256  # of one trace; a request with thousands of labels has more, of which the first are kept


class Span(NamedTuple):
    """One stage of a request; times are those of `time.perf_counter`."""

    stage: str
    start_s: float
    end_s: float
    model: str = ""
    engine: str = ""
    tower: str = ""
    batch_size: int = 0  # of the engine call, whoever's items were in it
    items: int = 0  # of this request
    cached: int = 0  # of them, whose embedding was known

    @property
    def duration_ms(self) -> float:
        """Return how long it took."""
        return (self.end_s - self.start_s) * 1000


class Trace:
    """The spans of one request; may be added to from several threads."""

    __slots__ = ("_ended", "door", "end_s", "left_out", "operation", "outcome", "spans", "start_s")

    def __init__(self, door: str, operation: str) -> None:
        """Begin now.

        Args:
            door: which way the request came.
            operation: what it asks for.
        """
        self.door = door
        self.operation = operation
        self.start_s = self.end_s = time.perf_counter()
        self.outcome = ""
        self.spans: list[Span] = []
        self.left_out = 0  # spans
        self._ended = False

    def add(self, span: Span) -> None:
        """Keep a span, unless there are very many, or the request has been answered."""
        if self._ended:  # by what it began and nobody waits for, such as filling an index
            return
        if len(self.spans) < MAX_SPANS:
            self.spans.append(span)
        else:
            self.left_out += 1

    def end(self, outcome: str) -> None:
        """Stop the clock; what is added later is not kept."""
        self.end_s = time.perf_counter()
        self.outcome = outcome
        self._ended = True

    @property
    def duration_ms(self) -> float:
        """Return how long the whole request took."""
        return (self.end_s - self.start_s) * 1000


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


@contextmanager
def tracing(trace: Trace) -> Iterator[None]:
    """Make the block's spans go to a trace."""
    before = _current.get()
    _current.set(trace)
    try:
        yield
    finally:  # no token: a generator's last step may run in another context than its first
        _current.set(before)


def current_trace() -> Trace | None:
    """Return the trace that spans go to, if there is one."""
    return _current.get()


class Timing:
    """How long a block took, once it has ended."""

    __slots__ = ("ms",)

    def __init__(self) -> None:
        self.ms = 0.0


@contextmanager
def span(stage: str, model: str = "", engine: str = "") -> Iterator[Timing]:
    """Time the block, and add it to the current trace as one stage, also when it ends with an error.

    Args:
        stage: its name.
        model: whose work it is, if it is one's.
        engine: of that model.
    """
    timing, start_s = Timing(), time.perf_counter()
    try:
        yield timing
    finally:
        end_s = time.perf_counter()
        timing.ms = (end_s - start_s) * 1000
        if trace := _current.get():
            trace.add(Span(stage, start_s, end_s, model, engine))
