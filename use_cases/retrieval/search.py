"""Search an index for images: by text, by image, by both, and away from something."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from itertools import count
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.base import Embeddings, normalize
from engines.errors import InvalidInputError
from engines.models import ModelSpec
from engines.pool import PooledEngine
from use_cases.retrieval.errors import UnknownIndexError
from use_cases.retrieval.image_table import ImageTable
from use_cases.retrieval.query import ImageQuery, check_query
from use_cases.retrieval.records import ImageRecord
from use_cases.side_by_side import side_by_side
from use_cases.timings import add_up
from use_cases.zero_shot import scores_from_cosines

ScoreKind: TypeAlias = Literal["probability", "cosine"]


@dataclass(frozen=True, slots=True)
class ImageHit:
    """One image that was found."""

    rank: int  # from 1, over all pages
    score: float  # see SearchAnswer.score_kind
    cosine: float  # of the image with the whole query
    image: ImageRecord


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """What one model found for one query."""

    model: str
    engine: str
    # "probability": that the text fits the image, which only a sigmoid model can tell for a text;
    # "cosine": of the image with the query.
    score_kind: ScoreKind
    hits: tuple[ImageHit, ...]  # best first
    searched: int  # images that the filter left
    total: int  # images in the index
    exact: bool  # every image was compared; else an ANN index may have missed some
    explanation: str  # one sentence when there are no hits; else empty
    truncated: bool  # the model saw only the beginning of a text
    timings_ms: dict[str, float]  # by stage


class _Found(NamedTuple):
    records: list[ImageRecord]
    cosines: NDArray[np.float32]  # with the whole query
    embeddings: Embeddings
    searched: int
    total: int
    exact: bool


async def search_images(pooled: PooledEngine, table: ImageTable, query: ImageQuery) -> SearchAnswer:
    """Answer a query with one model.

    Args:
        pooled: the running engine of the table's model.
        table: of an index.
        query: what to look for.

    Raises:
        InvalidInputError: when the query cannot be answered, or its image cannot be decoded.
        UnknownIndexError: when an id is not in the index.
        IndexStorageError: when the index cannot be read.
        EngineError: what `BatchedEngine` raises.
    """
    query = check_query(query)
    engine = pooled.engine
    wanted = [text for text in (query.text, query.negative) if text.strip()]
    texts, images = await side_by_side(
        engine.embed_texts(wanted), engine.embed_images([query.image] if query.image else [])
    )
    start_s = time.perf_counter()
    rows = iter(texts.embeddings)
    text = next(rows) if query.text.strip() else None
    negative = next(rows) if query.negative.strip() else None
    image = images.embeddings[0] if query.image else None
    if query.like:
        image = await asyncio.to_thread(_embedding_of, table, query.like)
    found = await asyncio.to_thread(_find, table, query, _combine(query, text, image, negative))
    kind, scores = _score(found, text, engine.spec)
    hits = tuple(
        ImageHit(query.offset + place, float(score), float(cosine), record)
        for place, score, cosine, record in zip(count(1), scores, found.cosines, found.records, strict=False)
        if query.min_score is None or score >= query.min_score
    )
    own_ms = {
        "load": pooled.load_ms,
        "decode": query.image.decode_ms if query.image else 0.0,
        "search": (time.perf_counter() - start_s) * 1000,
    }
    return SearchAnswer(
        model=engine.spec.name,
        engine=engine.engine.name,
        score_kind=kind,
        hits=hits,
        searched=found.searched,
        total=found.total,
        exact=found.exact,
        explanation="" if hits else _explain(query, found, scores, kind),
        truncated=any(texts.truncated),
        timings_ms=add_up([own_ms, texts.timings_ms, images.timings_ms]),
    )


def _find(table: ImageTable, query: ImageQuery, direction: NDArray[np.float32]) -> _Found:
    """Return one page of the nearest images."""
    snapshot = table.snapshot()
    total = len(snapshot)
    searched = snapshot.count(query.where) if query.where else total
    (nearest,) = snapshot.nearest(direction[None], query.offset + query.top_k, query.where)
    page = nearest.after(query.offset)
    return _Found(
        snapshot.records(page), page.cosines, snapshot.embeddings(page), searched, total, snapshot.is_exact
    )


def _score(
    found: _Found, text: NDArray[np.float32] | None, spec: ModelSpec
) -> tuple[ScoreKind, NDArray[np.float32]]:
    """Return a probability that the text fits, where there is a text, and a sigmoid; else the cosine."""
    if text is None or spec.score != "sigmoid":
        return "cosine", found.cosines
    return "probability", scores_from_cosines(found.embeddings @ text, spec)[1].astype(np.float32)


def _combine(
    query: ImageQuery,
    text: NDArray[np.float32] | None,
    image: NDArray[np.float32] | None,
    negative: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    parts = ((query.text_weight, text), (query.image_weight, image), (-query.negative_weight, negative))
    weighted = [np.float32(weight) * part for weight, part in parts if part is not None]
    direction: NDArray[np.float32] = np.sum(weighted, axis=0, dtype=np.float32)
    if not np.linalg.norm(direction) > 0:
        raise InvalidInputError("The parts of the query cancel each other out; change a weight.")
    row: NDArray[np.float32] = normalize(direction[None])[0]
    return row


def _embedding_of(table: ImageTable, id_: str) -> NDArray[np.float32]:
    records, embeddings = table.snapshot().find([id_])
    if not records:
        raise UnknownIndexError(f"The index has no image {id_[:200]!r}.")
    row: NDArray[np.float32] = embeddings[0]
    return row


def _explain(query: ImageQuery, found: _Found, scores: NDArray[np.float32], kind: ScoreKind) -> str:
    """Return why there are no hits."""
    if not found.total:
        return "The index is empty; add images to it."
    if not found.searched:
        return f"None of the {found.total:,} images meets the filter; loosen it."
    if not len(scores):
        return f"There are only {found.searched:,} images; go back to an earlier page."
    return (
        f"The best {kind} is {scores.max():.3f}, below the threshold of {query.min_score:g}; lower it,"
        " or describe what you look for differently."
    )
