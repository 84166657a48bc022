"""Search an index: by text, by image, by both, and away from something."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.base import Embeddings, normalize
from engines.errors import InvalidInputError
from engines.pool import PooledEngine
from engines.preparation.source import SourceImage
from use_cases.embedding import check_text
from use_cases.retrieval.errors import UnknownIndexError
from use_cases.retrieval.filters import ImageFilter
from use_cases.retrieval.image_index import ImageTable
from use_cases.retrieval.records import ImageRecord
from use_cases.timings import add_up
from use_cases.zero_shot import scores_from_cosines

MAX_RESULTS = 1_000  # of one query, those skipped included
ScoreKind: TypeAlias = Literal["probability", "cosine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageQuery:
    """What to look for, and where; at least a text or an image.

    Images are ranked by the cosine of their embedding with
    text_weight * text + image_weight * image - negative_weight * negative, each of unit length.
    """

    text: str = ""
    negative: str = ""  # what the images should not show
    image: SourceImage | None = None
    like: str = ""  # the id of an image of the index, in place of `image`
    text_weight: float = 1.0
    image_weight: float = 1.0
    negative_weight: float = 0.5
    top_k: int = 20
    offset: int = 0  # results to skip: for the next page
    min_score: float | None = None
    where: ImageFilter = field(default_factory=ImageFilter)


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
    explanation: str  # one sentence when there are no hits; else empty
    truncated: bool  # the model saw only the beginning of a text
    timings_ms: dict[str, float]  # by stage


def check_query(query: ImageQuery) -> ImageQuery:
    """Return a query that can be answered.

    Raises:
        InvalidInputError: when it asks for nothing, or a value is out of range.
    """
    if not (query.text.strip() or query.image or query.like):
        raise InvalidInputError("There is nothing to look for; give a text or an image.")
    if query.image is not None and query.like:
        raise InvalidInputError("Give an image or the id of one in the index, not both.")
    for text in (query.text, query.negative):
        if text.strip():
            check_text(text)
    for name in ("text_weight", "image_weight", "negative_weight"):
        if not 0 <= getattr(query, name) <= 10:
            raise InvalidInputError(f"{name} must be a number from 0 to 10.")
    if query.top_k < 1 or query.offset < 0 or query.top_k + query.offset > MAX_RESULTS:
        raise InvalidInputError(
            f"top_k must be at least 1, and with the offset at most {MAX_RESULTS:,} results are listed."
        )
    if query.min_score is not None and not -1 <= query.min_score <= 1:
        raise InvalidInputError("min_score must be from -1 to 1: a probability, or a cosine.")
    query.where.to_sql()
    return query


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
    texts = await engine.embed_texts(wanted)
    images = await engine.embed_images([query.image] if query.image else [])
    start_s = time.perf_counter()
    rows = iter(texts.embeddings)
    text = next(rows) if query.text.strip() else None
    negative = next(rows) if query.negative.strip() else None
    image = images.embeddings[0] if query.image else None
    if query.like:
        image = await asyncio.to_thread(_embedding_of, table, query.like)
    direction = _combine(query, text, image, negative)
    found = await asyncio.to_thread(_found, table, query, direction)
    # A probability needs a text that the model was trained to judge, and a sigmoid.
    probable = engine.spec.score == "sigmoid" and text is not None
    text_cosines = found.embeddings @ text if probable and text is not None else found.cosines
    scores = scores_from_cosines(text_cosines, engine.spec)[1] if probable else found.cosines
    hits = tuple(
        ImageHit(query.offset + place + 1, float(score), float(cosine), record)
        for place, (score, cosine, record) in enumerate(
            zip(scores, found.cosines, found.records, strict=True)
        )
        if query.min_score is None or score >= query.min_score
    )
    kind: ScoreKind = "probability" if probable else "cosine"
    own_ms = {
        "load": pooled.load_ms,
        "decode": query.image.decode_ms if query.image else 0.0,
        "post": (time.perf_counter() - start_s) * 1000,
    }
    return SearchAnswer(
        model=engine.spec.name,
        engine=engine.engine.name,
        score_kind=kind,
        hits=hits,
        searched=found.searched,
        total=found.total,
        explanation="" if hits else _explain(query, found, scores, kind),
        truncated=any(texts.truncated),
        timings_ms=add_up([own_ms, texts.timings_ms, images.timings_ms]),
    )


class _Found(NamedTuple):
    records: list[ImageRecord]
    cosines: NDArray[np.float32]  # with the whole query
    embeddings: Embeddings
    searched: int
    total: int


def _found(table: ImageTable, query: ImageQuery, direction: NDArray[np.float32]) -> _Found:
    """Return one page of the nearest images."""
    total = len(table)
    searched = table.count(query.where) if query.where else total
    (nearest,) = table.nearest(direction[None], query.offset + query.top_k, query.where)
    rows = nearest.rows[query.offset :]
    return _Found(
        table.records(rows), nearest.cosines[query.offset :], table.embeddings(rows), searched, total
    )


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
    return normalize(direction[None])[0]


def _embedding_of(table: ImageTable, id_: str) -> NDArray[np.float32]:
    records, embeddings = table.find([id_])
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
