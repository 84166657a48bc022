"""Bootstrap intervals: what a metric might have been on other images of the same kind.

Images are drawn with replacement, as often as there are images, and the metric is computed on each draw
(Efron and Tibshirani 1993, the percentile interval). The draws depend on the number of images alone: those
of two models on one dataset are the same, so that their difference is paired.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Resampled: TypeAlias = NDArray[np.float64]  # [n_resamples, n_metrics]
Counts: TypeAlias = NDArray[np.float64]  # [n_resamples, n_images], how often each image was drawn

NUM_RESAMPLES = 1000
SEED = 0
LEVEL = 0.95  # of the intervals
BLOCK_VALUES = 8_000_000  # of a matrix that are in memory at a time
INTERVALS = f"{LEVEL:.0%} percentile bootstrap, {NUM_RESAMPLES} resamples of the images"
NO_DIFFERENCE = "no significant difference"  # said of one whose interval holds zero


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    @property
    def holds_zero(self) -> bool:
        """Tell whether a difference may as well be none."""
        return self.low <= 0 <= self.high


def unsure_text(estimates: Mapping[str, Estimate], titles: Mapping[str, str]) -> str:
    """Return which of some differences may be none, to stand behind them; nothing when all are sure.

    Args:
        estimates: the differences by metric.
        titles: of the metrics.
    """
    unsure = [titles[name].removesuffix(" %") for name, each in estimates.items() if each.holds_zero]
    return f"  {NO_DIFFERENCE}: {', '.join(unsure)}" if unsure else ""


def blocks(rows: int, columns: int) -> list[tuple[int, int]]:
    """Return (start, stop) of row blocks that are small enough to be in memory."""
    size = max(BLOCK_VALUES // max(columns, 1), 1)
    return [(start, min(start + size, rows)) for start in range(0, rows, size)]


def draw_counts(rng: np.random.Generator, num_resamples: int, num_images: int) -> Counts:
    """Return how often each resample contains each image: [num_resamples, num_images]."""
    drawn = rng.integers(num_images, size=(num_resamples, num_images))
    cells = drawn + np.arange(num_resamples)[:, None] * num_images
    counts = np.bincount(cells.ravel(), minlength=num_resamples * num_images)
    return counts.reshape(num_resamples, num_images).astype(np.float64)


def drawn_blocks(num_images: int, num_columns: int) -> Iterator[Counts]:
    """Yield the draws of all resamples, so many at a time as fit into memory.

    Args:
        num_images: from which is drawn.
        num_columns: of what the caller computes for a resample.
    """
    rng = np.random.default_rng(SEED)
    for start, stop in blocks(NUM_RESAMPLES, max(num_images, num_columns)):
        yield draw_counts(rng, stop - start, num_images)


def estimates(
    values: Mapping[str, float],
    resampled: Resampled,
    *,
    mirrored: Collection[str] = (),
    within: tuple[float, float] = (0.0, 1.0),
) -> dict[str, Estimate]:
    """Return metrics with their intervals.

    Args:
        values: of the dataset itself, or the differences between two models.
        resampled: of the same quantities, in the same order; NaN in draws that hold nothing to measure.
        mirrored: metrics that a sample gives too high a value, and a resample of it a still higher one. Their
            percentiles lie on the wrong side; mirrored at the value (the basic bootstrap interval, Davison
            and Hinkley 1997, 5.2) they allow for that; see `_mirrored`.
        within: between what the mirrored metrics can be: (-1, 1) where they are differences.
    """
    tail = (1 - LEVEL) / 2
    lows, highs = np.nanquantile(resampled, (tail, 1 - tail), axis=0).tolist()
    return {
        name: _mirrored(value, low, high, within) if name in mirrored else Estimate(value, low, high)
        for (name, value), low, high in zip(values.items(), lows, highs, strict=True)
    }


def share_estimate(value: float, number: int) -> Estimate:
    """Return a share with its Wilson score interval, which has a width also where all or none count.

    A bootstrap has none there: a share of 1 is 1 in every resample. The interval is that of Wilson 1927
    (Probable inference, the law of succession, and statistical inference, JASA 22, 209-212).

    Args:
        value: in [0, 1].
        number: of independent observations, from 1.
    """
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    scale = 1 / (1 + z**2 / number)
    middle = scale * (value + z**2 / (2 * number))
    reach = scale * z * math.sqrt(value * (1 - value) / number + z**2 / (4 * number**2))
    # The value lies inside, but for the last digits.
    return Estimate(value, max(min(middle - reach, value), 0.0), min(max(middle + reach, value), 1.0))


def _mirrored(value: float, low: float, high: float, within: tuple[float, float]) -> Estimate:
    """Return the basic bootstrap interval, which holds the value and nothing that cannot be.

    Where nearly all resamples lie on one side of the value, the mirrored percentile on the other side passes
    it: the interval would end before the value, or begin after it, or have no width at a bound. The plain
    percentile takes its place there, so that the interval becomes wider, never narrower.

    Args:
        value: of the dataset itself.
        low: percentile of the resamples.
        high: likewise.
        within: what the metric can be.
    """
    mirrored_low, mirrored_high = 2 * value - high, 2 * value - low
    return Estimate(
        value,
        max(mirrored_low if mirrored_low < value else low, within[0]),
        min(mirrored_high if mirrored_high > value else high, within[1]),
    )
