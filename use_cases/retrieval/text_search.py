"""Find the texts that fit an image best: among some, or among the captions of an index."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engines.errors import InvalidInputError
from engines.pool import PooledEngine
from engines.preparation.source import SourceImage
from engines.tracing import span
from use_cases.embedding import check_text
from use_cases.retrieval.filters import ImageFilter
from use_cases.retrieval.image_table import ImageTable
from use_cases.retrieval.search import ScoreKind
from use_cases.side_by_side import side_by_side
from use_cases.timings import add_up
from use_cases.zero_shot import check_size, scores_from_cosines

MAX_TEXTS = 2_048  # to choose from: a large model embeds so many in a minute, and then they are known
_CAPTIONED = ImageFilter(has_caption=True)


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
    score_kind: ScoreKind
    hits: tuple[TextHit, ...]  # best first
    compared: int  # different texts
    left_out: int  # captioned images whose captions were not compared, because there are too many
    explanation: str  # one sentence when there are no hits; else empty
    timings_ms: dict[str, float]  # by stage


class _Captions(NamedTuple):
    texts: list[str]
    left_out: int


async def search_texts(
    pooled: PooledEngine, image: SourceImage, texts: Sequence[str] | ImageTable, top_k: int = 10
) -> TextAnswer:
    """Rank texts by how well they fit an image.

    Args:
        pooled: the running engine.
        image: what they should fit.
        texts: captions or tags; or a table of the engine's model, whose captions are taken: all of them up to
            2,048 images with one, else those of the 2,048 that are most like this one. The first call embeds
            them, later ones find them in the engine's cache.
        top_k: how many are wanted.

    Raises:
        InvalidInputError: when the image or a text cannot be used, or there are too many texts.
        IndexStorageError: when the index cannot be read.
        EngineError: what `BatchedEngine` raises.
    """
    if not 1 <= top_k <= MAX_TEXTS:
        raise InvalidInputError(f"top_k must be from 1 to {MAX_TEXTS:,}.")
    search_ms, left_out = 0.0, 0
    if isinstance(texts, ImageTable):
        embedded = (await pooled.engine.embed_images([image])).embeddings[0]  # from the cache the second time
        with span("search", *pooled.engine.names) as looking:
            captions = await asyncio.to_thread(_captions, texts, embedded)
        texts, left_out, search_ms = captions.texts, captions.left_out, looking.ms
    candidates = list(dict.fromkeys(check_text(text.strip()) for text in texts))
    check_size("text", candidates, MAX_TEXTS)
    images, embedded_texts = await side_by_side(
        pooled.engine.embed_images([image]), pooled.engine.embed_texts(candidates)
    )
    with span("search", *pooled.engine.names) as ranking:
        cosines = embedded_texts.embeddings @ images.embeddings[0]
        probable = pooled.engine.spec.score == "sigmoid"
        scores = scores_from_cosines(cosines, pooled.engine.spec)[1] if probable else cosines
        best = np.argsort(-cosines, kind="stable")[:top_k]
    own_ms = {
        "load": pooled.load_ms,
        "decode": image.decode_ms,
        "search": search_ms + ranking.ms,
    }
    return TextAnswer(
        model=pooled.engine.spec.name,
        engine=pooled.engine.engine.name,
        score_kind="probability" if probable else "cosine",
        hits=tuple(
            TextHit(rank, float(scores[place]), float(cosines[place]), candidates[place])
            for rank, place in enumerate(best.tolist(), start=1)
        ),
        compared=len(candidates),
        left_out=left_out,
        explanation="" if candidates else "The images have no captions; give some texts.",
        timings_ms=add_up([own_ms, embedded_texts.timings_ms, images.timings_ms]),
    )


def _captions(table: ImageTable, embedding: NDArray[np.float32]) -> _Captions:
    """Return the captions to compare with an image, which itself may be among the table's."""
    snapshot = table.snapshot()
    (nearest,) = snapshot.nearest(embedding[None], MAX_TEXTS, _CAPTIONED)
    captions = [record.caption for record in snapshot.facts(nearest)]
    return _Captions(captions, snapshot.count(_CAPTIONED) - len(captions))
