"""What became of requests, and what can be said of many of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias

from use_cases.latency import Summary, percentile

Outcome: TypeAlias = Literal["ok", "shed", "server_error", "error", "hung"]
_CLUMP_S = 0.005  # answers of one engine call arrive within that time,
_CLUMP_SHARE = 0.2  # and much closer together than answers do on average


class Sample(NamedTuple):
    """One request."""

    end_s: float  # of time.perf_counter
    ms: float
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadLevel:
    """A server under so many clients; None where nothing was answered.

    Rates and times are those of the measured seconds; what went wrong is counted from the beginning of the
    warm-up to the last answer.
    """

    model: str
    engine: str
    measurement: str = "load"
    clients: int
    seconds: float
    requests_per_s: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    ok: int
    shed: int  # refused with status 429
    server_errors: int  # status 5xx
    other_errors: int  # other statuses, broken connections
    hung: int  # not answered in time
    mean_batch_size: float | None  # of the image tower
    rss_before_bytes: float  # after the warm-up
    rss_after_bytes: float  # when all was answered
    client_cores: float  # that the load generator itself kept busy
    foreign_cores: float  # that others kept busy, neither the server nor this process


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One quantity over several rounds, and what it was made of; without a value `reason` says why."""

    model: str
    engine: str
    measurement: str
    unit: str
    value: Summary | None = None
    parts: dict[str, Summary] = field(default_factory=dict)
    note: str | None = None
    reason: str | None = None


def outcome_of(status: int) -> Outcome:
    """Return what an HTTP status means for the client."""
    if status == 429:
        return "shed"
    return "ok" if status == 200 else "server_error" if status >= 500 else "error"


def count(samples: Iterable[Sample], outcome: Outcome) -> int:
    """Return how many requests ended in one way."""
    return sum(sample.outcome == outcome for sample in samples)


def percentile_ms(samples: Sequence[Sample], share: float) -> float | None:
    """Return a percentile of the times; None without any."""
    return percentile([sample.ms for sample in samples], share) if samples else None


def steady_rate(times_s: Iterable[float], start_s: float, end_s: float) -> float | None:
    """Return the events a second in a time, from the moments at which they happened; None without any.

    Items of one engine call are done at the same moment. Counting from one such moment to another, and not
    over the whole time, keeps a rate of few large calls exact, unless they are too few. The last moment does
    not count, because it may be cut.
    """
    ordered = sorted(time_s for time_s in times_s if start_s <= time_s <= end_s)
    if not ordered:
        return None
    clump_s = min(_CLUMP_S, _CLUMP_SHARE * (ordered[-1] - ordered[0]) / len(ordered))
    ends = [place for place, (time_s, next_s) in enumerate(pairwise(ordered)) if next_s - time_s > clump_s]
    if len(ends) < 2 or ordered[ends[-1]] - ordered[ends[0]] < (end_s - start_s) / 2:
        return len(ordered) / (end_s - start_s)
    return (ends[-1] - ends[0]) / (ordered[ends[-1]] - ordered[ends[0]])
