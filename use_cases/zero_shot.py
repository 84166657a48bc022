"""Zero-shot classification: how well does each label, given as text, fit an image?"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.base import Embeddings, normalize
from engines.errors import InvalidInputError
from engines.models import ModelSpec
from engines.pool import PooledEngine
from engines.preparation.images import ImageSource
from engines.preparation.source import SourceImage
from engines.quality import Quality
from engines.tracing import span
from engines.worker.batched_engine import BatchedEngine
from engines.worker.cache import CacheKey
from use_cases.images import read_image
from use_cases.texts import check_utf8
from use_cases.timings import add_up

Scores: TypeAlias = NDArray[np.float32]  # [n_images, n_labels]

MAX_LABELS = 1_000
MAX_LABEL_CHARS = 1_000
MAX_TEMPLATES = 20
MAX_TEMPLATE_CHARS = 500
LABEL_SLOT = "{label}"

_ARTICLE = re.compile(r"(a|an|the) ", re.IGNORECASE)
_ARTICLE_BEFORE_SLOT = re.compile(r"\b(a|an|the) \{label\}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LabelScore:
    """How well one label fits one image."""

    label: str
    score: float  # probability in [0, 1]; only softmax scores sum to 1
    cosine: float
    logit: float


@dataclass(frozen=True, slots=True)
class Classification:
    """One image, scored by one model."""

    model: str
    engine: str
    quality: Quality | None  # of a quantized engine: how close it is to float32, if that was measured
    score: str  # "sigmoid" or "softmax"
    scores: tuple[LabelScore, ...]  # best first
    none_of_these: float | None  # in [0, 1]; None for softmax, which cannot tell
    truncated: tuple[str, ...]  # labels of which the model saw only the beginning
    unread: tuple[str, ...]  # labels that the model cannot read, or not all of them: another script, an emoji
    cold: bool  # the model had to be loaded for this request
    labels_cached: bool  # no label had to be embedded
    image_cached: bool  # nor the image
    timings_ms: dict[str, float]  # by stage, in the order of STAGES; "load" only when cold


class _LabelRows(NamedTuple):
    embeddings: Embeddings  # [n_labels, dim]
    timings_ms: dict[str, float]
    truncated: tuple[str, ...]  # labels
    cached: bool  # all texts were known


def parse_labels(text: str) -> list[str]:
    """Split what a person typed: one label a line, or comma-separated on a single line.

    There, a label with a comma stands in double quotes, as in a CSV file.
    """
    text = text.strip()
    lines = text.splitlines()
    if len(lines) > 1:
        return [line.rstrip(" ,") for line in lines]
    try:
        return next(csv.reader([text], skipinitialspace=True, strict=True), [])
    except csv.Error:  # quotes that mean something else
        return text.split(",")


def check_labels(labels: Sequence[str]) -> list[str]:
    """Return the labels stripped, without blanks and repetitions.

    Raises:
        InvalidInputError: when there are none, more or longer ones than are accepted, or one is no text.
    """
    unique = list(dict.fromkeys(label.strip() for label in labels if label.strip()))
    if not unique:
        raise InvalidInputError("There are no labels; give at least one, such as 'a cat, a dog'.")
    check_size("label", unique, MAX_LABELS)
    _check_each("label", unique, MAX_LABEL_CHARS)
    return unique


def check_templates(templates: Sequence[str]) -> list[str]:
    """Return the prompt templates stripped, without blanks and repetitions; none means the model's own.

    Raises:
        InvalidInputError: when one has no place for the label or is no text, or there are too many or too
            long ones.
    """
    unique = list(dict.fromkeys(template.strip() for template in templates if template.strip()))
    check_size("prompt template", unique, MAX_TEMPLATES)
    _check_each("prompt template", unique, MAX_TEMPLATE_CHARS)
    for template in unique:
        if template.count(LABEL_SLOT) != 1:
            raise InvalidInputError(
                f"The prompt template {template[:60]!r} must contain {LABEL_SLOT} once, where the label goes."
            )
    return unique


def check_size(kind: str, texts: Sequence[str], most: int) -> None:
    """Refuse too many of a kind.

    Raises:
        InvalidInputError: when there are more than that.
    """
    if len(texts) > most:
        raise InvalidInputError(f"There are {len(texts):,} {kind}s; at most {most:,} are accepted at once.")


def _check_each(kind: str, texts: Sequence[str], most_chars: int) -> None:
    for text in texts:
        check_utf8(kind, text)
        if len(text) > most_chars:
            raise InvalidInputError(
                f"The {kind} {text[:30]!r}... has {len(text):,} characters; at most {most_chars:,} may be."
            )


def fill_template(template: str, label: str) -> str:
    """Put a label into a template; an article that the label brings replaces the template's.

    "a photo of a {label}" and "an apple" give "a photo of an apple".
    """
    if _ARTICLE.match(label):
        template = _ARTICLE_BEFORE_SLOT.sub(LABEL_SLOT, template)
    return template.replace(LABEL_SLOT, label)


async def classify_image(
    pooled: Sequence[PooledEngine], source: ImageSource, labels: Sequence[str], templates: Sequence[str] = ()
) -> list[Classification]:
    """Score every label for one image file with one model after the other, decoding it once.

    Takes and raises what `read_image` and `classify` do.
    """
    image = await read_image(
        source, min_image_side([each.engine.spec for each in pooled]), pooled[0].engine.worker.cache
    )
    return [(await classify(each, [image], labels, templates))[0] for each in pooled]


def min_image_side(models: Sequence[ModelSpec]) -> int:
    """Return the side below which a decoder must not shrink an image: twice the models' largest input."""
    return 2 * max(spec.image_size for spec in models)


