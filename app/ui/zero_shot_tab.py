"""The zero-shot tab: an image and labels in, each model's scores out; also the endpoint /zero_shot."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr
from gradio import media

from app.services import Services
from app.ui.engine_choice import BEST, engine_choices
from app.ui.result_cards import EMPTY_STATE
from app.ui.uploads import ENDPOINT_OPTIONS, EVENT_OPTIONS
from app.ui.zero_shot_handlers import ZeroShotHandlers
from engines.gallery import GALLERY_DIR

_ANIMALS = "a cat\na dog\na lion\na horse\na bird"
_THINGS = "a bus\na cup of coffee\na rocket\na guitar\na bicycle"
_PEOPLE = "an astronaut\na diver\na firefighter\na cook"
# The results lie below the fold on a phone, and above it for who scrolled down to the examples on a desktop.
_SHOW_RESULTS = """() => document.getElementById("zero-shot-results")
    .scrollIntoView({behavior: "smooth", block: "nearest"})"""
_EXAMPLES_DIR = GALLERY_DIR / "images"


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


@dataclass(frozen=True, slots=True)
class _Question:
    """What a visitor fills in, in the order of the handlers' parameters."""

    image: gr.Image
    labels: gr.Textbox
    template: gr.Textbox
    models: gr.CheckboxGroup
    engine: gr.Dropdown

    @property
    def components(self) -> list[gr.components.Component]:
        return [self.image, self.labels, self.template, self.models, self.engine]


def build_zero_shot_tab(services: Services) -> None:
    """Add the tab to the surrounding gr.Tabs."""
    handlers, rows = ZeroShotHandlers(services), example_rows()

    def on_example(index: int) -> tuple[str, str]:
        return rows[index]

    with gr.Tab("Zero-shot", id="zero-shot"):
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=300):
                question, qualities = _build_question(services.models)
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
        page_options = EVENT_OPTIONS | {"api_visibility": "private", "trigger_mode": "multiple"}
        shown = examples.click(
            on_example, examples, [question.image, question.labels], api_visibility="private"
        ).then(handlers.on_run, question.components, results, **page_options)
        answered = run_button.click(handlers.on_run, question.components, results, **page_options)
        for done in (shown.then, answered.then):
            done(None, js=_SHOW_RESULTS, api_visibility="private")
        # An answer may have measured how close an engine is.
        for changed in (question.engine.change, question.models.change, shown.then, answered.then):
            changed(
                handlers.on_engine,
                [question.models, question.engine],
                qualities,
                api_visibility="private",
                concurrency_limit=None,
            )
        _build_endpoint(handlers, question)


def _build_question(models: tuple[str, ...]) -> tuple[_Question, gr.HTML]:
    """Add what a visitor fills in; return it, and where the engine's qualities are shown."""
    image = gr.Image(label="Image", sources=["upload", "clipboard", "webcam"], height=300)
    labels = gr.Textbox(
        label="Labels",
        info="One a line, or separated by commas on a single line.",
        value=_ANIMALS,
        lines=5,
        max_lines=12,
    )
    chosen = gr.CheckboxGroup(list(models), value=list(models), label="Models")
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
    return _Question(image, labels, template, chosen, engine), qualities


def _build_endpoint(handlers: ZeroShotHandlers, question: _Question) -> None:
    """Add the endpoint, whose labels have no default: a program says what it wants."""
    with gr.Row(visible=False):
        button, output = gr.Button(), gr.JSON()
        labels = gr.Textbox(label="Labels")
    components = [question.image, labels, question.template, question.models, question.engine]
    button.click(handlers.zero_shot, components, output, api_name="zero_shot", **ENDPOINT_OPTIONS)
