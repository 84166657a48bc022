"""Quality against latency, with the Pareto front: what nothing beats in one without losing in the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from use_cases.comparison.pareto import pareto_front
from use_cases.report.chart import Chart, Point, Series


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to embed: how long it takes and how good it is, with the interval of that."""

    label: str
    ms: float
    quality: float  # more is better
    low: float | None = None
    high: float | None = None


def draw_tradeoff(
    candidates: Sequence[Candidate], *, name: str, title: str, note: str, x_title: str, y_title: str
) -> Chart:
    """Return the chart: all candidates as points with their labels, the front as a line."""
    places = pareto_front([each.ms for each in candidates], [each.quality for each in candidates])
    front = [candidates[place] for place in places]
    rest = [candidate for place, candidate in enumerate(candidates) if place not in places]
    series = [Series("Pareto front", _points(front), "line")]
    return Chart(
        name=name,
        title=title,
        note=note,
        x_title=f"{x_title} (logarithmic)",
        y_title=y_title,
        series=(*series, Series("not on the front", _points(rest))) if rest else tuple(series),
        log_x=True,
    )


def _points(candidates: Sequence[Candidate]) -> tuple[Point, ...]:
    return tuple(Point(each.ms, each.quality, each.low, each.high, each.label) for each in candidates)
