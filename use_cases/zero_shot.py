"""Zero-shot classification: how well does each label, given as text, fit an image?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engines.base import Embeddings, normalize
from engines.errors import InvalidInputError
from engines.images import ImageSource, decode_image
from engines.models import ModelSpec
from engines.pool import PooledEngine

Scores: TypeAlias = NDArray[np.float32]  # [n_images, n_labels]

MAX_LABELS = 1_000
MAX_LABEL_CHARS = 1_000
LABEL_SLOT = "{label}"
STAGES = ("load", "decode", "preprocess", "tokenize", "queue", "infer", "post")  # in this order


@dataclass(frozen=True, slots=True)
class LabelScore:
    """How well one label fits one image."""

    label: str
    score: float  # probability in [0, 1]; only softmax scores sum to 1
    cosine: float
    logit: float


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An RGB image and what decoding it took."""

    image: Image.Image
    decode_ms: float


@dataclass(frozen=True, slots=True)
class Classification:
    """One image, scored by one model."""

    model: str
    engine: str
    score: str  # "sigmoid" or "softmax"
    scores: tuple[LabelScore, ...]  # best first
    none_of_these: float | None  # in [0, 1]; None for softmax, which cannot tell
    truncated: tuple[str, ...]  # labels of which the model saw only the beginning
    cold: bool  # the model had to be loaded for this request
    labels_cached: bool  # no label had to be embedded
    timings_ms: dict[str, float]  # by stage, in the order of STAGES; "load" only when cold


def parse_labels(text: str) -> list[str]:
    """Split what a person typed: one label a line, or comma-separated on a single line."""
    text = text.strip()
    lines = text.splitlines()
    return lines if len(lines) > 1 else text.split(",")


def check_labels(labels: Sequence[str]) -> list[str]:
    """Return the labels stripped, without blanks and repetitions.

    Raises:
        InvalidInputError: when there are none, or more or longer ones than are accepted.
    """
    unique = list(dict.fromkeys(label.strip() for label in labels if label.strip()))
    if not unique:
        raise InvalidInputError("There are no labels; give at least one, such as 'a cat, a dog'.")
    if len(unique) > MAX_LABELS:
        raise InvalidInputError(
            f"There are {len(unique):,} labels; at most {MAX_LABELS:,} are accepted at once."
        )
    for label in unique:
        if len(label) > MAX_LABEL_CHARS:
            raise InvalidInputError(
                f"The label {label[:30]!r}... has {len(label):,} characters; at most {MAX_LABEL_CHARS} may be."
            )
    return unique


def check_templates(templates: Sequence[str]) -> list[str]:
    """Return the prompt templates stripped and without blanks; an empty list means the model's own.

    Raises:
        InvalidInputError: when one has no place for the label.
    """
    stripped = [template.strip() for template in templates if template.strip()]
    for template in stripped:
        if LABEL_SLOT not in template:
            raise InvalidInputError(
                f"The prompt template {template!r} must contain {LABEL_SLOT} where the label goes."
            )
    return stripped


async def decode(source: ImageSource, models: Sequence[ModelSpec]) -> DecodedImage:
    """Decode an image file or its bytes for these models, in a worker thread.

    Raises:
        InvalidInputError: when it is no image of a known format, is damaged or is too large.
    """
    start_s = time.perf_counter()
    min_side = 2 * max(spec.image_size for spec in models)
    image = await asyncio.to_thread(decode_image, source, min_side)
    return DecodedImage(image, (time.perf_counter() - start_s) * 1000)


async def classify_image(
    pooled: Sequence[PooledEngine], source: ImageSource, labels: Sequence[str], templates: Sequence[str] = ()
) -> list[Classification]:
    """Score every label for one image file with one model after the other, decoding it once.

    Takes and raises what `decode` and `classify` do.
    """
    check_labels(labels)  # before the costly part
    image = await decode(source, [engine.spec for engine, _ in pooled])
    return [(await classify(engine, [image], labels, templates))[0] for engine in pooled]


