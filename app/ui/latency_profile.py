"""The profiler of the latency tab: which blocks and operators of an engine take the time, and the memory."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.services import Services
from app.ui.compare_plots import build_plots
from app.ui.latency_profile_cards import CSS
from app.ui.latency_profile_handlers import BATCH_SIZES, PROFILED, ProfileHandlers
from app.ui.uploads import EVENT_OPTIONS
from engines.profiling.blocks import TOWERS

_PRIVATE: dict[str, Any] = EVENT_OPTIONS | {"api_visibility": "private"}
_DEFAULT = "onnx-fp32"


def build_profile_panel(services: Services) -> None:
    """Add the choices, and places for what comes of them, to what surrounds this."""
    handlers = ProfileHandlers(services)
    with gr.Row(equal_height=False):
        model = gr.Dropdown(list(services.models), value=services.models[0], label="Model", min_width=160)
        engines = gr.Dropdown(
            list(PROFILED), value=[_DEFAULT], multiselect=True, label="Engines", min_width=200,
            info="Side by side, each in a process of its own.", elem_id="profile-engines",
        )  # fmt: skip
        tower = gr.Dropdown(list(TOWERS), value=TOWERS[0], label="Tower", min_width=100)
        size = gr.Dropdown(list(BATCH_SIZES), value=1, label="Batch size", min_width=100)
    with gr.Row(equal_height=False):
        start = gr.Button("Profile", variant="primary", min_width=140, elem_id="profile-start")
        stop = gr.Button("Stop", min_width=100)
    status = gr.HTML(css_template=CSS, elem_id="profile-status")
    plots = build_plots("profile-plots")
    tables = gr.HTML(css_template=CSS, elem_id="profile-tables")
    files = gr.Files(
        label="Chrome traces, for chrome://tracing or ui.perfetto.dev, and all numbers",
        interactive=False, visible=False, elem_id="profile-files",
    )  # fmt: skip
    running = start.click(
        handlers.on_profile,
        [model, engines, tower, size],
        [status, plots, tables, files],
        show_progress="hidden",
        **_PRIVATE,
    )
    stop.click(handlers.on_stop, None, status, cancels=[running], show_progress="hidden", **_PRIVATE)
