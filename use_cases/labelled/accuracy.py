"""Measure zero-shot classification: how often the right labels come first, for one engine or several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from use_cases.labelled.comparison import Compared, DatasetFacts, Subject
from use_cases.labelled.embedding import WAYS
from use_cases.labelled.items import pack_judged
from use_cases.labelled.metrics import MIRRORED, chance, judge, measure, resample
from use_cases.resampling import Estimate, Resampled, estimates

Estimates = Mapping[str, Mapping[str, Estimate]]  # by way of asking, then by metric


@dataclass(frozen=True, slots=True)
class ModelAccuracy:
    """How well one engine classifies."""

    subject: Subject
    estimates: Estimates
    items: Mapping[str, str]  # by way of asking, as `use_cases.labelled.items` packs them


@dataclass(frozen=True, slots=True)
class Difference:
    """The first engine's metrics minus another's, on the same resamples."""

    first: Subject
    other: Subject
    estimates: Estimates


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Some engines on one dataset."""

    facts: DatasetFacts
    metrics: tuple[str, ...]
    chance: Mapping[str, float]
    models: tuple[ModelAccuracy, ...]
    differences: tuple[Difference, ...]  # between the first engine and each other one


def measure_accuracy(compared: Compared) -> Accuracy:
    """Judge every engine's answers, and compare the first with each other one."""
    values: list[dict[str, dict[str, float]]] = []
    resampled: list[dict[str, Resampled]] = []
    models: list[ModelAccuracy] = []
    for subject, cosines in zip(compared.subjects, compared.cosines, strict=True):
        judged = {way: judge(cosines[way], compared.truth) for way in WAYS}
        values.append({way: measure(judged[way]) for way in WAYS})
        resampled.append({way: resample(judged[way]) for way in WAYS})
        found = {way: estimates(values[-1][way], resampled[-1][way], mirrored=MIRRORED) for way in WAYS}
        models.append(ModelAccuracy(subject, found, {way: pack_judged(judged[way]) for way in WAYS}))

    def difference(other: int) -> Difference:
        return Difference(
            compared.subjects[0],
            compared.subjects[other],
            {
                way: estimates(
                    {name: value - values[other][way][name] for name, value in values[0][way].items()},
                    resampled[0][way] - resampled[other][way],
                    mirrored=MIRRORED,
                    within=(-1.0, 1.0),
                )
                for way in WAYS
            },
        )

    return Accuracy(
        facts=compared.facts,
        metrics=tuple(values[0][WAYS[0]]),
        chance=chance(compared.truth),
        models=tuple(models),
        differences=tuple(difference(other) for other in range(1, len(models))),
    )
