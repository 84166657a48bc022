"""Every engine of one model: accuracy kept against float32, time, memory, size; recorded or measured here."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.services import Services
from app.ui import compare_engines_cards, compare_many_cards
from app.ui.compare_engines_handlers import ALL_PICTURES, FEW, SOME, EngineHandlers
from app.ui.compare_links import Linked
from app.ui.compare_many_files import build_downloads
from app.ui.compare_plots import build_plots
from app.ui.uploads import EVENT_OPTIONS
from engines.factory import ENGINES
from use_cases.comparison.engine_quality import held_out_gallery

CSS = compare_many_cards.CSS + compare_engines_cards.CSS
_PRIVATE: dict[str, Any] = EVENT_OPTIONS | {"api_visibility": "private"}
_QUIET = _PRIVATE | {"show_progress": "hidden"}
_LOOK_S = 2.0
_REFUSED = (
    "Visitors may not measure engines here, since that keeps the server busy for minutes. Who runs it can,"
    " with python -m app.cli.benchmark, or let them: see SIGLIP_ALLOW_MEASURING."
)


def build(services: Services) -> Linked:
    """Add the choices, the table and the chart to the surrounding gr.Tab; return what a link fills in."""
    handlers = EngineHandlers(services)
    total = len(held_out_gallery().pictures)
    with gr.Row(equal_height=False):
        model = gr.Dropdown(
            handlers.models,
            value=services.models[0],
            label="Model",
            info="Offered here, or recorded.",
            min_width=220,
            elem_id="compare-engines-model",
        )
        engines = gr.Dropdown(
            list(ENGINES),
            value=[],
            multiselect=True,
            label="Engines to measure",
            info="None: all of them.",
            min_width=220,
        )
        pictures = gr.Dropdown(
            [(str(FEW), FEW), (str(SOME), SOME), (f"all {total}", ALL_PICTURES)],
            value=SOME,
            label="Held-out pictures",
            info="More make the intervals narrower.",
            min_width=160,
        )
    may_measure = services.may_measure
    with gr.Row(equal_height=False, visible=may_measure) as controls:
        run = gr.Button("Run it here", variant="primary", min_width=140, elem_id="compare-engines-run")
        stop = gr.Button("Stop", min_width=100, elem_id="compare-engines-stop")
    refused = gr.HTML(
        compare_engines_cards.render_status([_REFUSED]), css_template=CSS, visible=not may_measure
    )
    estimate = gr.HTML(css_template=CSS, elem_id="compare-engines-estimate")
    timer = gr.Timer(_LOOK_S, active=False)  # ticks while the model is being loaded
    status = gr.HTML(css_template=CSS, elem_id="compare-engines-status")
    source = gr.Radio([], label="Numbers", visible=False, elem_id="compare-engines-source")
    plots = build_plots("compare-engines-plots")
    board = gr.HTML(css_template=CSS, elem_id="compare-engines-table")
    downloads = build_downloads()
    with gr.Accordion("Other committed records of this model", open=False):
        others = gr.HTML(css_template=CSS)
    shown = [plots, source, board, others, *downloads]
    asked = [model, engines, pictures]
    # Another model must not be chosen while rows of this one are still to come.
    locked = run.click(lambda: gr.update(interactive=False), None, model, **_QUIET)
    running = locked.then(handlers.on_run, asked, [status, *shown], show_progress_on=status, **_PRIVATE)
    running.then(lambda: gr.update(interactive=True), None, model, **_QUIET)
    stop.click(handlers.on_stop, None, status, **_QUIET)
    source.input(handlers.on_source, [model, source], shown, **_QUIET)
    # Without triggers: when the page is opened, and whenever an input changes.
    gr.on(None, handlers.on_may_measure, None, [controls, refused], **_QUIET)
    gr.on(None, handlers.on_show, model, shown, **_QUIET)
    gr.on(None, handlers.on_look, asked, [estimate, timer], **_QUIET)
    # What has been loaded or built meanwhile changes how long it takes.
    for event in (timer.tick, running.then):
        event(handlers.on_look, asked, [estimate, timer], **_QUIET)
    return Linked(handlers.on_link, asked)
