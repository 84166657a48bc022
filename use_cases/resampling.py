"""Bootstrap intervals: what a metric might have been on other images of the same kind.

Images are drawn with replacement, as often as there are images, and the metric is computed on each draw
(Efron and Tibshirani 1993, the percentile interval). The draws depend on the number of images alone: those
of two models on one dataset are the same, so that their difference is paired.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
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
    at_least: float = -np.inf,
) -> dict[str, Estimate]:
    """Return metrics with their intervals.

    Args:
        values: of the dataset itself, or the differences between two models.
        resampled: of the same quantities, in the same order.
        mirrored: metrics that a sample gives too high a value, and a resample of it a still higher one. Their
            percentiles lie on the wrong side; mirrored at the value (the basic bootstrap interval, Davison
            and Hinkley 1997, 5.2) they allow for that.
        at_least: no interval begins below.
    """
    tail = (1 - LEVEL) / 2
    lows, highs = np.quantile(resampled, (tail, 1 - tail), axis=0).tolist()
    found: dict[str, Estimate] = {}
    for (name, value), low, high in zip(values.items(), lows, highs, strict=True):
        ends = (2 * value - high, 2 * value - low) if name in mirrored else (low, high)
        found[name] = Estimate(value, max(ends[0], at_least), ends[1])
    return found
