"""Search a gallery with some models, as the doors for programs do: several queries at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

from app.services import Services
from engines.errors import EngineError, InferenceError, InvalidInputError
from engines.models import ModelSpec
from engines.pool import PooledEngine
from engines.preparation.source import SourceImage
from use_cases.retrieval.demo_gallery import DEMO
from use_cases.retrieval.errors import IndexBusyError, IndexMismatchError, UnknownIndexError
from use_cases.retrieval.image_table import ImageTable
from use_cases.retrieval.query import ImageQuery
from use_cases.retrieval.search import SearchAnswer, search_images
from use_cases.retrieval.text_search import TextAnswer, search_texts

A = TypeVar("A", SearchAnswer, TextAnswer)
Q = TypeVar("Q")

Found: TypeAlias = SearchAnswer | TextAnswer | EngineError
_AT_ONCE = 64  # queries, so that a batch fills engine calls but not the engine's queue
_OF_ONE_QUERY = (InvalidInputError, InferenceError, UnknownIndexError)


async def open_table(services: Services, gallery: str, spec: ModelSpec) -> ImageTable:
    """Return a gallery's images as one model sees them.

    Raises:
        IndexBusyError: when the shipped gallery is being embedded anew, because the model has changed.
        UnknownIndexError: when there is no such gallery, or it has nothing of that model.
        IndexMismatchError: when another gallery was built with another state of the model.
        IndexStorageError: when it cannot be read.
    """
    try:
        return await services.galleries.table(gallery, spec)
    except IndexMismatchError:
        if gallery != DEMO:
            raise
        changed = f"{spec.name} has changed since it embedded the shipped gallery"
        if services.gallery_options.builds_demo:
            raise IndexBusyError(f"{changed}, which is embedded anew; ask again in a minute.") from None
        raise UnknownIndexError(f"{changed}; start the server with SIGLIP_DEMO_GALLERY=true.") from None


async def find_images(
    services: Services, gallery: str, pooled: Sequence[PooledEngine], queries: Sequence[ImageQuery]
) -> list[tuple[Found, ...]]:
    """Return for each query what each model found, or what is wrong with the query.

    Raises:
        UnknownIndexError: when there is no such gallery, or it has nothing of a model yet.
        EngineError: what else is wrong with more than a query.
    """
    tables = await _open_tables(services, gallery, pooled)
    by_model: list[Sequence[Found]] = []
    for each, table in zip(pooled, tables, strict=True):
        answers = await _ask(partial(search_images, each, table), queries)
        by_model.append(await _mind_building(services, gallery, answers))
    return list(zip(*by_model, strict=True))


async def find_texts(
    services: Services,
    gallery: str,
    pooled: Sequence[PooledEngine],
    images: Sequence[SourceImage],
    texts: Sequence[str],
    top_k: int,
) -> list[tuple[Found, ...]]:
    """Return for each image the texts that each model found, or what is wrong with the image.

    Args:
        services: with the galleries.
        gallery: whose captions are searched if there are no texts.
        pooled: the running engines.
        images: that the texts should fit.
        texts: to choose from.
        top_k: how many are wanted for each image.

    Raises:
        EngineError: what `find_images` raises.
    """
    among: list[Sequence[str] | ImageTable] = [texts] * len(pooled)
    if not texts:
        among = [*await _open_tables(services, gallery, pooled)]
    by_model = [
        await _ask(partial(search_texts, each, texts=source, top_k=top_k), images)
        for each, source in zip(pooled, among, strict=True)
    ]
    return list(zip(*by_model, strict=True))


async def _ask(find: Callable[[Q], Coroutine[Any, Any, A]], queries: Sequence[Q]) -> list[A | EngineError]:
    """Return what one model finds for each query; what is wrong with one query alone is its answer."""
    turn = asyncio.Semaphore(_AT_ONCE)

    async def ask(query: Q) -> A:
        async with turn:
            return await find(query)

    answers = await asyncio.gather(*map(ask, queries), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, _OF_ONE_QUERY):
            raise answer
    return answers  # type: ignore[return-value]  # what else it could hold was raised


async def _open_tables(services: Services, gallery: str, pooled: Sequence[PooledEngine]) -> list[ImageTable]:
    try:
        return [await open_table(services, gallery, each.engine.spec) for each in pooled]
    except UnknownIndexError:
        if note := await _building_note(services, gallery):
            raise UnknownIndexError(f"The gallery {gallery!r} has no images yet. {note}") from None
        raise


async def _mind_building(
    services: Services, gallery: str, answers: Sequence[SearchAnswer | EngineError]
) -> list[Found]:
    """Let answers without hits say so if images are still being added."""
    empty = [isinstance(answer, SearchAnswer) and not answer.hits for answer in answers]
    note = await _building_note(services, gallery) if any(empty) else ""
    return [
        replace(answer, explanation=f"{answer.explanation} {note}")
        if note and isinstance(answer, SearchAnswer) and not answer.hits
        else answer
        for answer in answers
    ]


async def _building_note(services: Services, gallery: str) -> str:
    job = (await services.galleries.status(gallery)).job
    if job is None or job.has_ended:
        return ""
    of = "" if job.progress.total is None else f" of {job.progress.total:,}"
    return f"Images are being added: {job.progress.done:,}{of} so far."
