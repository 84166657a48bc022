"""Columns: what each model on an engine says about one image and the same labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from engines.base import Embeddings
from engines.models import ModelSpec
from engines.pool import PooledEngine
from engines.preparation.source import SourceImage
from engines.quality import Quality
from use_cases.timings import add_up
from use_cases.zero_shot import (
    Scores,
    check_templates,
    fill_template,
    label_embeddings,
    scores_from_cosines,
    scores_from_logits,
)

# By how a model scores, "sigmoid" or "softmax": SigLIP's kin and CLIP's were trained on other prompts.
TemplatesByScore: TypeAlias = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class ComparedLabel:
    """How well one label fits the image, in every reading of the model's logit."""

    label: str
    rank: int  # 1 is the best
    logit: float
    cosine: float
    sigmoid: float | None  # in [0, 1]; None for models that were trained with a softmax
    softmax: float  # in [0, 1], over the same logits; sums to 1 over the labels


@dataclass(frozen=True, slots=True)
class Column:
    """One model on one engine."""

    model: str
    engine: str
    quality: Quality | None  # of a quantized engine: how close it is to float32, if that was measured
    score: str  # "sigmoid" or "softmax": what the model was trained with
    labels: tuple[ComparedLabel, ...]  # best first
    none_of_these: float | None  # in [0, 1]; None for softmax, which cannot tell
    templates: tuple[str, ...]  # whose embeddings are averaged
    truncated: tuple[str, ...]  # labels of which the model saw only the beginning
    unread: tuple[str, ...]  # labels that the model cannot read, or not all of them: another script, an emoji
    cold: bool  # the model had to be loaded for this request
    timings_ms: dict[str, float]  # by stage


@dataclass(frozen=True, slots=True)
class FailedColumn:
    """A model on an engine that gave no answer."""

    model: str
    engine: str  # as it was asked for; empty for the model's best
    error: str  # one sentence


@dataclass(frozen=True, slots=True, eq=False)
class ModelScores:
    """One model's embeddings of the image and of every prompt, from which all its numbers follow."""

    pooled: PooledEngine
    labels: tuple[str, ...]
    templates: tuple[str, ...]
    image: Embeddings  # [1, dim]
    prompts: Embeddings  # [n_labels, n_templates, dim]
    truncated: tuple[str, ...]
    timings_ms: dict[str, float]

    @property
    def spec(self) -> ModelSpec:
        """Return the facts of the model."""
        return self.pooled.engine.spec

    @property
    def engine(self) -> str:
        """Return the name of the engine."""
        return self.pooled.engine.engine.name

    def cosines(self) -> Scores:
        """Return the cosines of the image with the labels [n_labels], templates averaged."""
        size, dim = len(self.templates), self.prompts.shape[-1]
        rows: Scores = (self.image @ label_embeddings(self.prompts.reshape(-1, dim), size).T)[0]
        return rows

    def logits(self) -> Scores:
        """Return the logits of the labels [n_labels]."""
        logits, _ = scores_from_cosines(self.cosines(), self.spec)
        return logits

    def first(self, count: int) -> ModelScores:
        """Return the same for the first labels alone."""
        return replace(self, labels=self.labels[:count], prompts=self.prompts[:count])


async def score_labels(
    pooled: PooledEngine, image: SourceImage, labels: Sequence[str], templates: TemplatesByScore
) -> ModelScores:
    """Embed an image and every prompt of the labels with one model.

    Args:
        pooled: the running engine.
        image: decoded unless its embedding is known.
        labels: as `check_labels` returns them.
        templates: the model's own where there are none for its kind of score.

    Raises:
        InvalidInputError: when a template or the image cannot be used.
        OverloadedError: when the engine's queue is full.
        InferenceError: when the engine failed.
    """
    spec = pooled.engine.spec
    own = tuple(check_templates(templates.get(spec.score, ()))) or spec.prompt_templates
    prompts = [fill_template(template, label) for label in labels for template in own]
    embedded = await pooled.engine.embed_images([image])
    texts = await pooled.engine.embed_texts(prompts)
    own_ms = {"load": pooled.load_ms, "decode": image.decode_ms}
    return ModelScores(
        pooled=pooled,
        labels=tuple(labels),
        templates=own,
        image=embedded.embeddings,
        prompts=texts.embeddings.reshape(len(labels), len(own), -1),
        truncated=tuple(
            label
            for index, label in enumerate(labels)
            if any(texts.truncated[index * len(own) : (index + 1) * len(own)])
        ),
        timings_ms=add_up([own_ms, embedded.timings_ms, texts.timings_ms]),
    )


def make_column(scores: ModelScores) -> Column:
    """Read a model's logits in every way: sigmoid, softmax, rank."""
    cosines, logits, spec = scores.cosines(), scores.logits(), scores.spec
    preprocessor = scores.pooled.engine.preprocessor
    sigmoid = scores_from_logits(logits, replace(spec, score="sigmoid"))
    softmax = scores_from_logits(logits, replace(spec, score="softmax"))
    is_sigmoid = spec.score == "sigmoid"
    labels = tuple(
        ComparedLabel(
            label=scores.labels[index],
            rank=rank,
            logit=float(logits[index]),
            cosine=float(cosines[index]),
            sigmoid=float(sigmoid[index]) if is_sigmoid else None,
            softmax=float(softmax[index]),
        )
        for rank, index in enumerate(np.argsort(-logits, kind="stable"), start=1)
    )
    return Column(
        model=spec.name,
        engine=scores.engine,
        quality=scores.pooled.quality,
        score=spec.score,
        labels=labels,
        none_of_these=1 - float(sigmoid.max()) if is_sigmoid else None,
        templates=scores.templates,
        truncated=scores.truncated,
        unread=tuple(label for label in scores.labels if not preprocessor.knows(label)),
        cold=scores.pooled.load_ms > 0,
        timings_ms=scores.timings_ms,
    )


def own_score(label: ComparedLabel) -> float:
    """Return the probability that the model was trained for."""
    return label.softmax if label.sigmoid is None else label.sigmoid
