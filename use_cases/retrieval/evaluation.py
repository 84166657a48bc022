"""Measure how well models retrieve: look for each image and each caption among the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.base import Embeddings
from engines.quality import Quality
from use_cases.ranking import Ranks
from use_cases.resampling import Estimate, Resampled, estimates
from use_cases.retrieval.caption_embedding import EmbeddedSet
from use_cases.retrieval.caption_hashing import HashedCaptions
from use_cases.retrieval.metrics import (
    METRICS,
    chance_recalls,
    image_to_text_ranks,
    resample,
    summarize,
    text_to_image_ranks,
)
from use_cases.retrieval.rank_items import pack_owners, pack_ranks

Estimates: TypeAlias = Mapping[str, Mapping[str, Estimate]]  # by direction, then by metric

DIRECTIONS = ("text_to_image", "image_to_text")


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
    items: str  # as `use_cases.retrieval.rank_items` packs them

    @property
    def title(self) -> str:
        """Return such as "siglit-mini on onnx-fp32"."""
        return f"{self.model} on {self.engine}"


@dataclass(frozen=True, slots=True)
class Difference:
    """The first model's metrics minus another's, on the same resamples."""

    first: ModelRetrieval
    other: ModelRetrieval
    estimates: Estimates


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Some models on one dataset."""

    dataset: str
    sha256: str  # of all images and captions that were found
    digests: tuple[str, ...]  # SHA-256 of the images that counted, in their order
    num_captions: str  # of each of them, as `use_cases.retrieval.rank_items` packs it
    num_texts: int
    notes: tuple[str, ...]
    unreadable: Mapping[str, str]  # images that were left out, for all models, and why
    chance: Mapping[str, Mapping[str, float]]  # recalls of a guess, by direction
    models: tuple[ModelRetrieval, ...]
    differences: tuple[Difference, ...]  # between the first model and each other one


def evaluate(hashed: HashedCaptions, embedded: Sequence[tuple[str, EmbeddedSet]]) -> Evaluation:
    """Compare models on the images that all of them could read, and on the captions of these.

    Args:
        hashed: the dataset that was embedded.
        embedded: a model's name, as it is to be called, and its embeddings of the dataset.
    """
    dataset = hashed.dataset
    unreadable = {position: why for _, each in embedded for position, why in each.unreadable.items()}
    readable = np.array([position not in unreadable for position in range(len(dataset.images))])
    owners = np.repeat(np.arange(len(readable)), [len(image.captions) for image in dataset.images])
    kept_texts = readable[owners]
    kept_owners = (np.cumsum(readable) - 1)[owners[kept_texts]]
    measured = [_measure(each.images[readable], each.texts[kept_texts], kept_owners) for _, each in embedded]
    models = tuple(
        _retrieval(name, each, directions)
        for (name, each), directions in zip(embedded, measured, strict=True)
    )
    return Evaluation(
        dataset=dataset.name,
        sha256=hashed.sha256,
        digests=tuple(np.array(hashed.digests)[readable].tolist()),
        num_captions=pack_owners(kept_owners, int(readable.sum())),
        num_texts=len(kept_owners),
        notes=dataset.notes,
        unreadable={dataset.images[position].name: why for position, why in sorted(unreadable.items())},
        chance=chance_recalls(kept_owners, int(readable.sum())),
        models=models,
        differences=tuple(
            Difference(models[0], other, _difference(measured[0], directions))
            for other, directions in zip(models[1:], measured[1:], strict=True)
        ),
    )


@dataclass(frozen=True, slots=True)
class _Direction:
    ranks: Ranks
    values: dict[str, float]
    resampled: Resampled

    @classmethod
    def of(cls, ranks: Ranks, owners: NDArray[np.int64], num_images: int) -> _Direction:
        return cls(ranks, summarize(ranks), resample(ranks, owners, num_images))


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
        engine=embedded.engine,
        quality=embedded.quality,
        num_truncated=embedded.num_truncated,
        read_ms=1000 * embedded.read_s / max(len(embedded.images), 1),
        image_ms=1000 * embedded.image_s / max(embedded.num_images, 1),
        text_ms=1000 * embedded.text_s / max(embedded.num_texts, 1),
        estimates={way: estimates(each.values, each.resampled) for way, each in directions.items()},
        items=pack_ranks({way: each.ranks for way, each in directions.items()}),
    )


def _difference(first: Mapping[str, _Direction], other: Mapping[str, _Direction]) -> Estimates:
    def of(one: _Direction, two: _Direction) -> dict[str, Estimate]:
        values = {name: one.values[name] - two.values[name] for name in METRICS}
        return estimates(values, one.resampled - two.resampled)

    return {way: of(first[way], other[way]) for way in DIRECTIONS}
