"""SigLiT against LiT at tiny scale: the bundled pair's held-out metrics over training seeds.

The pair was trained several times by each loss; a run of one loss and a run of the other with the same seed
start from the same weights and see the same batches, so that their difference is the loss's alone. Intervals
are Student's t over the seeds: they tell what other seeds would give, not what other pictures would.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import engines.bundled
from use_cases.report.chart import Chart, Point, Series
from use_cases.resampling import NO_DIFFERENCE

METRICS_PATH = Path(engines.bundled.__file__).parent / "metrics.json"
SIGMOID, SOFTMAX = "siglit-mini", "lit-mini"
METRIC_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "animals_top1": "photographed animals, top-1",
        "animals_top5": "photographed animals, top-5",
        "objects_top1": "photographed objects, top-1",
        "objects_top5": "photographed objects, top-5",
        "drawings_top1": "drawings among 80 names, top-1",
        "drawings_top5": "drawings among 80 names, top-5",
        "text_to_image_recall_at_1": "text -> image, R@1",
        "text_to_image_recall_at_5": "text -> image, R@5",
        "image_to_text_recall_at_1": "image -> text, R@1",
        "image_to_text_recall_at_5": "image -> text, R@5",
    }
)
# The 97.5 % quantile of Student's t by its degrees of freedom (NIST/SEMATECH e-Handbook, 1.3.6.7.2).
_STUDENT_T: Mapping[int, float] = MappingProxyType(
    {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
)


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds with the half-width of its 95 % interval, and the values it is of, in [0, 1]."""

    mean: float
    half_width: float
    values: tuple[float, ...]

    @classmethod
    def over(cls, values: Sequence[float]) -> Mean:
        """Return the mean of 2 to 10 values."""
        half_width = _STUDENT_T[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values))
        return cls(statistics.fmean(values), half_width, tuple(values))

    @property
    def holds_zero(self) -> bool:
        """Return whether the interval holds 0."""
        return abs(self.mean) <= self.half_width


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of both losses; the difference is sigmoid minus softmax, by seed."""

    title: str
    sigmoid: Mean
    softmax: Mean
    difference: Mean

    @property
    def verdict(self) -> str:
        """Return which loss is better, if the seeds can tell."""
        if self.difference.holds_zero:
            return NO_DIFFERENCE
        return "sigmoid higher" if self.difference.mean > 0 else "softmax higher"


def compare_losses(path: Path = METRICS_PATH) -> dict[str, Comparison]:
    """Return the comparison of each metric of `held_out_by_seed`."""
    by_seed = json.loads(path.read_text("utf-8"))["held_out_by_seed"]
    comparisons: dict[str, Comparison] = {}
    for metric, title in METRIC_TITLES.items():
        sigmoid, softmax = ([run[metric] for run in by_seed[model]] for model in (SIGMOID, SOFTMAX))
        difference = [one - other for one, other in zip(sigmoid, softmax, strict=True)]
        comparisons[metric] = Comparison(title, *map(Mean.over, (sigmoid, softmax, difference)))
    return comparisons


def seeds_table(comparisons: Sequence[Comparison]) -> str:
    """Return the table: a row a metric, in per cent and points."""
    lines = [
        "| held-out metric, % | sigmoid | softmax | sigmoid - softmax, points | |",
        "|---|---:|---:|---:|---|",
    ]
    for each in comparisons:
        cells = (_percent(each.sigmoid), _percent(each.softmax), _percent(each.difference, "+"))
        lines.append(f"| {each.title} | {' | '.join(cells)} | {each.verdict} |")
    return "\n".join(lines)


def seeds_summary(comparisons: Sequence[Comparison]) -> str:
    """Return in a sentence what the seeds can tell."""
    num_seeds = len(comparisons[0].difference.values)
    told = [f"{each.title}: {each.verdict}" for each in comparisons if each.verdict != NO_DIFFERENCE]
    widths = sorted(100 * each.difference.half_width for each in comparisons)
    differ = "differs" if len(told) == 1 else "differ"
    found = (
        f"{len(told)} of {len(comparisons)} metrics {differ} ({'; '.join(told)}), where about one in twenty"
        " would by chance alone"
        if told
        else f"{NO_DIFFERENCE} in any of the {len(comparisons)} metrics"
    )
    return (
        f"With {num_seeds} seeds for each loss: {found}. That is no proof of equality: a difference smaller"
        f" than {widths[0]:.1f} to {widths[-1]:.1f} points, by metric, could not have been seen."
    )


def seeds_charts(comparisons: Sequence[Comparison]) -> list[Chart]:
    """Return the values of each seed, and the differences with their intervals."""
    rows = tuple(each.title for each in comparisons)
    num_seeds = len(comparisons[0].difference.values)
    note = f"{num_seeds} seeds for each loss; {METRICS_PATH.name} of the bundled pair"
    losses = (
        ("sigmoid", [each.sigmoid for each in comparisons]),
        ("softmax", [each.softmax for each in comparisons]),
    )
    values = Chart(
        name="sigmoid-and-softmax-by-seed",
        title="Sigmoid and softmax loss, each seed",
        note=note,
        x_title="%",
        series=tuple(
            Series(
                name,
                tuple(Point(100 * value, row) for row, mean in enumerate(means) for value in mean.values),
            )
            for name, means in losses
        ),
        rows=rows,
        zero=True,
    )
    differences = [each.difference for each in comparisons]
    return [
        values,
        Chart(
            name="sigmoid-minus-softmax",
            title="Sigmoid minus softmax loss, paired by seed",
            note=note,
            x_title="points; mean with its 95 % interval (Student's t), and each seed's difference",
            series=(
                Series("mean", tuple(_mean_point(row, each) for row, each in enumerate(differences))),
                Series(
                    "one seed",
                    tuple(
                        Point(100 * value, row)
                        for row, each in enumerate(differences)
                        for value in each.values
                    ),
                ),
            ),
            rows=rows,
            zero=True,
        ),
    ]


def _mean_point(row: int, mean: Mean) -> Point:
    low, high = mean.mean - mean.half_width, mean.mean + mean.half_width
    return Point(100 * mean.mean, row, 100 * low, 100 * high)


def _percent(mean: Mean, sign: str = "") -> str:
    return f"{100 * mean.mean:{sign}.1f} ± {100 * mean.half_width:.1f}"
