"""Whether a comparison's scores are probabilities: how often is what a model is 80 % sure of right?

A sigmoid model says of every pair whether it fits, so each pair is a prediction. A softmax model only says
which text it prefers, so its prediction is the best text of each image, and its confidence that text's score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from use_cases.labelled.calibration_metrics import (
    ReliabilityBin,
    measure,
    pair_predictions,
    reliability,
    top1_predictions,
)
from use_cases.labelled.metrics import Truth
from use_cases.resampling import Estimate
from use_cases.zero_shot import Scores


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """An expected calibration error, 0 to 1, and its 95 % bootstrap interval over the images."""

    value: float
    low: float | None  # both are None for one image: each resample of it says the same, which is no certainty
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The reliability curve of one model on one comparison."""

    bins: tuple[ReliabilityBin, ...]  # by probability; empty ones are left out
    expected_error: CalibrationError
    num_predictions: int
    predicts: Literal["pairs", "best texts"]


def calibrate(logits: Scores, truth: Truth, kind: str) -> Calibration | None:
    """Return how well scores are calibrated; None when no image has a text of its own.

    Args:
        logits: [n_images, n_texts].
        truth: [n_images, n_texts], which texts describe which images; images without any are left out.
        kind: "sigmoid" or "softmax".
    """
    known = truth.any(axis=1)
    num_known = int(known.sum())
    if not num_known:
        return None
    of_pairs = kind == "sigmoid"
    predictions = (pair_predictions if of_pairs else top1_predictions)(logits[known], truth[known])
    return Calibration(
        bins=tuple(reliability(predictions.equal_width)),
        expected_error=_error(measure(predictions)["ece"], num_known),
        num_predictions=num_known * (truth.shape[1] if of_pairs else 1),
        predicts="pairs" if of_pairs else "best texts",
    )


def _error(estimate: Estimate, num_images: int) -> CalibrationError:
    if num_images < 2:
        return CalibrationError(estimate.value, None, None)
    return CalibrationError(estimate.value, estimate.low, estimate.high)
