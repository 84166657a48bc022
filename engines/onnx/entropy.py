"""ONNX Runtime's entropy calibration, with whole arrays where it goes bin by bin; the same ranges."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import HistogramCollector, entropy
from onnxruntime.quantization.quant_utils import smooth_distribution

# Counts of bins around zero, the bins' edges, the lowest and the highest value seen, and the last edge.
Histogram: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float32], np.float32, np.float32, np.float32]


class EntropyCollector(HistogramCollector):  # type: ignore[misc]  # a package without types
    """Finds the same thresholds as its base, in a small part of the time."""

    def get_entropy_threshold(
        self, histogram: Histogram, num_quantized_bins: int
    ) -> tuple[np.float32, np.float32]:
        """Return the range whose histogram loses least when its bins are merged.

        All ranges that lie symmetrically around zero are tried, from `num_quantized_bins` bins on; the
        loss is the Kullback-Leibler divergence (Migacz, "8-bit Inference with TensorRT").

        Args:
            histogram: of one tensor, as `collect` makes it.
            num_quantized_bins: to merge into.
        """
        counts, edges, lowest, highest = histogram[:4]
        middle, first = counts.size // 2, num_quantized_bins // 2
        bounds = [(middle - half, min(middle + half + 1, counts.size)) for half in range(first, middle + 1)]
        losses = [_divergence(counts, start, end, num_quantized_bins) for start, end in bounds]
        start, end = bounds[int(np.argmin(losses))]
        return max(edges[start], lowest), min(edges[end], highest)


def _divergence(counts: NDArray[np.int64], start: int, end: int, num_merged: int) -> float:
    """Return how far the bins from `start` to `end` are from themselves merged; the others are clipped."""
    inside = counts[start:end]
    clipped = inside.copy()
    clipped[0] += counts[:start].sum()
    clipped[-1] += counts[end:].sum()
    width = inside.size // num_merged
    whole = width * num_merged
    sums = inside[:whole].reshape(num_merged, width).sum(axis=1)
    sums[-1] += inside[whole:].sum()
    filled = (clipped[:whole] != 0).reshape(num_merged, width).sum(axis=1)
    merged = np.zeros_like(clipped)
    merged[:whole] = np.repeat(np.where(filled, sums / np.maximum(filled, 1), 0), width)
    ours, theirs = smooth_distribution(clipped), smooth_distribution(merged)
    return float("inf") if ours is None or theirs is None else float(entropy(ours, theirs))
