"""What the search tab does: ask each model about a gallery, page through the answer, follow a click."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.gallery_search import open_table
from app.services import Services
from app.ui.engine_choice import render_qualities
from app.ui.errors import shows_errors, streams_errors
from app.ui.newest import newest_wins
from app.ui.search_cards import EMPTY_STATE, Answer, render_answers
from app.ui.search_progress import page_sentence
from app.ui.search_question import IMAGES, SearchQuestion, event_text
from app.ui.uploads import as_names, as_text
from app.ui.waiting import until_answered
from engines.errors import InvalidInputError
from engines.pool import PooledEngine
from engines.preparation.source import SourceImage
from engines.tracing import span
from use_cases.images import read_image
from use_cases.retrieval.errors import IndexBusyError, IndexMismatchError, UnknownIndexError
from use_cases.retrieval.image_table import ImageTable
from use_cases.retrieval.query import MAX_RESULTS
from use_cases.retrieval.records import ImageRecord
from use_cases.retrieval.search import SearchAnswer, search_images
from use_cases.retrieval.text_search import TextAnswer, search_texts
from use_cases.zero_shot import min_image_side

# What a search shows: the results, what they are a page of, and the row, back and forward of the pages.
Shown = tuple[Any, Any, Any, Any, Any]
_SAME_PAGES = (gr.skip(), gr.skip(), gr.skip(), gr.skip())
_NO_PAGES = (None, gr.update(visible=False), gr.skip(), gr.skip())
_STOCKING = "The gallery is being filled; its images are found as soon as they are in it."


@dataclass(frozen=True, slots=True)
class SearchPage:
    """A page of results that is shown."""

    question: SearchQuestion
    offset: int


class SearchHandlers:
    """The handlers of the tab's events, around the shared engines and galleries."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @streams_errors
    async def on_search(self, *values: Any) -> AsyncGenerator[Shown, None]:
        """Yield the first page of results; how long it has waited while engines are loaded."""
        async for shown in self._run(SearchQuestion.of(values), 0):
            yield shown

    @streams_errors
    async def on_next(self, page: SearchPage | None) -> AsyncGenerator[Shown, None]:
        """Yield the page after one that is shown, whatever has been changed in the form since."""
        if page is not None:
            async for shown in self._run(page.question, page.offset + page.question.page_size):
                yield shown

    @streams_errors
    async def on_previous(self, page: SearchPage | None) -> AsyncGenerator[Shown, None]:
        """Yield the page before one that is shown."""
        if page is not None:
            async for shown in self._run(page.question, max(page.offset - page.question.page_size, 0)):
                yield shown

    @streams_errors
    async def on_change(self, *values: Any) -> AsyncGenerator[Shown, None]:
        """Do what `on_search` does when there is still something to look for; else show how to begin."""
        async for shown in self._run(SearchQuestion.of(values), 0, may_be_empty=True):
            yield shown

    @shows_errors
    async def on_pick(self, event: gr.EventData) -> tuple[str, str, str, None, str]:
        """Return mode, text, "not", upload and id of the query that a click on a result stands for."""
        return IMAGES, event_text(event, "text"), "", None, event_text(event, "id")

    @shows_errors
    async def on_engine(self, models: Any, engine: Any) -> str:
        """Return how close the chosen engine is to float32, as HTML."""
        names, engine = as_names("models", models), as_text("engine", engine)
        return render_qualities(await self._services.qualities(names or self._services.models, engine))

    @newest_wins
    async def _run(
        self, question: SearchQuestion, offset: int, *, may_be_empty: bool = False
    ) -> AsyncGenerator[Shown, None]:
        if may_be_empty and not question.has_query:
            yield EMPTY_STATE, *_NO_PAGES
            return
        waiting = self._services.not_ready(*question.chosen)

        def note(waited: str) -> Shown:
            return waited, *_SAME_PAGES

        def failed(why: str) -> Shown:
            return why, *_NO_PAGES

        async for shown in until_answered(self._answer(question, offset), waiting, note, failed):
            yield shown

    async def _answer(self, question: SearchQuestion, offset: int) -> Shown:
        with self._services.metrics.request("page", "search"):
            pooled, failing = await self._services.passing_engines(*question.chosen)
            pooled.sort(key=lambda each: self._services.models.index(each.engine.spec.name))
            image = await self._image(question, pooled)
            answers: dict[str, Answer] = {}
            liked: ImageRecord | None = None
            found = await asyncio.gather(*(self._ask(each, question, image, offset) for each in pooled))
            for each, (answer, record) in zip(pooled, found, strict=True):
                answers[each.engine.spec.name] = answer
                liked = liked or record
            answers.update({model: str(error) for model, error in failing.items()})
            with span("respond"):
                return self._shown(question, offset, answers, liked)

    async def _ask(
        self, pooled: PooledEngine, question: SearchQuestion, image: SourceImage | None, offset: int
    ) -> tuple[Answer, ImageRecord | None]:
        """Return what one model found, and the image of the gallery that was searched by."""
        try:
            table = await open_table(self._services, question.gallery_name, pooled.engine.spec)
            liked = await asyncio.to_thread(_liked, table, question) if question.liked and not image else None
            answer: SearchAnswer | TextAnswer
            if question.wants_texts:
                answer = await self._find_texts(pooled, table, question, image, liked)
            else:
                answer = await search_images(pooled, table, question.query(image, offset))
        except UnknownIndexError as error:
            return await self._why_missing(question.gallery_name, str(error)), None
        except (IndexMismatchError, IndexBusyError) as error:
            return page_sentence(error), None
        if isinstance(answer, SearchAnswer) and not answer.total:
            return await self._why_missing(question.gallery_name, answer.explanation), None
        return answer, liked

    async def _find_texts(
        self,
        pooled: PooledEngine,
        table: ImageTable,
        question: SearchQuestion,
        image: SourceImage | None,
        liked: ImageRecord | None,
    ) -> TextAnswer:
        if image is None and liked is not None:  # the index keeps no more of its images than that
            side = min_image_side([pooled.engine.spec])
            image = await read_image(liked.thumbnail, side, self._services.pool.worker.cache)
        if image is None:
            raise InvalidInputError(
                "There is no image that the texts could fit; drop one, or click a result."
            )
        return await search_texts(pooled, image, question.candidates() or table, question.page_size)

    async def _image(self, question: SearchQuestion, pooled: Sequence[PooledEngine]) -> SourceImage | None:
        path = question.file()
        if path is None:
            return None
        side = min_image_side([each.engine.spec for each in pooled])
        return await read_image(path, side, self._services.pool.worker.cache)

    async def _why_missing(self, gallery: str, reason: str) -> str:
        if gallery not in await asyncio.to_thread(self._services.galleries.names):
            return reason
        job = (await self._services.galleries.status(gallery)).job
        return reason if job is None or job.has_ended else _STOCKING

    def _shown(
        self, question: SearchQuestion, offset: int, answers: dict[str, Answer], liked: ImageRecord | None
    ) -> Shown:
        pages = [each for each in answers.values() if isinstance(each, SearchAnswer)]
        more = any(each.has_more for each in pages) and offset + 2 * question.page_size <= MAX_RESULTS
        return (
            render_answers(answers, liked),
            SearchPage(question, offset),
            gr.update(visible=bool(offset) or more),
            gr.update(interactive=offset > 0),
            gr.update(interactive=more),
        )


def _liked(table: ImageTable, question: SearchQuestion) -> ImageRecord | None:
    records, _ = table.snapshot().find([question.liked])
    return records[0] if records else None
