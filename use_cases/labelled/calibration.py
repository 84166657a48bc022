"""Measure calibration: do things come true as often as a model's probabilities say?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from use_cases.labelled.calibration_metrics import (
    Predictions,
    ReliabilityBin,
    measure,
    none_of_these_rates,
    pair_predictions,
    reliability,
    top1_predictions,
)
from use_cases.labelled.comparison import Compared, DatasetFacts, Subject
from use_cases.labelled.embedding import ENSEMBLE
from use_cases.labelled.items import pack_predictions
from use_cases.labelled.labelled import SEED
from use_cases.resampling import Estimate

SIGMOID_PAIRS, SOFTMAX_TOP1 = "sigmoid_pairs", "softmax_top1"  # what is taken for a prediction


@dataclass(frozen=True, slots=True)
class View:
    """How far one kind of prediction can be trusted."""

    estimates: Mapping[str, Estimate]
    reliability: tuple[ReliabilityBin, ...]
    items: str  # as `use_cases.labelled.items` packs them


@dataclass(frozen=True, slots=True)
class ModelCalibration:
    """How far one engine's probabilities can be trusted."""

    subject: Subject
    views: Mapping[str, View]  # a sigmoid model's have both: the softmax is what its logits would give
    none_of_these: Mapping[str, Estimate]  # empty for a softmax model, which cannot tell


@dataclass(frozen=True, slots=True)
class Calibration:
    """Some engines on one dataset, asked with their own templates, as the server asks."""

    facts: DatasetFacts
    num_single: int  # images with one label: those of which the softmax has a log loss
    models: tuple[ModelCalibration, ...]


def measure_calibration(compared: Compared) -> Calibration:
    """Compare every engine's probabilities with what came true."""
    models: list[ModelCalibration] = []
    for subject, cosines in zip(compared.subjects, compared.cosines, strict=True):
        logits = subject.logit_scale * cosines[ENSEMBLE] + subject.logit_bias
        views = {SOFTMAX_TOP1: _view(top1_predictions(logits, compared.truth))}
        none: dict[str, Estimate] = {}
        if subject.score == "sigmoid":
            views = {SIGMOID_PAIRS: _view(pair_predictions(logits, compared.truth)), **views}
            none = none_of_these_rates(logits, compared.truth, SEED)
        models.append(ModelCalibration(subject, views, none))
    return Calibration(compared.facts, int((compared.truth.sum(axis=1) == 1).sum()), tuple(models))


def _view(predictions: Predictions) -> View:
    return View(
        measure(predictions), tuple(reliability(predictions.equal_width)), pack_predictions(predictions)
    )
