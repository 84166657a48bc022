"""What the comparison on one image does: ask each column, show them side by side, restore a link."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import gradio as gr

from app.services import Services
from app.ui.compare_links import read_link
from app.ui.compare_one_cards import render_comparison
from app.ui.compare_question import VIEW, CompareQuestion, LinkedInputs
from app.ui.errors import streams_errors
from app.ui.newest import newest_wins
from app.ui.uploads import uploaded_file
from app.ui.waiting import until_answered
from engines.errors import EngineError, InvalidInputError, UnknownModelError
from engines.loading import EngineKey
from engines.tracing import span
from use_cases.comparison.one_image import Comparison, compare_image, open_contestants, read_for


async def not_ready(services: Services, models: Sequence[str], engines: Sequence[str]) -> list[EngineKey]:
    """Return what would have to be loaded first to ask every model on every engine.

    Raises:
        InvalidInputError: when no model is named.
        UnknownModelError: when a model is not offered or an engine is not known.
    """
    if not models:
        raise InvalidInputError(f"No model is chosen; choose at least one of {', '.join(services.models)}.")
    keys: list[EngineKey] = []
    for model in models:
        for engine in engines or [""]:
            try:
                keys += await services.not_ready([model], engine)
            except UnknownModelError:
                raise
            except EngineError:  # its column will say so
                continue
    return keys


async def run_comparison(services: Services, question: CompareQuestion) -> Comparison:
    """Compare all chosen models on all chosen engines.

    Raises:
        EngineError: what is wrong with the question, or with every column.
    """
    path, labels, templates = uploaded_file(question.image), question.label_list, question.templates
    async with open_contestants(services.engine, question.models, question.engines) as contestants:
        image = await read_for(contestants, path)
        return await compare_image(contestants, image, labels, templates, question.distractor)


class CompareOneHandlers:
    """The handlers of the form's events, around the shared engines."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @streams_errors
    @newest_wins
    async def on_run(self, *values: Any) -> AsyncGenerator[str, None]:
        """Yield the comparison as HTML; how long it has waited while engines are loaded."""
        question = CompareQuestion.of(values)
        waiting = not_ready(self._services, question.models, question.engines)
        async for shown in until_answered(self._answer(question), waiting, str):
            yield shown

    def on_link(self, request: gr.Request) -> tuple[Any, ...]:
        """Return the tabs and the form's values that a link wants, or leave all as it is."""
        query = read_link(request, VIEW)
        if query is None:
            return (gr.skip(),) * 10
        linked = LinkedInputs.of(query, self._services.models)
        return (
            gr.Tabs(selected="compare"),
            gr.Tabs(selected="compare-one"),
            linked.image,
            linked.picture,
            linked.labels,
            linked.models,
            linked.engines,
            linked.sigmoid_templates,
            linked.softmax_templates,
            linked.distractor,
        )

    async def _answer(self, question: CompareQuestion) -> str:
        with self._services.metrics.request("page", "compare"):
            comparison = await run_comparison(self._services, question)
            with span("respond"):
                return render_comparison(comparison, question.link(), uploaded=not question.picture)
