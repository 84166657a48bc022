"""The comparison on one image: a form on the left, every label by every model on the right."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import gradio as gr

from app.services import Services
from app.ui.compare_links import Linked
from app.ui.compare_one_cards import EMPTY_STATE
from app.ui.compare_one_handlers import CompareOneHandlers
from app.ui.compare_pictures import build_picture
from app.ui.engine_choice import BEST, engine_choices
from app.ui.uploads import EVENT_OPTIONS
from app.ui.zero_shot_tab import example_rows

_PRIVATE: dict[str, Any] = EVENT_OPTIONS | {"api_visibility": "private"}
_DISTRACTOR = "something else"
_SHOW_RESULTS = """() => document.getElementById("compare-one-results")
    .scrollIntoView({behavior: "smooth", block: "nearest"})"""


@dataclass(frozen=True, slots=True)
class CompareForm:
    """What a visitor fills in, in the order of `CompareQuestion`'s values."""

    image: gr.Image
    picture: gr.Dropdown
    labels: gr.Textbox
    models: gr.CheckboxGroup
    engines: gr.Dropdown
    sigmoid_templates: gr.Textbox
    softmax_templates: gr.Textbox
    distractor: gr.Textbox

    @property
    def components(self) -> list[gr.components.Component]:
        """Return all of them in order."""
        return [getattr(self, field.name) for field in fields(self)]


def build(services: Services) -> Linked:
    """Add the form and its results to the surrounding gr.Tab; return what a link fills in."""
    handlers, rows = CompareOneHandlers(services), example_rows()
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            form = _build_form(services.models)
            run = gr.Button("Compare", variant="primary")
            examples = gr.Dataset(
                components=[gr.Image(visible=False)],
                samples=[[path] for path, _ in rows],
                type="index",
                label="Examples: one click gives the answer",
                elem_id="compare-one-examples",
            )
        with gr.Column(scale=4, min_width=300):
            results = gr.HTML(EMPTY_STATE, label="Results", elem_id="compare-one-results")

    def on_example(index: int) -> tuple[str, str, str]:
        path, labels = rows[index]
        return path, Path(path).name, labels

    shown = examples.click(
        on_example, examples, [form.image, form.picture, form.labels], api_visibility="private"
    )
    for event in (shown.then, run.click):
        event(handlers.on_run, form.components, results, trigger_mode="multiple", **_PRIVATE).success(
            None, js=_SHOW_RESULTS, api_visibility="private"
        )
    return Linked(handlers.on_link, form.components)


def _build_form(models: tuple[str, ...]) -> CompareForm:
    image, picture = build_picture("compare-one-image")
    labels = gr.Textbox(
        label="Labels",
        info="One a line, or separated by commas on a single line.",
        value=example_rows()[0][1],
        lines=5,
        max_lines=12,
        elem_id="compare-one-labels",
    )
    chosen = gr.CheckboxGroup(list(models), value=list(models), label="Models")
    engines = gr.Dropdown(
        engine_choices(),
        value=[BEST],
        multiselect=True,
        label="Engines",
        info="Each model gets a column for each of them.",
        elem_id="compare-one-engines",
    )
    with gr.Accordion("Prompt templates", open=False):
        sigmoid = _template_box("SigLIP's kin: models with a sigmoid", "This is a photo of {label}.")
        softmax = _template_box("CLIP's kin: models with a softmax", "a photo of a {label}.")
    with gr.Accordion("Distractor", open=False):
        distractor = gr.Textbox(
            value=_DISTRACTOR,
            show_label=False,
            label="Distractor",
            info="One label more, to see what it does to the others. Empty: none.",
            max_lines=1,
        )
    return CompareForm(image, picture, labels, chosen, engines, sigmoid, softmax, distractor)


def _template_box(label: str, placeholder: str) -> gr.Textbox:
    return gr.Textbox(
        label=label,
        info="{label} marks the label's place; lines are averaged. Empty: each model's own.",
        placeholder=placeholder,
        lines=1,
        max_lines=8,
    )
