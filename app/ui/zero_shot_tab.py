"""The zero-shot tab: an image and labels in, each model's scores out; also the endpoint /zero_shot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import gradio as gr
from gradio import media

from app.services import Services
from app.ui.engine_choice import BEST, engine_choices, render_qualities, render_waiting
from app.ui.errors import shows_errors, streams_errors
from app.ui.result_cards import EMPTY_STATE, render_cards
from app.ui.uploads import ENDPOINT_OPTIONS, EVENT_OPTIONS, Upload, as_names, as_text, uploaded_file
from engines.errors import EngineError
from engines.pool import PooledEngine
from use_cases.zero_shot import (
    Classification,
    check_labels,
    check_templates,
    classify_image,
    parse_labels,
)

_ANIMALS = "a cat\na dog\na lion\na horse\na bird"
_THINGS = "a bus\na cup of coffee\na rocket\na guitar\na bicycle"
_PEOPLE = "an astronaut\na diver\na firefighter\na cook"
# The results lie below the fold on a phone, and above it for who scrolled down to the examples on a desktop.
_SHOW_RESULTS = """() => document.getElementById("zero-shot-results")
    .scrollIntoView({behavior: "smooth", block: "nearest"})"""
_Request: TypeAlias = "tuple[Path, list[str], list[str]]"  # image, labels, templates
_EXAMPLES_DIR = Path(__file__).parent.parent / "examples"


def example_rows() -> list[tuple[str, str]]:
    """Return (image path, labels) for the examples; two images come with the gradio package.

    The last one is a page of text, which no label fits.
    """
    return [
        (str(_EXAMPLES_DIR / "cat.jpg"), _ANIMALS),
        (media.get_image("lion.jpg"), _ANIMALS),
        (str(_EXAMPLES_DIR / "coffee.jpg"), _THINGS),
        (str(_EXAMPLES_DIR / "rocket.jpg"), _THINGS),
        (media.get_image("bus.png"), _THINGS),
        (str(_EXAMPLES_DIR / "astronaut.jpg"), _PEOPLE),
        (str(_EXAMPLES_DIR / "page.jpg"), _ANIMALS),
    ]


def build_zero_shot_tab(services: Services) -> None:
    """Add the tab to the surrounding gr.Tabs."""
    rows = example_rows()

    def checked(image: Upload, labels: str, template: str) -> _Request:
        path = uploaded_file(image)
        label_list = check_labels(parse_labels(as_text("labels", labels)))
        return path, label_list, check_templates(as_text("template", template).splitlines())

    async def classified(pooled: Sequence[PooledEngine], request: _Request) -> list[Classification]:
        results = await classify_image(pooled, *request)
        for each, result in zip(pooled, results, strict=True):
            services.metrics.stages(each, result.timings_ms)
        return results

    async def answer(image: Upload, labels: str, template: str, models: list[str], engine: str) -> str:
        with services.metrics.request("page", "zero_shot"):
            request = checked(image, labels, template)
            pooled, failing = await services.passing_engines(models, engine)
            results = await classified(pooled, request)
        return render_cards(results, failing)

    @streams_errors
    async def on_run(
        image: Upload, labels: str, template: str, models: list[str], engine: str
    ) -> AsyncIterator[str]:
        start_s = time.monotonic()
        models, engine = as_names("models", models), as_text("engine", engine)
        waiting = await services.not_ready(models, engine)
        answering = asyncio.ensure_future(answer(image, labels, template, models, engine))
        try:
            while waiting and not (await asyncio.wait({answering}, timeout=1))[0]:
                yield render_waiting(waiting, time.monotonic() - start_s)
            yield await answering
        except EngineError:
            if waiting:
                yield EMPTY_STATE  # in place of a card that would wait for ever; an older answer stays
            raise
        finally:
            answering.cancel()  # of no effect when it has answered

    @shows_errors
    async def on_engine(models: list[str], engine: str) -> str:
        return render_qualities(await services.qualities(models or services.models, engine))

    def on_example(index: int) -> tuple[str, str]:
        return rows[index]

    @shows_errors
    async def zero_shot(
        image: Upload, labels: str, template: str, models: list[str], engine: str
    ) -> dict[str, Any]:
        """Score how well each label fits an image, with SigLIP-style and CLIP-style models.

        Args:
            image: the image file: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF; over MCP a data URI such as
                data:image/jpeg;base64,...
            labels: the classes, one a line or comma-separated, such as "a cat, a dog".
            template: a prompt with {label} in it, or several, one a line; empty for the model's own.
            models: names of the models to ask, see list_models.
            engine: the runtime and precision, such as "onnx-int8-dynamic"; empty for each model's best.
                The first use of a quantized engine builds it, which takes minutes.
        """
        with services.metrics.request("gradio", "zero_shot"):
            request = checked(image, labels, template)
            pooled = await services.engines(as_names("models", models), as_text("engine", engine))
            results = await classified(pooled, request)
        return {"results": [asdict(result) for result in results]}

    with gr.Tab("Zero-shot", id="zero-shot"):
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=300):
                image = gr.Image(label="Image", sources=["upload", "clipboard", "webcam"], height=300)
                labels = gr.Textbox(
                    label="Labels",
                    info="One a line, or separated by commas on a single line.",
                    value=_ANIMALS,
                    lines=5,
                    max_lines=12,
                )
                models = gr.CheckboxGroup(list(services.models), value=list(services.models), label="Models")
                with gr.Accordion("Engine: runtime and precision", open=False):
                    engine = gr.Dropdown(engine_choices(), value=BEST, show_label=False, label="Engine")
                    qualities = gr.HTML(elem_id="zero-shot-qualities")
                with gr.Accordion("Prompt template", open=False):
                    template = gr.Textbox(
                        value="",
                        show_label=False,
                        info="{label} marks the label's place; lines are averaged. Empty: the model's own.",
                        placeholder="a photo of {label}",
                        lines=1,
                        max_lines=8,
                    )
                run_button = gr.Button("Classify", variant="primary")
                examples = gr.Dataset(
                    components=[gr.Image(visible=False)],
                    samples=[[path] for path, _ in rows],
                    type="index",
                    label="Examples: one click gives the answer",
                    elem_id="zero-shot-examples",
                )
            with gr.Column(scale=3, min_width=300):
                results = gr.HTML(EMPTY_STATE, label="Results", elem_id="zero-shot-results")
        inputs = [image, labels, template, models, engine]
        page_options = EVENT_OPTIONS | {"api_visibility": "private"}
        shown = examples.click(on_example, examples, [image, labels], api_visibility="private").then(
            on_run, inputs, results, **page_options
        )
        answered = run_button.click(on_run, inputs, results, **page_options)
        for done in (shown.then, answered.then):
            done(None, js=_SHOW_RESULTS, api_visibility="private")
        for changed in (engine.change, models.change, shown.then, answered.then):  # an answer may measure
            changed(on_engine, [models, engine], qualities, api_visibility="private", concurrency_limit=None)
        with gr.Row(visible=False):
            endpoint, output = gr.Button(), gr.JSON()
            labels = gr.Textbox(label="Labels")  # without the page's example: a program says what it wants
        endpoint.click(
            zero_shot,
            [image, labels, template, models, engine],
            output,
            api_name="zero_shot",
            **ENDPOINT_OPTIONS,
        )
