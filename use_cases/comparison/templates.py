"""How much the scores depend on the prompt template: each template alone, beside their average."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from use_cases.comparison.columns import ModelScores
from use_cases.zero_shot import LABEL_SLOT, fill_template, scores_from_cosines

MAX_SPREAD_LABELS = 50  # every template costs as many texts more
# Tried where a column has a single template; CLIP's and SigLIP's own are among them.
COMMON_TEMPLATES = (
    LABEL_SLOT,
    "a photo of a {label}.",
    "This is a photo of {label}.",
    "a picture that shows {label}",
)


@dataclass(frozen=True, slots=True)
class LabelSpread:
    """One label over all templates."""

    label: str
    lowest: float  # in [0, 1], the model's own score
    highest: float
    best_rank: int
    worst_rank: int


@dataclass(frozen=True, slots=True)
class TemplateSpread:
    """What the choice of the template changes for one model."""

    model: str
    engine: str
    templates: tuple[str, ...]  # each tried alone
    labels: tuple[LabelSpread, ...]  # in the order of the column
    best_by_template: tuple[str, ...]  # the first label with each of them


async def spread_templates(scores: ModelScores) -> TemplateSpread:
    """Score the labels with each template alone: the column's own, or common ones where it has only one.

    Raises:
        OverloadedError: when the engine's queue is full.
        InferenceError: when the engine failed.
    """
    order = np.argsort(-scores.logits(), kind="stable")
    if len(scores.templates) == 1:
        scores = await _with_common_templates(scores)
    cosines = (scores.prompts @ scores.image[0]).T  # [n_templates, n_labels]
    _, own = scores_from_cosines(cosines, scores.spec)
    ranks = np.argsort(np.argsort(-cosines, axis=1, kind="stable"), axis=1) + 1
    return TemplateSpread(
        model=scores.spec.name,
        engine=scores.engine,
        templates=scores.templates,
        labels=tuple(_spread(scores.labels[i], own[:, i], ranks[:, i]) for i in order),
        best_by_template=tuple(scores.labels[i] for i in cosines.argmax(axis=1)),
    )


async def _with_common_templates(scores: ModelScores) -> ModelScores:
    templates = tuple(dict.fromkeys([*scores.templates, *COMMON_TEMPLATES]))
    prompts = [fill_template(template, label) for label in scores.labels for template in templates]
    texts = await scores.pooled.engine.embed_texts(prompts)
    rows = texts.embeddings.reshape(len(scores.labels), len(templates), -1)
    return replace(scores, templates=templates, prompts=rows)


def _spread(label: str, scores: NDArray[np.float32], ranks: NDArray[np.int64]) -> LabelSpread:
    return LabelSpread(label, float(scores.min()), float(scores.max()), int(ranks.min()), int(ranks.max()))
