"""What the tab of many images does: read what was filled in, ask the models, draw their answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import gradio as gr

from app.services import Services
from app.ui.compare_links import first, make_link, read_link, render_link
from app.ui.compare_many_cards import render_comparison
from app.ui.compare_many_files import dropped_images, gallery_images, offer_downloads
from app.ui.compare_plots import heatmaps
from app.ui.engine_choice import BEST
from app.ui.errors import streams_errors
from app.ui.newest import newest_wins
from app.ui.uploads import as_names, as_text
from engines.errors import InvalidInputError
from engines.factory import ENGINES
from engines.gallery import gallery
from use_cases.comparison.engine_records import origin
from use_cases.comparison.many import ManyComparison, ManyQuestion, compare_many
from use_cases.comparison.many_tables import many_csv, many_json, many_markdown
from use_cases.comparison.provenance import measured_here

VIEW = "compare-many"  # the value of "view" in a link
_STEM = "comparison-of-many"


class ManyHandlers:
    """The handlers of the tab's events, around the shared engines."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @streams_errors
    @newest_wins
    async def on_run(
        self, files: Any, pictures: Any, texts: Any, in_order: Any, models: Any, engines: Any
    ) -> AsyncGenerator[tuple[Any, ...], None]:
        """Yield the charts, the tables, and files to download."""
        with self._services.metrics.request("page", "compare_many"):
            dropped, strays = await asyncio.to_thread(dropped_images, files)
            images = [*dropped, *gallery_images(as_names("pictures", pictures))]
            question = ManyQuestion(
                images=tuple(images),
                texts=tuple(_lines(as_text("texts", texts))),
                columns=self._columns(as_names("models", models), as_names("engines", engines)),
                in_order=in_order is True,
            )
            comparison = await compare_many(question, self._services.engine)
        pairs = [("image", each) for each in as_names("pictures", pictures)]
        pairs += [("texts", "\n".join(question.texts)), ("in_order", str(int(question.in_order)))]
        pairs += [("model", each) for each in as_names("models", models)]
        pairs += [("engine", each) for each in as_names("engines", engines)]
        link = render_link(make_link(VIEW, pairs), uploaded=bool(dropped))
        yield await asyncio.to_thread(_drawn, comparison, strays, link)

    def on_link(self, request: gr.Request) -> tuple[Any, ...]:
        """Return the tabs and the form's values that a link wants, or leave all as it is."""
        query = read_link(request, VIEW)
        if query is None:
            return (gr.skip(),) * 7
        known = {image.path.name for image in gallery()}
        offered = self._services.models
        return (
            gr.Tabs(selected="compare"),
            gr.Tabs(selected=VIEW),
            [name for name in query.get("image", ()) if name in known],
            first(query, "texts"),
            first(query, "in_order") != "0",
            [model for model in query.get("model", ()) if model in offered] or list(offered),
            [engine for engine in query.get("engine", ()) if engine in ENGINES or not engine] or [BEST],
        )

    def _columns(self, models: list[str], engines: list[str]) -> tuple[tuple[str, str], ...]:
        """Return each model on each engine, in the server's order of models."""
        unknown = [model for model in models if model not in self._services.models]
        if unknown or not models:
            raise InvalidInputError(f"Choose at least one of the models {', '.join(self._services.models)}.")
        chosen = [model for model in self._services.models if model in models]
        return tuple((model, engine) for model in chosen for engine in engines or [""])


def _lines(text: str) -> list[str]:
    """Return one text a line, without blank ones."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def _drawn(comparison: ManyComparison, strays: list[str], link: str) -> tuple[Any, ...]:
    facts = measured_here()
    where = origin(facts)
    contents = {
        "CSV": many_csv(comparison),
        "JSON": many_json(comparison, facts),
        "Markdown": many_markdown(comparison, where),
    }
    downloads = offer_downloads(_STEM, contents)
    return heatmaps(comparison), render_comparison(comparison, strays, where, link), *downloads
