"""Many images against many texts: heatmaps of several models, how far they agree, and calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.services import Services
from app.ui.compare_links import Linked
from app.ui.compare_many_cards import CSS, EMPTY_STATE
from app.ui.compare_many_files import FILE_TYPES, build_downloads
from app.ui.compare_many_handlers import ManyHandlers
from app.ui.compare_plots import build_plots
from app.ui.engine_choice import BEST, engine_choices
from app.ui.uploads import EVENT_OPTIONS
from engines.gallery import gallery
from use_cases.comparison.many import MAX_IMAGES, MAX_TEXTS

# Photographs, drawings and print that are easy to tell apart, and two pairs that are not.
EXAMPLE = (
    "cat.jpg", "kitten.jpg", "coffee.jpg", "rocket.jpg", "astronaut.jpg", "clownfish.jpg",
    "green-bicycle.png", "blue-bicycle.png", "colosseum.jpg", "page.jpg", "strawberry.png", "violin.png",
)  # fmt: skip
_PRIVATE: dict[str, Any] = EVENT_OPTIONS | {"api_visibility": "private"}
_SHOW = """() => document.getElementById("compare-many-plots")
    .scrollIntoView({behavior: "smooth", block: "nearest"})"""


@dataclass(frozen=True, slots=True)
class _Form:
    """What a visitor fills in, in the order of the handler's parameters."""

    files: gr.File
    pictures: gr.Dropdown
    texts: gr.Textbox
    in_order: gr.Checkbox
    models: gr.CheckboxGroup
    engines: gr.Dropdown

    @property
    def components(self) -> list[gr.components.Component]:
        return [self.files, self.pictures, self.texts, self.in_order, self.models, self.engines]


def build(services: Services) -> Linked:
    """Add the form, the charts and the tables to the surrounding gr.Tab; return what a link fills in."""
    handlers = ManyHandlers(services)
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            form = _build_form(services)
            run = gr.Button("Compare", variant="primary", elem_id="compare-many-run")
            example = gr.Button(
                f"Example: {len(EXAMPLE)} pictures with their captions",
                size="sm",
                elem_id="compare-many-example",
            )
        with gr.Column(scale=4, min_width=300):
            plots = build_plots("compare-many-plots")
            tables = gr.HTML(EMPTY_STATE, css_template=CSS, elem_id="compare-many-tables")
            downloads = build_downloads()
    outputs = [plots, tables, *downloads]
    chosen = example.click(
        lambda: (None, list(EXAMPLE), ""), None, [form.files, form.pictures, form.texts], **_PRIVATE
    )
    answered = [
        event(handlers.on_run, form.components, outputs, trigger_mode="multiple", **_PRIVATE)
        for event in (run.click, chosen.then)
    ]
    for event in answered:
        event.success(None, js=_SHOW, api_visibility="private")
    return Linked(handlers.on_link, form.components[1:])


def _build_form(services: Services) -> _Form:
    files = gr.File(
        label=f"Up to {MAX_IMAGES} images, and captions",
        file_count="multiple",
        file_types=FILE_TYPES,
        height=170,
        elem_id="compare-many-files",
    )
    pictures = gr.Dropdown(
        [image.path.name for image in gallery()],
        value=[],
        multiselect=True,
        max_choices=MAX_IMAGES,
        label="Pictures of the shipped gallery",
        elem_id="compare-many-pictures",
    )
    texts = gr.Textbox(
        label="Texts",
        info=f"One a line, up to {MAX_TEXTS}. Empty: the captions, from photo.txt for photo.jpg, from a"
        " dropped table (CSV, TSV, COCO's JSON), or the gallery's own.",
        lines=4,
        max_lines=12,
    )
    models = gr.CheckboxGroup(list(services.models), value=list(services.models), label="Models")
    with gr.Accordion("Engines and pairs", open=False):
        engines = gr.Dropdown(
            engine_choices(), value=[BEST], multiselect=True, label="Engines, each for every model"
        )
        in_order = gr.Checkbox(
            True,
            label="Text 1 describes image 1, and so on",
            info="Where there are as many texts as images and not all of them are captions.",
        )
    return _Form(files, pictures, texts, in_order, models, engines)
