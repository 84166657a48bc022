"""Measure how well models retrieve: embed images and captions, and look for each among the others."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.base import Embeddings
from engines.errors import InvalidInputError
from engines.pool import PooledEngine
from engines.preparation.source import SourceImage
from engines.quality import Quality
from use_cases.images import read_image
from use_cases.resampling import Estimate, Resampled, estimates
from use_cases.retrieval.captioned import CaptionedImage, CaptionSet
from use_cases.retrieval.metrics import (
    METRICS,
    Ranks,
    chance_recalls,
    image_to_text_ranks,
    resample,
    summarize,
    text_to_image_ranks,
)
from use_cases.zero_shot import min_image_side

Estimates: TypeAlias = Mapping[str, Mapping[str, Estimate]]  # by direction, then by metric

DIRECTIONS = ("text_to_image", "image_to_text")
_IMAGE_CHUNK = 32  # images that are decoded at a time, to bound memory
_TEXT_CHUNK = 512  # enough for texts of like length to meet
_TELL_S = 10.0  # between two lines of progress

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class EmbeddedSet:
    """One model's embeddings of a dataset, and what they cost by the clock."""

    pooled: PooledEngine
    images: Embeddings  # [n_images, dim]; rows of unreadable images are zero
    texts: Embeddings  # [n_texts, dim], image after image
    unreadable: dict[int, str] = field(default_factory=dict)  # why, by the image's position
    num_truncated: int = 0  # texts of which the model read only the beginning
    read_s: float = 0.0  # reading and decoding images
    image_s: float = 0.0  # preparing and embedding them
    text_s: float = 0.0  # tokenizing and embedding texts
    num_images: int = 0  # that were embedded; those after the same picture in an earlier chunk were not
    num_texts: int = 0  # likewise


@dataclass(frozen=True, slots=True)
class ModelRetrieval:
    """How well one model on one engine retrieves."""

    model: str
    engine: str
    quality: Quality | None  # of a quantized engine: how close it is to float32, if that was measured
    num_truncated: int
    read_ms: float  # an image, by the clock, several being read at once
    image_ms: float  # an image, likewise
    text_ms: float
    estimates: Estimates


