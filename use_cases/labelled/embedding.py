"""Embed a labelled dataset's images and prompts with one engine, going on where an earlier run ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engines.base import Embeddings
from engines.errors import FileAccessError, InvalidInputError
from engines.models import ModelSpec
from engines.pool import PooledEngine
from engines.preparation.source import SourceImage
from engines.quality import Quality
from engines.worker.batched_engine import BatchedEngine
from use_cases.images import read_image
from use_cases.labelled.chunk_store import ChunkStore
from use_cases.labelled.hashing import HashedSet
from use_cases.labelled.labelled import LabelledImage
from use_cases.labelled.provenance import Provenance, read_provenance
from use_cases.zero_shot import LABEL_SLOT, fill_template, label_embeddings, min_image_side

WAYS = LABEL_ALONE, ENSEMBLE = "label_alone", "ensemble"  # of asking, side by side
_IMAGE_CHUNK = 32  # images that are decoded at a time, and kept together
_TEXT_CHUNK = 512
_TELL_S = 10.0  # between two lines of progress

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class EmbeddedLabels:
    """What one engine made of a dataset, and what that cost by the clock.

    It does not hold the engine: two large models need not fit into memory together.
    """

    spec: ModelSpec
    engine: str
    quality: Quality | None  # of a quantized engine: how close it is to float32, if that was measured
    provenance: Provenance
    images: Embeddings  # [n_images, dim]; rows of unreadable images are zero
    templates: Mapping[str, tuple[str, ...]]  # by way of asking
    labels: dict[str, Embeddings] = field(default_factory=dict)  # [n_labels, dim], by way of asking
    unreadable: dict[int, str] = field(default_factory=dict)  # why, by the image's position
    num_truncated: int = 0  # prompts of which the model read only the beginning
    image_s: float = 0.0  # reading, decoding, preparing and embedding images
    text_s: float = 0.0  # tokenizing and embedding prompts
    num_images: int = 0  # that were embedded now; the others an earlier run had embedded
    num_texts: int = 0  # likewise
    num_reused_images: int = 0
    num_reused_texts: int = 0


async def embed_labelled(
    pooled: PooledEngine, hashed: HashedSet, store: ChunkStore, templates: Sequence[str] = ()
) -> EmbeddedLabels:
    """Embed a dataset; each chunk is kept as soon as it is there.

    Args:
        pooled: the running engine.
        hashed: the dataset.
        store: of this engine and this dataset.
        templates: instead of the model's own.

    Raises:
        InvalidInputError: when no image can be decoded.
        EngineError: when the engine fails, or a chunk cannot be kept.
    """
    spec = pooled.engine.spec
    embedded = EmbeddedLabels(
        spec,
        pooled.engine.engine.name,
        pooled.quality,
        read_provenance(pooled.engine),
        np.zeros((len(hashed.digests), spec.dim), np.float32),
        {LABEL_ALONE: (LABEL_SLOT,), ENSEMBLE: tuple(templates) or spec.prompt_templates},
    )
    await _embed_prompts(embedded, pooled.engine, hashed.dataset.labels, store)
    await _embed_images(embedded, pooled.engine, hashed, store)
    if len(embedded.unreadable) == len(hashed.digests):
        raise InvalidInputError(
            f"None of the {len(hashed.digests):,} images of {hashed.dataset.name!r} can be decoded; the"
            f" first, {hashed.dataset.images[0].name!r}: {embedded.unreadable[0]}"
        )
    return embedded


async def _embed_images(
    embedded: EmbeddedLabels, engine: BatchedEngine, hashed: HashedSet, store: ChunkStore
) -> None:
    images, told_s = hashed.dataset.images, time.monotonic()
    for start in range(0, len(images), _IMAGE_CHUNK):
        digests = hashed.digests[start : start + _IMAGE_CHUNK]
        kept = store.get("images", digests)
        if kept is None:
            start_s = time.perf_counter()
            rows, failures = await _embed_chunk(engine, images[start : start + _IMAGE_CHUNK])
            reasons = [str(failure) if failure else "" for failure in failures]
            embedded.image_s += time.perf_counter() - start_s
            embedded.num_images += len(rows)
            if not any(isinstance(failure, FileAccessError) for failure in failures):  # it may pass
                store.put("images", digests, rows=rows, reasons=np.array(reasons))
        else:
            rows, reasons = kept["rows"], kept["reasons"].tolist()
            embedded.num_reused_images += len(rows)
        embedded.images[start : start + len(rows)] = rows
        embedded.unreadable |= {start + row: reason for row, reason in enumerate(reasons) if reason}
        if time.monotonic() - told_s > _TELL_S:
            told_s = time.monotonic()
            _tell(embedded, start + len(rows), len(images), "images")


async def _embed_chunk(
    engine: BatchedEngine, images: Sequence[LabelledImage]
) -> tuple[Embeddings, list[InvalidInputError | None]]:
    """Return a row for each image, and for each why it has none, or None."""
    min_side = min_image_side([engine.spec])

    async def read(image: LabelledImage) -> SourceImage | InvalidInputError:
        try:
            return await read_image(image.source, min_side, engine.worker.cache)
        except InvalidInputError as error:
            return error

    read_images = await asyncio.gather(*map(read, images))
    usable = {position: image for position, image in enumerate(read_images) if isinstance(image, SourceImage)}
    rows: NDArray[np.float32] = np.zeros((len(images), engine.spec.dim), np.float32)
    rows[list(usable)] = (await engine.embed_images(list(usable.values()))).embeddings
    return rows, [image if isinstance(image, InvalidInputError) else None for image in read_images]


async def _embed_prompts(
    embedded: EmbeddedLabels, engine: BatchedEngine, labels: Sequence[str], store: ChunkStore
) -> None:
    prompts = {
        way: [fill_template(template, label) for label in labels for template in templates]
        for way, templates in embedded.templates.items()
    }
    texts = sorted({text for each in prompts.values() for text in each})
    rows = np.zeros((len(texts), embedded.spec.dim), np.float32)
    told_s = time.monotonic()
    for start in range(0, len(texts), _TEXT_CHUNK):
        chunk = texts[start : start + _TEXT_CHUNK]
        kept = store.get("texts", chunk)
        if kept is None:
            start_s = time.perf_counter()
            result = await engine.embed_texts(chunk)
            embedded.text_s += time.perf_counter() - start_s
            embedded.num_texts += len(chunk)
            kept = {"rows": result.embeddings, "truncated": np.array(result.truncated)}
            store.put("texts", chunk, **kept)
        else:
            embedded.num_reused_texts += len(chunk)
        rows[start : start + len(chunk)] = kept["rows"]
        embedded.num_truncated += int(kept["truncated"].sum())
        if time.monotonic() - told_s > _TELL_S:
            told_s = time.monotonic()
            _tell(embedded, start + len(chunk), len(texts), "prompts")
    row_of = {text: row for row, text in enumerate(texts)}
    for way, each in prompts.items():
        embedded.labels[way] = label_embeddings(
            rows[[row_of[text] for text in each]], len(embedded.templates[way])
        )


def _tell(embedded: EmbeddedLabels, done: int, total: int, what: str) -> None:
    who = f"{embedded.spec.name} on {embedded.engine}"
    logger.info("%s: %s of %s %s", who, f"{done:,}", f"{total:,}", what)