async def classify(
    pooled: PooledEngine, images: Sequence[SourceImage], labels: Sequence[str], templates: Sequence[str] = ()
) -> list[Classification]:
    """Score every label for every image with one model.

    What the images of one call share, such as the engine calls, is divided equally among their timings.

    Args:
        pooled: the running engine.
        images: at least one; decoded unless their embeddings are known.
        labels: the classes, as texts.
        templates: prompts with "{label}" in them, whose embeddings are averaged; the model's own
            when there are none.

    Raises:
        InvalidInputError: when labels, templates or an image cannot be used.
        OverloadedError: when the engine's queue is full.
        InferenceError: when the engine failed.
    """
    engine, load_ms, quality = pooled
    labels = check_labels(labels)
    templates = check_templates(templates) or engine.spec.prompt_templates
    embedded = await engine.embed_images(images)
    texts = await _embed_labels(engine, labels, templates)
    with span("post", *engine.names) as post:
        cosines = embedded.embeddings @ texts.embeddings.T  # [n_images, n_labels]
        logits, scores = scores_from_cosines(cosines, engine.spec)
        ranked = [_rank(labels, *rows) for rows in zip(scores, cosines, logits, strict=True)]
        unread = tuple(label for label in labels if not engine.preprocessor.knows(label))
    own_ms = {"load": load_ms, "post": post.ms}
    stages = add_up([own_ms, embedded.timings_ms, texts.timings_ms])
    shared_ms = {stage: ms / len(images) for stage, ms in stages.items()}
    return [
        Classification(
            model=engine.spec.name,
            engine=engine.engine.name,
            quality=quality,
            score=engine.spec.score,
            scores=label_scores,
            none_of_these=none_of_these(label_scores) if engine.spec.score == "sigmoid" else None,
            truncated=texts.truncated,
            unread=unread,
            cold=load_ms > 0,
            labels_cached=texts.cached,
            image_cached=image_cached,
            timings_ms=add_up([{"decode": image.decode_ms}, shared_ms]),
        )
        for image, label_scores, image_cached in zip(images, ranked, embedded.cached, strict=True)
    ]


async def _embed_labels(engine: BatchedEngine, labels: Sequence[str], templates: Sequence[str]) -> _LabelRows:
    """Embed labels; a list that was asked for lately comes from the cache as a whole."""
    key = CacheKey.of_labels(engine.identity, labels, templates)
    size = len(templates)
    known = engine.recall_labels(key, len(labels) * size)
    if known is not None:
        return _LabelRows(*known, truncated=(), cached=True)
    texts = await engine.embed_texts(
        [fill_template(template, label) for label in labels for template in templates]
    )
    with span("post", *engine.names) as post:
        rows = label_embeddings(texts.embeddings, size)
        truncated = tuple(
            label for i, label in enumerate(labels) if any(texts.truncated[i * size : (i + 1) * size])
        )
        if not truncated:  # else the cache would have to know which
            engine.keep_labels(key, rows)
    return _LabelRows(rows, add_up([texts.timings_ms, {"post": post.ms}]), truncated, all(texts.cached))


def label_embeddings(prompts: Embeddings, num_templates: int) -> Embeddings:
    """Average the templates of each label, as CLIP's prompt ensembling does (arXiv 2103.00020, 3.1.4).

    Args:
        prompts: [n_labels * num_templates, dim], the templates of a label side by side.
        num_templates: prompts a label.
    """
    return normalize(prompts.reshape(-1, num_templates, prompts.shape[-1]).mean(axis=1))


def scores_from_cosines(cosines: Scores, spec: ModelSpec) -> tuple[Scores, Scores]:
    """Return (logits, scores) of a model."""
    logits: Scores = spec.logit_scale * cosines + spec.logit_bias
    return logits, scores_from_logits(logits, spec)


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