@dataclass(frozen=True, slots=True)
class Difference:
    """The first model's metrics minus the second's, on the same resamples."""

    estimates: Estimates


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Some models on one dataset."""

    dataset: str
    num_images: int
    num_texts: int
    notes: tuple[str, ...]
    unreadable: Mapping[str, str]  # images that were left out, for all models, and why
    chance: Mapping[str, Mapping[str, float]]  # recalls of a guess, by direction
    models: tuple[ModelRetrieval, ...]
    difference: Difference | None  # between the first two models


async def embed_set(pooled: PooledEngine, dataset: CaptionSet) -> EmbeddedSet:
    """Embed a dataset's images and captions as they stand; memory holds embeddings and one chunk of images.

    Raises:
        InvalidInputError: when no image can be read.
        EngineError: when the engine fails.
    """
    dim = pooled.engine.spec.dim
    embedded = EmbeddedSet(
        pooled,
        np.zeros((len(dataset.images), dim), np.float32),
        np.zeros((dataset.num_captions, dim), np.float32),
    )
    await _embed_images(embedded, dataset.images)
    if len(embedded.unreadable) == len(dataset.images):
        raise InvalidInputError(
            f"None of the {len(dataset.images):,} images of {dataset.name!r} can be read; the first,"
            f" {dataset.images[0].name!r}: {embedded.unreadable[0]}"
        )
    await _embed_texts(embedded, [caption for image in dataset.images for caption in image.captions])
    return embedded


def evaluate(dataset: CaptionSet, embedded: Sequence[tuple[str, EmbeddedSet]]) -> Evaluation:
    """Compare models on the images that all of them could read, and on the captions of these.

    Args:
        dataset: that was embedded.
        embedded: a model's name, as it is to be called, and its embeddings of the dataset.
    """
    unreadable = {position: why for _, each in embedded for position, why in each.unreadable.items()}
    readable = np.array([position not in unreadable for position in range(len(dataset.images))])
    owners = np.repeat(np.arange(len(readable)), [len(image.captions) for image in dataset.images])
    kept_texts = readable[owners]
    kept_owners = (np.cumsum(readable) - 1)[owners[kept_texts]]
    measured = [_measure(each.images[readable], each.texts[kept_texts], kept_owners) for _, each in embedded]
    return Evaluation(
        dataset=dataset.name,
        num_images=int(readable.sum()),
        num_texts=len(kept_owners),
        notes=dataset.notes,
        unreadable={dataset.images[position].name: why for position, why in sorted(unreadable.items())},
        chance=chance_recalls(kept_owners, int(readable.sum())),
        models=tuple(
            _retrieval(name, each, directions)
            for (name, each), directions in zip(embedded, measured, strict=True)
        ),
        difference=_difference(measured[0], measured[1]) if len(measured) > 1 else None,
    )


@dataclass(frozen=True, slots=True)
class _Direction:
    values: dict[str, float]
    resampled: Resampled

    @classmethod
    def of(cls, ranks: Ranks, owners: NDArray[np.int64], num_images: int) -> _Direction:
        return cls(summarize(ranks), resample(ranks, owners, num_images))


def _measure(images: Embeddings, texts: Embeddings, owners: NDArray[np.int64]) -> dict[str, _Direction]:
    count = len(images)
    of_texts = text_to_image_ranks(images, texts, owners)
    of_images = image_to_text_ranks(images, texts, owners)
    return {
        "text_to_image": _Direction.of(of_texts, owners, count),
        "image_to_text": _Direction.of(of_images, np.arange(count), count),
    }


def _retrieval(name: str, embedded: EmbeddedSet, directions: Mapping[str, _Direction]) -> ModelRetrieval:
    return ModelRetrieval(
        model=name,
        engine=embedded.pooled.engine.engine.name,
        quality=embedded.pooled.quality,
        num_truncated=embedded.num_truncated,
        read_ms=1000 * embedded.read_s / max(len(embedded.images), 1),
        image_ms=1000 * embedded.image_s / max(embedded.num_images, 1),
        text_ms=1000 * embedded.text_s / max(embedded.num_texts, 1),
        estimates={way: estimates(each.values, each.resampled) for way, each in directions.items()},
    )


def _difference(first: Mapping[str, _Direction], second: Mapping[str, _Direction]) -> Difference:
    def of(one: _Direction, other: _Direction) -> dict[str, Estimate]:
        values = {name: one.values[name] - other.values[name] for name in METRICS}
        return estimates(values, one.resampled - other.resampled)

    return Difference({name: of(first[name], second[name]) for name in DIRECTIONS})


async def _embed_images(embedded: EmbeddedSet, images: Sequence[CaptionedImage]) -> None:
    engine = embedded.pooled.engine
    min_side = min_image_side([engine.spec])
    progress = _Progress(f"{engine.spec.name} on {engine.engine.name}", len(images), "images")

    async def read(image: CaptionedImage) -> SourceImage | InvalidInputError:
        try:
            return await read_image(image.source, min_side, engine.worker.cache)
        except InvalidInputError as error:
            return error

    for start in range(0, len(images), _IMAGE_CHUNK):
        start_s = time.perf_counter()
        read_images = await asyncio.gather(*map(read, images[start : start + _IMAGE_CHUNK]))
        embedded.read_s += time.perf_counter() - start_s
        usable: dict[int, SourceImage] = {}
        for position, image in enumerate(read_images, start):
            if isinstance(image, InvalidInputError):
                embedded.unreadable[position] = str(image)
            else:
                usable[position] = image
        start_s = time.perf_counter()
        result = await engine.embed_images(list(usable.values()))
        embedded.image_s += time.perf_counter() - start_s
        embedded.images[list(usable)] = result.embeddings
        embedded.num_images += result.cached.count(False)
        progress.tell(start + len(read_images))


async def _embed_texts(embedded: EmbeddedSet, texts: Sequence[str]) -> None:
    engine = embedded.pooled.engine
    progress = _Progress(f"{engine.spec.name} on {engine.engine.name}", len(texts), "texts")
    for start in range(0, len(texts), _TEXT_CHUNK):
        chunk = texts[start : start + _TEXT_CHUNK]
        start_s = time.perf_counter()
        result = await engine.embed_texts(chunk)
        embedded.text_s += time.perf_counter() - start_s
        embedded.texts[start : start + len(chunk)] = result.embeddings
        embedded.num_truncated += sum(result.truncated)
        embedded.num_texts += len(
            {text for text, known in zip(chunk, result.cached, strict=True) if not known}
        )
        progress.tell(start + len(chunk))


class _Progress:
    """Says in the log how far an embedding has come, now and then."""

    def __init__(self, who: str, total: int, what: str) -> None:
        self._facts: tuple[Any, ...] = (who, total, what)
        self._told_s = time.monotonic()

    def tell(self, done: int) -> None:
        if time.monotonic() - self._told_s > _TELL_S:
            self._told_s = time.monotonic()
            who, total, what = self._facts
            logger.info("%s: %s of %s %s", who, f"{done:,}", f"{total:,}", what)
