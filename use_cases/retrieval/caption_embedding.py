"""Embed a captioned dataset's images and captions with one engine."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engines.base import Embeddings
from engines.errors import InvalidInputError
from engines.pool import PooledEngine
from engines.preparation.source import SourceImage
from engines.quality import Quality
from engines.worker.batched_engine import BatchedEngine
from use_cases.images import read_image
from use_cases.retrieval.captioned import CaptionedImage, CaptionSet
from use_cases.zero_shot import min_image_side

_IMAGE_CHUNK = 32  # images that are decoded at a time, to bound memory
_TEXT_CHUNK = 512  # enough for texts of like length to meet
_TELL_S = 10.0  # between two lines of progress

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class EmbeddedSet:
    """One model's embeddings of a dataset, and what they cost by the clock.

    It does not hold the engine: two large models need not fit into memory together.
    """

    engine: str
    quality: Quality | None  # of a quantized engine: how close it is to float32, if that was measured
    images: Embeddings  # [n_images, dim]; rows of unreadable images are zero
    texts: Embeddings  # [n_texts, dim], image after image
    unreadable: dict[int, str] = field(default_factory=dict)  # why, by the image's position
    num_truncated: int = 0  # texts of which the model read only the beginning
    read_s: float = 0.0  # reading and decoding images
    image_s: float = 0.0  # preparing and embedding them
    text_s: float = 0.0  # tokenizing and embedding texts
    num_images: int = 0  # that were embedded; those after the same picture in an earlier chunk were not
    num_texts: int = 0  # likewise


async def embed_set(pooled: PooledEngine, dataset: CaptionSet) -> EmbeddedSet:
    """Embed a dataset's images and captions as they stand; memory holds embeddings and one chunk of images.

    Raises:
        InvalidInputError: when no image can be read.
        EngineError: when the engine fails.
    """
    dim = pooled.engine.spec.dim
    embedded = EmbeddedSet(
        pooled.engine.engine.name,
        pooled.quality,
        np.zeros((len(dataset.images), dim), np.float32),
        np.zeros((dataset.num_captions, dim), np.float32),
    )
    await _embed_images(embedded, pooled.engine, dataset.images)
    if len(embedded.unreadable) == len(dataset.images):
        raise InvalidInputError(
            f"None of the {len(dataset.images):,} images of {dataset.name!r} can be read; the first,"
            f" {dataset.images[0].name!r}: {embedded.unreadable[0]}"
        )
    captions = [caption for image in dataset.images for caption in image.captions]
    await _embed_texts(embedded, pooled.engine, captions)
    return embedded


async def _embed_images(
    embedded: EmbeddedSet, engine: BatchedEngine, images: Sequence[CaptionedImage]
) -> None:
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


async def _embed_texts(embedded: EmbeddedSet, engine: BatchedEngine, texts: Sequence[str]) -> None:
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
