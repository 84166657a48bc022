"""Preparation mistakes: the same request prepared wrongly on purpose, and what that does to the scores."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import gradio as gr

from app.services import Services
from app.ui.compare_mistakes_cards import EMPTY_STATE, render_reports
from app.ui.compare_one_handlers import not_ready
from app.ui.compare_pictures import build_picture
from app.ui.engine_choice import BEST, engine_choices
from app.ui.errors import streams_errors
from app.ui.newest import newest_wins
from app.ui.uploads import EVENT_OPTIONS, Upload, as_names, as_text, uploaded_file
from app.ui.waiting import until_answered
from use_cases.comparison.mistakes import try_all
from use_cases.comparison.one_image import open_contestants, read_for
from use_cases.zero_shot import check_labels, parse_labels

_PRIVATE: dict[str, Any] = EVENT_OPTIONS | {"api_visibility": "private"}
_LABELS = "A Cat!\na dog\na lion\na horse\na bird"  # a capital and a mark, which careless texts keep
_SHOW_RESULTS = """() => document.getElementById("compare-mistakes-results")
    .scrollIntoView({behavior: "smooth", block: "nearest"})"""


class MistakeHandlers:
    """The handlers of the form's events, around the shared engines."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @streams_errors
    @newest_wins
    async def on_run(self, image: Upload, labels: Any, models: Any, engine: Any) -> AsyncGenerator[str, None]:
        """Yield the mistakes as HTML; how long it has waited while engines are loaded."""
        names, engine = as_names("models", models), as_text("engine", engine)
        waiting = not_ready(self._services, names, [engine])
        answer = self._answer(image, as_text("labels", labels), names, engine)
        async for shown in until_answered(answer, waiting, str):
            yield shown

    async def _answer(self, image: Upload, labels: str, models: list[str], engine: str) -> str:
        with self._services.metrics.request("page", "mistakes"):
            path, checked = uploaded_file(image), check_labels(parse_labels(labels))
            async with open_contestants(self._services.engine, models, [engine]) as contestants:
                reports, failed = await try_all(contestants, await read_for(contestants, path), checked, {})
        return render_reports(reports, {each.model: each.error for each in failed})


def build(services: Services) -> None:
    """Add the form and its results to the surrounding gr.Tab."""
    handlers = MistakeHandlers(services)
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            image, _ = build_picture("compare-mistakes-image")
            labels = gr.Textbox(
                label="Labels",
                info="One a line, or separated by commas on a single line.",
                value=_LABELS,
                lines=5,
                max_lines=12,
            )
            models = gr.CheckboxGroup(list(services.models), value=list(services.models), label="Models")
            engine = gr.Dropdown(
                engine_choices(),
                value=BEST,
                label="Engine",
                info="torch-fp32 can make mistakes that a fixed graph cannot.",
            )
            run = gr.Button("Make the mistakes", variant="primary")
        with gr.Column(scale=4, min_width=300):
            results = gr.HTML(EMPTY_STATE, label="Results", elem_id="compare-mistakes-results")
    run.click(handlers.on_run, [image, labels, models, engine], results, **_PRIVATE).success(
        None, js=_SHOW_RESULTS, api_visibility="private"
    )
