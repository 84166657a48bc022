"""Find the texts that fit an image best: among some, or among the captions of an index."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.errors import InvalidInputError
from engines.pool import PooledEngine
from engines.preparation.source import SourceImage
from use_cases.embedding import check_text
from use_cases.retrieval.filters import ImageFilter
from use_cases.retrieval.image_table import ImageTable
from use_cases.side_by_side import side_by_side
from use_cases.timings import add_up
from use_cases.zero_shot import check_size, scores_from_cosines

MAX_TEXTS = 2_048  # to choose from
_NEIGHBOURS = 100  # the images whose captions are looked at; comparing with all captions would not end


@dataclass(frozen=True, slots=True)
class TextHit:
    """One text that was found."""

    rank: int  # from 1
    score: float  # a probability for a sigmoid model; else the cosine
    cosine: float
    text: str


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """What one model found for one image."""

    model: str
    engine: str
    score_kind: str  # "probability" or "cosine"
    hits: tuple[TextHit, ...]  # best first
    explanation: str  # one sentence when there are no hits; else empty
    timings_ms: dict[str, float]  # by stage


async def search_texts(
    pooled: PooledEngine, image: SourceImage, texts: Sequence[str] | ImageTable, top_k: int = 10
) -> TextAnswer:
    """Rank texts by how well they fit an image.

    Args:
        pooled: the running engine.
        image: what they should fit.
        texts: captions or tags; or a table of the engine's model, of which the captions of the images that
            are most like this one are taken.
        top_k: how many are wanted.

    Raises:
        InvalidInputError: when the image or a text cannot be used, or there are too many texts.
        IndexStorageError: when the index cannot be read.
        EngineError: what `BatchedEngine` raises.
    """
    if not 1 <= top_k <= MAX_TEXTS:
        raise InvalidInputError(f"top_k must be from 1 to {MAX_TEXTS:,}.")
    search_ms = 0.0
    if isinstance(texts, ImageTable):
        embedded = (await pooled.engine.embed_images([image])).embeddings[0]  # from the cache the second time
        start_s = time.perf_counter()
        texts = await asyncio.to_thread(_captions_near, texts, embedded)
        search_ms = (time.perf_counter() - start_s) * 1000
    candidates = list(dict.fromkeys(check_text(text.strip()) for text in texts))
    check_size("text", candidates, MAX_TEXTS)
    images, embedded_texts = await side_by_side(
        pooled.engine.embed_images([image]), pooled.engine.embed_texts(candidates)
    )
    start_s = time.perf_counter()
    cosines = embedded_texts.embeddings @ images.embeddings[0]
    probable = pooled.engine.spec.score == "sigmoid"
    scores = scores_from_cosines(cosines, pooled.engine.spec)[1] if probable else cosines
    best = np.argsort(-cosines, kind="stable")[:top_k]
    own_ms = {
        "load": pooled.load_ms,
        "decode": image.decode_ms,
        "search": search_ms + (time.perf_counter() - start_s) * 1000,
    }
    return TextAnswer(
        model=pooled.engine.spec.name,
        engine=pooled.engine.engine.name,
        score_kind="probability" if probable else "cosine",
        hits=tuple(
            TextHit(rank, float(scores[place]), float(cosines[place]), candidates[place])
            for rank, place in enumerate(best.tolist(), start=1)
        ),
        explanation="" if candidates else "The images most like this one have no captions; give some texts.",
        timings_ms=add_up([own_ms, embedded_texts.timings_ms, images.timings_ms]),
    )


def _captions_near(table: ImageTable, embedding: NDArray[np.float32]) -> list[str]:
    """Return the captions of the images that are most like one, which itself may be among them."""
    snapshot = table.snapshot()
    (nearest,) = snapshot.nearest(embedding[None], _NEIGHBOURS, ImageFilter(has_caption=True))
    return [record.caption for record in snapshot.records(nearest)]
