"""How far probabilities can be trusted: reliability curve, calibration error, Brier score, log loss.

Two views. Of a sigmoid model each pair of an image and a label is a prediction of its own: does the label
fit? Of a softmax model the best label's probability is the confidence that it is right, as in Guo et al.
2017 (arXiv 1706.04599). The expected calibration error is the mean over bins of the gap between the mean
probability and the share that was right, weighted by the predictions in each bin.

Bins have equal width, (0, 1/15], (1/15, 2/15] and so on, as in that paper; `ece_equal_mass` has bins with as
many predictions in each as possible, as most pairs have a probability near 0. Their edges come from the
dataset and stay as they are in the resamples. Calibration errors are too high on small datasets: noise in
the bins adds to a sum of absolute gaps. A resample has still more of it, so their intervals are mirrored (see
`use_cases.resampling.estimates`). In a simulation with 200 and 1,000 images such intervals held the true
value 93 and 88 times of 100, percentiles 0 and 66 times.

The points of a reliability curve have Wilson score intervals: in a bin whose predictions all came true, every
resample says the same, however few they are. Predictions of one image are not independent, so the images in a
bin are counted, not the predictions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from use_cases.labelled.metrics import Truth
from use_cases.resampling import (
    Counts,
    Estimate,
    Resampled,
    blocks,
    drawn_blocks,
    estimates,
    share_estimate,
)

Floats: TypeAlias = NDArray[np.float64]

MIRRORED = ("ece", "ece_equal_mass")
NUM_BINS = 15  # Guo et al. 2017
NUM_HALVES = 20  # random halves of the labels
METRIC_TITLES: Mapping[str, str] = {
    "ece": "ECE %",
    "ece_equal_mass": "ECE, equal mass %",
    "brier": "Brier",
    "nll": "NLL",
}
NONE_TITLES: Mapping[str, str] = {"none_when_gone": "label gone %", "none_when_there": "label there %"}


@dataclass(frozen=True, slots=True)
class Bins:
    """Predictions of each image, counted in bins of their probability."""

    edges: Floats  # [n_bins + 1]
    numbers: Floats  # [n_images, n_bins]
    probabilities: Floats  # likewise, their sums
    right: Floats  # likewise, how many came true


@dataclass(frozen=True, slots=True)
class Predictions:
    """What calibration metrics are sums of, by image."""

    equal_width: Bins
    equal_mass: Bins
    brier: Floats  # [n_images], the mean over the image's predictions
    nll: Floats  # likewise, in nats; NaN where there is no one right answer

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return the names of what can be measured, in a fixed order."""
        return ("ece", "ece_equal_mass", "brier", *(("nll",) if np.isfinite(self.nll).any() else ()))


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One point of a reliability curve."""

    low: float  # of the probability, exclusive but for the first
    high: float
    number: int  # of predictions
    probability: float  # their mean
    right: Estimate  # the share that came true


def pair_predictions(logits: NDArray[np.float32], truth: Truth) -> Predictions:
    """Return the predictions of a sigmoid model: one for each image and label.

    Args:
        logits: [n_images, n_labels].
        truth: likewise.
    """
    brier, nll = np.empty(len(logits)), np.empty(len(logits))
    probabilities = np.empty(logits.shape, np.float64)
    for start, stop in blocks(*logits.shape):
        rows, right = logits[start:stop].astype(np.float64), truth[start:stop]
        probabilities[start:stop] = 0.5 * (1 + np.tanh(0.5 * rows))
        brier[start:stop] = np.mean((probabilities[start:stop] - right) ** 2, axis=1)
        # -log sigmoid(z) of what is right, -log sigmoid(-z) of what is wrong, without overflow
        nll[start:stop] = np.mean(np.logaddexp(0, np.where(right, -rows, rows)), axis=1)
    return Predictions(*_both_bins(probabilities, truth), brier, nll)


def top1_predictions(logits: NDArray[np.float32], truth: Truth) -> Predictions:
    """Return the predictions of the softmax: that the best label is right, one for each image.

    The log loss is that of the right label, for images that have one; the Brier score that of the confidence.

    Args:
        logits: [n_images, n_labels].
        truth: likewise.
    """
    rows = logits.astype(np.float64)
    best = rows.argmax(axis=1)
    log_probabilities = rows - np.logaddexp.reduce(rows, axis=1, keepdims=True)
    confidence = np.exp(log_probabilities[np.arange(len(rows)), best])
    right = truth[np.arange(len(rows)), best]
    own = log_probabilities[np.arange(len(rows)), truth.argmax(axis=1)]
    return Predictions(
        *_both_bins(confidence[:, None], right[:, None]),
        (confidence - right) ** 2,
        np.where(truth.sum(axis=1) == 1, -own, np.nan),
    )


def measure(predictions: Predictions) -> dict[str, Estimate]:
    """Return the metrics with their bootstrap intervals: errors in [0, 1], NLL in nats."""
    once = [np.ones((1, len(predictions.brier)))]
    (values,) = _measure_drawn(predictions, once)
    resampled = _measure_drawn(predictions, drawn_blocks(len(predictions.brier), 0))
    named = dict(zip(predictions.metrics, values.tolist(), strict=True))
    return estimates(named, resampled, mirrored=MIRRORED)


def reliability(bins: Bins) -> list[ReliabilityBin]:
    """Return the reliability curve: the bins that have predictions, with intervals of the share right."""
    number = bins.numbers.sum(axis=0)
    num_images = np.count_nonzero(bins.numbers, axis=0).tolist()
    return [
        ReliabilityBin(
            low=float(bins.edges[position]),
            high=float(bins.edges[position + 1]),
            number=int(number[position]),
            probability=float(bins.probabilities[:, position].sum() / number[position]),
            right=share_estimate(
                float(bins.right[:, position].sum() / number[position]), num_images[position]
            ),
        )
        for position in np.flatnonzero(number).tolist()
    ]


def none_of_these_rates(logits: NDArray[np.float32], truth: Truth, seed: int) -> dict[str, Estimate]:
    """Return how often a sigmoid model says "none of these" when half of the labels are left out.

    That is when no label that is left has a probability of 0.5 or more. "Gone" are images none of whose
    labels are left, "there" those that still have one; shares over NUM_HALVES random halves, intervals over
    images. A share that no image counts for is left out.

    Args:
        logits: [n_images, n_labels].
        truth: likewise.
        seed: of the halves.
    """
    rng = np.random.default_rng(seed)
    num_labels = logits.shape[1]
    number, none = np.zeros((2, len(logits))), np.zeros((2, len(logits)))  # gone and there, by image
    for _ in range(NUM_HALVES):
        left = rng.permutation(num_labels)[num_labels // 2 :]
        there = truth[:, left].any(axis=1)
        says_none = logits[:, left].max(axis=1) < 0  # a logit of 0 is a probability of 0.5
        number += [~there, there]
        none += [~there & says_none, there & says_none]
    names = [name for name, each in zip(NONE_TITLES, number, strict=True) if each.any()]
    rows = [row for row, each in enumerate(number) if each.any()]
    values = dict(
        zip(names, (none.sum(axis=1) / np.maximum(number.sum(axis=1), 1))[rows].tolist(), strict=True)
    )
    drawn = [
        (counts @ none[rows].T, counts @ number[rows].T) for counts in drawn_blocks(len(logits), num_labels)
    ]
    return estimates(values, np.concatenate([_share(some, every) for some, every in drawn]))


def _both_bins(probabilities: Floats, right: Truth) -> tuple[Bins, Bins]:
    equal_width = np.linspace(0, 1, NUM_BINS + 1)
    return (
        _count(probabilities, right, equal_width),
        _count(probabilities, right, np.quantile(probabilities, equal_width)),
    )


def _count(probabilities: Floats, right: Truth, edges: Floats) -> Bins:
    """Count predictions, [n_images, n_predictions], in bins that hold their upper edge."""
    num_images, num_bins = len(probabilities), len(edges) - 1
    sums = np.empty((3, num_images, num_bins))
    for start, stop in blocks(num_images, probabilities.shape[1]):
        each = probabilities[start:stop]
        cells = np.searchsorted(edges[1:-1], each) + np.arange(stop - start)[:, None] * num_bins
        for row, weights in enumerate((np.ones_like(each), each, right[start:stop])):
            counted = np.bincount(cells.ravel(), weights.ravel(), minlength=(stop - start) * num_bins)
            sums[row, start:stop] = counted.reshape(stop - start, num_bins)
    return Bins(edges, *sums)


def _measure_drawn(predictions: Predictions, draws: Iterable[Counts]) -> Resampled:
    """Return [n_draws, n_metrics]."""
    known = np.isfinite(predictions.nll)
    nll = np.where(known, predictions.nll, 0)
    rows: list[Floats] = []
    for counts in draws:
        columns = {
            "ece": _calibration_errors(predictions.equal_width, counts),
            "ece_equal_mass": _calibration_errors(predictions.equal_mass, counts),
            "brier": counts @ predictions.brier / counts.sum(axis=1),
            "nll": _share(counts @ nll, counts @ known),
        }
        rows.append(np.column_stack([columns[name] for name in predictions.metrics]))
    return np.concatenate(rows)


def _share(some: Floats, every: Floats) -> Floats:
    """Return some / every; NaN where there is nothing, which a draw of few images may hold."""
    shares: Floats = np.divide(some, every, out=np.full(every.shape, np.nan), where=every > 0)
    return shares


def _calibration_errors(bins: Bins, counts: Counts) -> Floats:
    gaps = np.abs(counts @ (bins.probabilities - bins.right))  # [n_draws, n_bins]
    errors: Floats = gaps.sum(axis=1) / (counts @ bins.numbers.sum(axis=1))
    return errors
