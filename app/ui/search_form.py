"""The left side of the search tab: what a visitor asks."""

from __future__ import annotations

from dataclasses import dataclass, fields

import gradio as gr

from app.services import Services
from app.ui.engine_choice import BEST, engine_choices
from app.ui.search_question import ANY, IMAGES, TEXTS
from use_cases.retrieval.demo_gallery import DEMO

# What the bundled models answer well about the shipped gallery.
EXAMPLES = ("a cat", "a castle", "fish in the sea", "a bicycle", "a musical instrument", "a bird")


@dataclass(frozen=True, slots=True)
class SearchForm:
    """What a visitor fills in, in the order of `SearchQuestion`'s values."""

    gallery: gr.Dropdown
    mode: gr.Radio
    text: gr.Textbox
    image: gr.Image
    like: gr.State
    tags: gr.Textbox
    models: gr.CheckboxGroup
    top_k: gr.Slider
    min_score: gr.Slider
    negative: gr.Textbox
    text_weight: gr.Slider
    image_weight: gr.Slider
    negative_weight: gr.Slider
    id_prefix: gr.Textbox
    caption_contains: gr.Textbox
    min_side: gr.Number
    orientation: gr.Dropdown
    hide_duplicates: gr.Checkbox
    engine: gr.Dropdown

    @property
    def components(self) -> list[gr.components.Component]:
        """Return all of them in order."""
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True, slots=True)
class SearchControls:
    """What of the left side is no part of the question."""

    search: gr.Button
    examples: gr.Dataset
    qualities: gr.HTML


def build_form(services: Services) -> tuple[SearchForm, SearchControls]:
    """Add the form to the surrounding column."""
    gallery = gr.Dropdown(services.galleries.names(), value=DEMO, label="Gallery")
    mode = gr.Radio([IMAGES, TEXTS], value=IMAGES, label="Find", elem_id="search-mode")
    text = gr.Textbox(
        label="What the image shows", placeholder="a castle on a hill", max_lines=1, elem_id="search-text"
    )
    tags = gr.Textbox(
        label="Texts to choose from",
        info="One a line. Empty: the gallery's captions, at most 2,048.",
        lines=4,
        max_lines=12,
        visible=False,
    )
    image = gr.Image(
        label="Or an image",
        sources=["upload", "clipboard"],
        height=190,
        elem_id="search-image",
    )
    search = gr.Button("Search", variant="primary")
    examples = gr.Dataset(
        components=[gr.Textbox(visible=False)],
        samples=[[each] for each in EXAMPLES],
        label="Examples: one click gives the answer",
        elem_id="search-examples",
    )
    models = gr.CheckboxGroup(list(services.models), value=list(services.models), label="Models")
    with gr.Accordion("Results and weights", open=False):
        top_k = gr.Slider(1, 50, value=10, step=1, label="Results per model")
        min_score = gr.Slider(
            0,
            1,
            value=0,
            step=0.01,
            label="Minimum score",
            info="0 shows all. For a text alone a sigmoid model's score is the probability that it fits;"
            " every other score is the cosine with the whole query, whose good values may be as low as 0.3.",
        )
        negative = gr.Textbox(label="Unwanted: what it should not show", placeholder="people", max_lines=1)
        text_weight = gr.Slider(0, 2, value=1, step=0.1, label="Weight of the text")
        image_weight = gr.Slider(0, 2, value=1, step=0.1, label="Weight of the image")
        negative_weight = gr.Slider(0, 2, value=0.5, step=0.1, label="Weight of the unwanted")
    with gr.Accordion("Filters", open=False):
        id_prefix = gr.Textbox(
            label="File name or path begins with", placeholder="holiday/2024/", max_lines=1
        )
        caption_contains = gr.Textbox(label="Caption contains", max_lines=1)
        min_side = gr.Number(value=0, precision=0, minimum=0, label="At least so many pixels wide and high")
        orientation = gr.Dropdown([ANY, "landscape", "portrait", "square"], value=ANY, label="Orientation")
        hide_duplicates = gr.Checkbox(label="Show near-duplicates once")
    with gr.Accordion("Engine: runtime and precision", open=False):
        engine = gr.Dropdown(engine_choices(), value=BEST, show_label=False, label="Engine")
        qualities = gr.HTML(elem_id="search-qualities")
    form = SearchForm(
        gallery=gallery,
        mode=mode,
        text=text,
        image=image,
        like=gr.State(""),
        tags=tags,
        models=models,
        top_k=top_k,
        min_score=min_score,
        negative=negative,
        text_weight=text_weight,
        image_weight=image_weight,
        negative_weight=negative_weight,
        id_prefix=id_prefix,
        caption_contains=caption_contains,
        min_side=min_side,
        orientation=orientation,
        hide_duplicates=hide_duplicates,
        engine=engine,
    )
    return form, SearchControls(search, examples, qualities)
