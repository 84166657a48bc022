"""Preparation mistakes: what a request's scores become when it is prepared as the field keeps doing by error.

Pixels and tokens are prepared wrongly on purpose and go through the same engine and tower as the right ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from engines.errors import EngineError, InferenceError, InvalidInputError
from engines.pool import PooledEngine
from engines.preparation.source import SourceImage
from use_cases.comparison.columns import FailedColumn, ModelScores, TemplatesByScore, score_labels
from use_cases.comparison.one_image import Contestant
from use_cases.comparison.prepared import embed_prepared
from use_cases.comparison.wrong_images import wrong_images
from use_cases.comparison.wrong_scores import wrong_scores
from use_cases.comparison.wrong_texts import wrong_texts
from use_cases.comparison.wrongs import Altered, Wrong
from use_cases.zero_shot import Scores, check_labels, check_templates, fill_template, scores_from_logits

MAX_MISTAKE_LABELS = 50  # each mistake in the texts embeds all of them again


@dataclass(frozen=True, slots=True)
class LabelShift:
    """One label, prepared rightly or wrongly."""

    label: str
    rank: int  # 1 is the best
    score: float  # in [0, 1]
    shift: float  # of the score against the right preparation, in [-1, 1]
    cosine: float


@dataclass(frozen=True, slots=True)
class MistakeResult:
    """What one mistake does to one request, or why it cannot be made."""

    name: str
    title: str
    why: str  # one sentence: what goes wrong
    reason: str  # why there are no numbers, one sentence; empty where there are some
    labels: tuple[LabelShift, ...]  # in the order of the right preparation; empty where there are none
    top1: str  # the label that is first now; empty where there are no numbers
    top1_changed: bool
    largest_shift: float  # of a score, with its sign


@dataclass(frozen=True, slots=True)
class MistakeReport:
    """One model on one engine: the right scores and what each mistake makes of them."""

    model: str
    engine: str
    score: str  # "sigmoid" or "softmax"
    right: tuple[LabelShift, ...]  # best first; the scores that `classify` returns
    mistakes: tuple[MistakeResult, ...]
    timings_ms: dict[str, float]  # of the right preparation


async def try_mistakes(
    pooled: PooledEngine, image: SourceImage, labels: Sequence[str], templates: TemplatesByScore
) -> MistakeReport:
    """Make every mistake that the model and its engine allow.

    Args:
        pooled: the running engine.
        image: of the request.
        labels: the classes, as texts.
        templates: prompt templates by kind of score; the model's own where there are none.

    Raises:
        InvalidInputError: when labels, templates or the image cannot be used.
        OverloadedError: when the engine's queue is full.
        InferenceError: when the engine failed.
    """
    checked = check_mistakes(labels)
    right = await score_labels(pooled, image, checked, templates)
    maker = _Maker(right, image)
    with pooled.engine.keeping():
        results = [await maker.make(wrong) for wrong in await maker.wrongs()]
    return MistakeReport(
        model=right.spec.name,
        engine=right.engine,
        score=right.spec.score,
        right=maker.right,
        mistakes=tuple(results),
        timings_ms=right.timings_ms,
    )


def check_mistakes(labels: Sequence[str]) -> list[str]:
    """Return the labels as `check_labels` does.

    Raises:
        InvalidInputError: when they cannot be used, or are more than MAX_MISTAKE_LABELS.
    """
    checked = check_labels(labels)
    if len(checked) > MAX_MISTAKE_LABELS:
        raise InvalidInputError(
            f"There are {len(checked):,} labels; preparation mistakes are made with at most"
            f" {MAX_MISTAKE_LABELS}, because each embeds all of them again."
        )
    return checked


async def try_all(
    contestants: Sequence[Contestant],
    image: SourceImage,
    labels: Sequence[str],
    templates: TemplatesByScore,
    *,
    may_all_fail: bool = False,
) -> tuple[list[MistakeReport], list[FailedColumn]]:
    """Make every mistake with every contestant; return those that failed beside the reports.

    Args:
        contestants: as `open_contestants` yields them.
        image: of the request.
        labels: the classes, as texts.
        templates: prompt templates by kind of score; the model's own where there are none.
        may_all_fail: return no reports where no contestant answers, in place of raising.

    Raises:
        InvalidInputError: when labels or templates cannot be used.
        EngineError: the first contestant's, when none answers.
    """
    labels = check_mistakes(labels)
    templates = {score: check_templates(each) for score, each in templates.items()}
    reports: list[MistakeReport] = []
    failed: list[FailedColumn] = []
    errors: list[EngineError] = []
    for model, engine, pooled in contestants:
        try:
            if isinstance(pooled, EngineError):
                raise pooled
            reports.append(await try_mistakes(pooled, image, labels, templates))
        except EngineError as error:
            errors.append(error)
            failed.append(FailedColumn(model, engine, str(error)))
    if errors and not reports and not may_all_fail:
        raise errors[0]
    return reports, failed


class _Maker:
    """Makes mistakes of one request with one model."""

    def __init__(self, right: ModelScores, image: SourceImage) -> None:
        self._scores = right
        self._engine = right.pooled.engine
        self._image = image
        self._cosines = right.cosines()
        self._right = scores_from_logits(right.logits(), right.spec)
        self._order = np.argsort(-right.logits(), kind="stable")
        self.right = self._shifts(right.logits(), self._right, self._cosines)

    async def wrongs(self) -> list[Wrong]:
        """Return every mistake, with what it would send to the engine."""
        return await asyncio.to_thread(self._prepare)

    def _prepare(self) -> list[Wrong]:
        prompts = [
            fill_template(template, label)
            for label in self._scores.labels
            for template in self._scores.templates
        ]
        return [
            *wrong_texts(self._engine, prompts),
            *wrong_images(self._engine, self._image.decode()),
            *wrong_scores(self._engine.spec),
        ]

    async def make(self, wrong: Wrong) -> MistakeResult:
        """Send what was prepared wrongly to the engine, and score what comes back."""
        if wrong.altered is None:
            return _impossible(wrong, wrong.reason)
        try:
            scores = await self._score(wrong.altered)
        except InferenceError as error:  # the engine cannot take such input
            return _impossible(wrong, str(error))
        logits = scores.logits()
        own = scores_from_logits(logits, replace(scores.spec, score=wrong.altered.score or scores.spec.score))
        labels = self._shifts(logits, own, scores.cosines())
        best = min(labels, key=lambda each: each.rank)
        return MistakeResult(
            name=wrong.name,
            title=wrong.title,
            why=wrong.why,
            reason="",
            labels=labels,
            top1=best.label,
            top1_changed=best.label != self.right[0].label,
            largest_shift=max(labels, key=lambda each: abs(each.shift)).shift,
        )

    async def _score(self, altered: Altered) -> ModelScores:
        """Return the scores with what a mistake alters in the place of the right embeddings."""
        pixels = () if altered.pixels is None else (altered.pixels,)
        images, texts = await embed_prepared(self._engine, pixels, altered.tokens)
        scores = self._scores
        if len(images):
            scores = replace(scores, image=images)
        if len(texts):
            scores = replace(scores, prompts=texts.reshape(scores.prompts.shape))
        return scores

    def _shifts(self, logits: Scores, own: Scores, cosines: Scores) -> tuple[LabelShift, ...]:
        ranks = np.argsort(np.argsort(-logits, kind="stable")) + 1
        return tuple(
            LabelShift(
                label=self._scores.labels[index],
                rank=int(ranks[index]),
                score=float(own[index]),
                shift=float(own[index] - self._right[index]),
                cosine=float(cosines[index]),
            )
            for index in self._order
        )


def _impossible(wrong: Wrong, reason: str) -> MistakeResult:
    return MistakeResult(wrong.name, wrong.title, wrong.why, reason, (), "", False, 0.0)