async def classify(
    pooled: PooledEngine, images: Sequence[DecodedImage], labels: Sequence[str], templates: Sequence[str] = ()
) -> list[Classification]:
    """Score every label for every image with one model.

    What the images of one call share, such as the engine calls, is divided equally among their timings.

    Args:
        pooled: the running engine.
        images: decoded images, at least one.
        labels: the classes, as texts.
        templates: prompts with "{label}" in them, whose embeddings are averaged; the model's own
            when there are none.

    Raises:
        InvalidInputError: when labels or templates cannot be used.
        OverloadedError: when the engine's queue is full.
        InferenceError: when the engine failed.
    """
    engine, load_ms = pooled
    labels = check_labels(labels)
    templates = check_templates(templates) or engine.spec.prompt_templates
    prompts = [template.replace(LABEL_SLOT, label) for label in labels for template in templates]
    texts = await engine.embed_texts(prompts)
    embedded = await engine.embed_images([image.image for image in images])
    start_s = time.perf_counter()
    cosines = (
        embedded.embeddings @ label_embeddings(texts.embeddings, len(templates)).T
    )  # [n_images, n_labels]
    logits = engine.spec.logit_scale * cosines + engine.spec.logit_bias
    scores = scores_from_logits(logits, engine.spec)
    size = len(templates)
    truncated = tuple(
        label for i, label in enumerate(labels) if any(texts.truncated[i * size : (i + 1) * size])
    )
    ranked = [_rank(labels, *rows) for rows in zip(scores, cosines, logits, strict=True)]
    stages = {
        **embedded.timings_ms,
        "tokenize": texts.timings_ms["tokenize"],
        "queue": texts.timings_ms["queue"] + embedded.timings_ms["queue"],
        "infer": texts.timings_ms["infer"] + embedded.timings_ms["infer"],
        "post": (time.perf_counter() - start_s) * 1000,
        **({"load": load_ms} if load_ms else {}),
    }
    shared_ms = {stage: ms / len(images) for stage, ms in stages.items()}
    return [
        Classification(
            model=engine.spec.name,
            engine=engine.engine.name,
            score=engine.spec.score,
            scores=label_scores,
            none_of_these=none_of_these(label_scores) if engine.spec.score == "sigmoid" else None,
            truncated=truncated,
            cold=load_ms > 0,
            labels_cached=texts.num_cached == len(prompts),
            timings_ms=_in_order({"decode": image.decode_ms, **shared_ms}),
        )
        for image, label_scores in zip(images, ranked, strict=True)
    ]


def label_embeddings(prompts: Embeddings, num_templates: int) -> Embeddings:
    """Average the templates of each label, as CLIP's prompt ensembling does (arXiv 2103.00020, 3.1.4).

    Args:
        prompts: [n_labels * num_templates, dim], the templates of a label side by side.
        num_templates: prompts a label.
    """
    return normalize(prompts.reshape(-1, num_templates, prompts.shape[-1]).mean(axis=1))


def scores_from_logits(logits: Scores, spec: ModelSpec) -> Scores:
    """SigLIP scores each label on its own (sigmoid), CLIP makes the labels compete (softmax)."""
    if spec.score == "sigmoid":
        scores: Scores = 0.5 * (1 + np.tanh(0.5 * logits))  # the sigmoid, without exp's overflow
        return scores
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scores = weights / weights.sum(axis=-1, keepdims=True)
    return scores


def none_of_these(scores: Sequence[LabelScore]) -> float:
    """Return how sure a sigmoid model is that no label fits: one minus the best label's probability.

    The product of all (1 - p) would be the answer for independent labels; but labels overlap, and
    that product falls with every label that is added, however little it fits.
    """
    return 1 - max(score.score for score in scores)


def _rank(labels: Sequence[str], scores: Scores, cosines: Scores, logits: Scores) -> tuple[LabelScore, ...]:
    rows = zip(labels, scores.tolist(), cosines.tolist(), logits.tolist(), strict=True)
    return tuple(sorted((LabelScore(*row) for row in rows), key=lambda row: -row.logit))


def _in_order(timings_ms: dict[str, float]) -> dict[str, float]:
    return {stage: timings_ms[stage] for stage in STAGES if stage in timings_ms}
