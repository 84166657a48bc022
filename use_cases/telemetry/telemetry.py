"""Telemetry: the last traces of a server, the times of their stages, and samples of its state."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from engines.loading import EngineKey
from engines.tracing import Trace
from use_cases.telemetry.sketches import Slice, merge

SLICE_S = 5.0
KEPT_S = 900.0  # a quarter of an hour
MAX_TRACES = 1_000
_GROWING = 2  # slices, the newest, to which traces may still come: one may have ended a little earlier
_MAX_PENDING = 1_000  # traces that nobody has looked at are counted at the latest then


class EngineCounts(NamedTuple):
    """What one engine has done since it was loaded, all towers together."""

    batch_sizes: Mapping[int, int]  # calls by the number of items in them
    infer_s: float  # in calls; those at the same time each count


@dataclass(frozen=True, slots=True)
class Sample:
    """The state of a server at one moment."""

    at_s: float  # time.perf_counter
    rss_bytes: int
    cpu_cores: float  # busy with this process since the sample before
    queued: int  # items that wait for engine calls
    in_work: int  # requests
    engines: Mapping[EngineKey, EngineCounts]  # that are loaded, by model and engine


@dataclass(slots=True)
class Telemetry:
    """Takes the traces of requests that have ended; everything it keeps is bounded. For one event loop.

    Listeners are called with the traces that are new, a few at a time.

    A request only leaves its trace; the times are counted later, many at once, when somebody looks or
    `tick` is called, so that the request does not wait for that.
    """

    clock: Callable[[], float] = time.perf_counter
    # Beside the monotonic clock: what the clock on the wall showed then. It may jump; distances must not.
    wall_clock: Callable[[], float] = time.time
    traces: deque[Trace] = field(init=False, default_factory=lambda: deque(maxlen=MAX_TRACES))
    slices: deque[Slice] = field(init=False, default_factory=deque)
    samples: deque[Sample] = field(init=False, default_factory=deque)
    listeners: list[Callable[[Sequence[Trace]], None]] = field(init=False, default_factory=list)
    since_s: float = field(init=False)  # when it began, or was reset
    _began_at: float = field(init=False)
    _pending: list[Trace] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.since_s = self.clock()
        self._began_at = self.wall_clock() - self.since_s

    def keep(self, trace: Trace) -> None:
        """Take a trace that has ended."""
        self._pending.append(trace)
        if len(self._pending) >= _MAX_PENDING:
            self.count()

    def count(self) -> None:
        """Count the traces that came since the last time."""
        pending, self._pending = self._pending, []
        for trace in pending:
            self._slice_at(trace.end_s).add(trace)
        self.traces.extend(pending)
        for listener in self.listeners if pending else ():
            listener(pending)

    def tick(self, sample: Sample) -> None:
        """Keep a sample, count what is new, and let go what is old."""
        self.count()
        self.samples.append(sample)
        oldest_s = self.clock() - KEPT_S
        while self.samples and self.samples[0].at_s < oldest_s:
            self.samples.popleft()
        while self.slices and self.slices[0].start_s + SLICE_S < oldest_s:
            self.slices.popleft()

    def window(self, seconds: float) -> Slice:
        """Return everything that ended in the last seconds, to the slice."""
        return merge(self.slices_of(seconds))

    def slices_of(self, seconds: float) -> list[Slice]:
        """Return the slices of the last seconds, the oldest first, without those in which nothing ended."""
        self.count()
        oldest_s = self.clock() - seconds
        return [each for each in self.slices if each.start_s + SLICE_S > oldest_s]

    def reset(self) -> None:
        """Forget everything, after the listeners have got it."""
        self.count()
        self.traces.clear()
        self.slices.clear()
        self.samples.clear()
        self.since_s = self.clock()

    def copy(self) -> Telemetry:
        """Return what is known now, for another thread: here requests go on to change it."""
        self.count()
        copied = Telemetry(self.clock, self.wall_clock)
        copied.traces.extend(self.traces)
        copied.samples.extend(self.samples)
        copied.slices.extend(self.slices)
        for place in range(-min(len(self.slices), _GROWING), 0):
            growing = self.slices[place]
            copied.slices[place] = replace(merge([growing]), start_s=growing.start_s)
        copied.since_s, copied._began_at = self.since_s, self._began_at
        return copied

    def time_of_day(self, at_s: float) -> float:
        """Return the seconds since 1970 at a moment of the monotonic clock."""
        return self._began_at + at_s

    def _slice_at(self, at_s: float) -> Slice:
        start_s = at_s // SLICE_S * SLICE_S
        for each in reversed(self.slices):  # mostly the last one
            if each.start_s == start_s:
                return each
            if each.start_s < start_s:
                break
        fresh = Slice(start_s)
        self.slices.append(fresh)
        if len(self.slices) > 1 and self.slices[-2].start_s > start_s:  # it ended a little earlier
            self.slices = deque(sorted(self.slices, key=lambda each: each.start_s))
        return fresh
