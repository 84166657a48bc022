"""Search an index for images: by text, by image, by both, and away from something."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import count
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.base import normalize
from engines.errors import InvalidInputError
from engines.models import ModelSpec
from engines.pool import PooledEngine
from engines.tracing import span
from use_cases.retrieval.errors import UnknownIndexError
from use_cases.retrieval.image_table import ImageTable
from use_cases.retrieval.query import ImageQuery, check_query
from use_cases.retrieval.records import ImageRecord
from use_cases.retrieval.snapshot import Effort, Neighbours, Snapshot
from use_cases.side_by_side import side_by_side
from use_cases.timings import add_up
from use_cases.zero_shot import scores_from_cosines

ScoreKind: TypeAlias = Literal["probability", "cosine"]


@dataclass(frozen=True, slots=True)
class ImageHit:
    """One image that was found."""

    rank: int  # from 1, over all pages
    score: float  # what min_score is compared with, see SearchAnswer.score_kind
    cosine: float  # of the image with the whole query
    image: ImageRecord


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """What one model found for one query."""

    model: str
    engine: str
    # "probability": that the text fits the image, which a sigmoid model tells when a text is all that the
    # query weighs; "cosine": of the image with the whole query, in every other case.
    score_kind: ScoreKind
    hits: tuple[ImageHit, ...]  # best first
    has_more: bool  # a larger offset finds others that reach min_score
    searched: int  # images that the filter left
    total: int  # images in the index
    exact: bool  # every image was compared; else an ANN index may have missed some
    explanation: str  # one sentence when there are no hits; else empty
    truncated: bool  # the model saw only the beginning of a text
    unread: bool  # the model cannot read a text, or not all of it: another script, an emoji
    timings_ms: dict[str, float]  # by stage


class _Ranking(NamedTuple):
    """What images are ranked by."""

    direction: NDArray[np.float32]  # [dim], of unit length
    query: ImageQuery
    spec: ModelSpec

    @property
    def kind(self) -> ScoreKind:
        by_text_alone = self.query.weighs_text_alone
        return "probability" if by_text_alone and self.spec.score == "sigmoid" else "cosine"

    def scores(self, cosines: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.kind == "cosine":
            return cosines
        return scores_from_cosines(cosines, self.spec)[1].astype(np.float32)


class _Found(NamedTuple):
    records: list[ImageRecord]  # of one page
    cosines: NDArray[np.float32]  # with the whole query
    scores: NDArray[np.float32]
    has_more: bool
    searched: int
    total: int
    exact: bool
    explanation: str


async def search_images(pooled: PooledEngine, table: ImageTable, query: ImageQuery) -> SearchAnswer:
    """Answer a query with one model.

    Images are ranked by their cosine with the whole query. Their score is that cosine, or the probability
    that follows from it, so both have the same order: `min_score` ends the ranking at one place, and `offset`
    and `top_k` choose a page of what is before it.

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
    with span("search", *engine.names) as searching:
        rows = iter(texts.embeddings)
        text = next(rows) if query.text.strip() else None
        negative = next(rows) if query.negative.strip() else None
        image = images.embeddings[0] if query.image else None
        if query.like:
            image = await asyncio.to_thread(_embedding_of, table, query.like)
        ranking = _Ranking(_combine(query, text, image, negative), query, engine.spec)
        found = await asyncio.to_thread(_find, table, ranking)
    hits = zip(
        count(query.offset + 1),
        found.scores.tolist(),
        found.cosines.tolist(),
        found.records,
        strict=False,
    )
    own_ms = {
        "load": pooled.load_ms,
        "decode": query.image.decode_ms if query.image else 0.0,
        "search": searching.ms,
    }
    return SearchAnswer(
        model=engine.spec.name,
        engine=engine.engine.name,
        score_kind=ranking.kind,
        hits=tuple(ImageHit(*hit) for hit in hits),
        has_more=found.has_more,
        searched=found.searched,
        total=found.total,
        exact=found.exact,
        explanation=found.explanation,
        truncated=any(texts.truncated),
        unread=not all(map(engine.preprocessor.knows, wanted)),
        timings_ms=add_up([own_ms, texts.timings_ms, images.timings_ms]),
    )


def text_warnings(answer: SearchAnswer) -> list[str]:
    """Return what the model could not make of the texts that were searched for; one sentence each."""
    sentences = {
        "The model read only the beginning of the text.": answer.truncated,
        "The model was not made for some characters of the text, which it cannot tell apart.": answer.unread,
    }
    return [sentence for sentence, holds in sentences.items() if holds]


def _find(table: ImageTable, ranking: _Ranking) -> _Found:
    """Return one page of the nearest images that reach the minimum score."""
    query, snapshot = ranking.query, table.snapshot()
    total = len(snapshot)
    searched = snapshot.count(query.where) if query.where else total
    end = query.offset + query.top_k
    effort: Effort = "full" if query.text.strip() or query.negative.strip() else "image"
    nearest = _nearest(snapshot, ranking, end + 1, effort)  # one more than wanted tells of another page
    scores = ranking.scores(nearest.cosines)
    reached = len(scores) if query.min_score is None else int((scores >= query.min_score).sum())
    page = nearest.best(min(reached, end)).after(query.offset)
    return _Found(
        records=snapshot.records(page),
        cosines=page.cosines,
        scores=scores[query.offset : query.offset + page.number],
        has_more=reached > end,
        searched=searched,
        total=total,
        exact=snapshot.is_exact,
        explanation="" if page.number else _explain(ranking, scores, reached, searched, total),
    )


def _nearest(snapshot: Snapshot, ranking: _Ranking, number: int, effort: Effort) -> Neighbours:
    """Return the nearest images, so many if there are; of duplicates the best, where the query wants that."""
    query, asked = ranking.query, number
    while True:
        (nearest,) = snapshot.nearest(ranking.direction[None], asked, query.where, effort=effort)
        if not query.hide_duplicates:
            return nearest
        _, first = np.unique(snapshot.originals(nearest), return_index=True)
        if len(first) >= number or nearest.number < asked:
            return nearest.at(np.sort(first)[:number])
        asked *= 4


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


def _explain(ranking: _Ranking, scores: NDArray[np.float32], reached: int, searched: int, total: int) -> str:
    """Return why a page has no hits.

    Args:
        ranking: what they are ranked by.
        scores: of the nearest images, best first.
        reached: how many of these reach the minimum score.
        searched: images that the filter left.
        total: images in the index.
    """
    if not total:
        return "The index is empty; add images to it."
    if not searched:
        return f"None of the {total:,} images meets the filter; loosen it."
    threshold = f"the threshold of {ranking.query.min_score:g}" if reached < len(scores) else ""
    if reached or not len(scores):
        reaching = f" that reach {threshold}" if threshold else ""
        return f"There are only {reached:,} images{reaching}; go back to an earlier page."
    return (
        f"The best {ranking.kind} is {scores[0]:.3f}, below {threshold}; lower it, or describe what you look"
        " for differently."
    )
