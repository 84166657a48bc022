"""The latency tab: where requests spend their time, live; it asks for nothing while it is not open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import gradio as gr

from app.services import Services
from app.ui import latency_cards
from app.ui.compare_plots import build_plots
from app.ui.latency_handlers import (
    ALL,
    BATCH_SIZES,
    MAX_CLIENTS,
    MAX_LOAD_S,
    MAX_WAIT_MS,
    WINDOWS,
    LatencyHandlers,
)
from app.ui.latency_plots import build_latency_plots
from app.ui.latency_profile import build_profile_panel
from app.ui.uploads import EVENT_OPTIONS
from use_cases.telemetry.views import WHOLE

CSS = latency_cards.CSS
_LOOK_S = 2.0
_PRIVATE: dict[str, Any] = EVENT_OPTIONS | {"api_visibility": "private"}
_QUIET = _PRIVATE | {"show_progress": "hidden"}
_ID = "latency"


def build_latency_tab(services: Services, tabs: gr.Tabs) -> None:
    """Add the tab to the surrounding gr.Tabs.

    Args:
        services: whose telemetry is shown.
        tabs: the surrounding ones; the tab looks only while it is the open one.
    """
    handlers = LatencyHandlers(services)
    with gr.Tab("Latency", id=_ID):
        timer = gr.Timer(_LOOK_S, active=False)
        with gr.Row(equal_height=False):
            engine = gr.Dropdown([ALL], value=ALL, label="Engine", min_width=200, elem_id="latency-engine")
            stage = gr.Dropdown(
                [WHOLE], value=WHOLE, label="Stage over time", min_width=160, elem_id="latency-stage"
            )
            window = gr.Dropdown(
                [(f"{seconds // 60} min", seconds) for seconds in WINDOWS],
                value=WINDOWS[0], label="Window", min_width=100,
            )  # fmt: skip
        with gr.Row():
            pause = gr.Checkbox(label="Pause", min_width=80, elem_id="latency-pause")
            csv = gr.Button("Stages as CSV", size="sm", min_width=110, elem_id="latency-csv")
            trace = gr.Button("Requests as Chrome trace", size="sm", min_width=110, elem_id="latency-trace")
            reset = gr.Button("Reset", size="sm", min_width=80, visible=services.may_measure)
        status = gr.HTML(css_template=CSS)
        shares = gr.HTML(latency_cards.EMPTY, css_template=CSS, elem_id="latency-shares")
        plots = build_latency_plots()
        times = gr.HTML(css_template=CSS, elem_id="latency-times")
        with gr.Accordion(
            "Make load, change the worker's limits", open=False, visible=services.may_measure
        ) as change:
            _build_change(services, handlers)
        with gr.Accordion("Profile engines", open=False, visible=services.may_measure) as profiling:
            build_profile_panel(services)
        shown = gr.State([])
        asked = [window, stage, engine, shown]
        outputs = [plots, shares, times, status, stage, engine, shown]
        timer.tick(handlers.on_look, asked, outputs, **_QUIET)
        for choice in (window, stage, engine):
            choice.input(handlers.on_look, asked, outputs, **_QUIET)
        opened = tabs.select(_on_tab, pause, timer, api_visibility="private", show_progress="hidden")
        # Who pauses before that has answered is paused all the same.
        opened.then(lambda paused: gr.Timer(active=False) if paused else gr.skip(), pause, timer, **_QUIET)
        opened.then(handlers.on_rights, None, [change, profiling, reset], **_QUIET)
        pause.input(lambda paused: gr.Timer(active=not paused), pause, timer, **_QUIET)
        for button, make in ((csv, handlers.on_csv), (trace, handlers.on_chrome_trace)):
            _offer(button, make, [window, engine])
        reset.click(handlers.on_reset, None, None, **_PRIVATE).then(
            handlers.on_look, asked, outputs, **_QUIET
        )


def _build_change(services: Services, handlers: LatencyHandlers) -> None:
    limits = services.pool.worker.limits
    with gr.Row(equal_height=False):
        size = gr.Dropdown(
            list(BATCH_SIZES), value=limits.max_batch_size, label="Largest batch", min_width=120,
            info="Items in an engine call.", elem_id="latency-batch",
        )  # fmt: skip
        wait = gr.Slider(
            0, MAX_WAIT_MS, value=limits.max_wait_ms, step=0.5, label="Longest wait", min_width=200,
            info="Milliseconds that a request is held back for company, where company pays.",
        )  # fmt: skip
    held = gr.HTML(css_template=CSS)
    with gr.Row(equal_height=False):
        model = gr.Dropdown(list(services.models), value=services.models[0], label="Model", min_width=160)
        clients = gr.Slider(1, MAX_CLIENTS, value=4, step=1, label="Clients", min_width=160)
        seconds = gr.Slider(1, MAX_LOAD_S, value=10, step=1, label="Seconds", min_width=160)
    start = gr.Button("Make load", variant="primary", elem_id="latency-load")
    said = gr.HTML(css_template=CSS)
    trade = build_plots("latency-trade")
    loads = gr.HTML(css_template=CSS, elem_id="latency-loads")
    for limit in (size.input, wait.release):
        limit(handlers.on_limits, [size, wait], held, **_QUIET)
    start.click(
        handlers.on_load, [model, clients, seconds], [said, loads, trade], show_progress_on=said, **_PRIVATE
    )


def _offer(button: gr.Button, make: Callable[..., Awaitable[str]], asked: list[Any]) -> None:
    """Make a file when a button is clicked, and let the browser save it."""
    file = gr.DownloadButton(visible="hidden", elem_id=f"{button.elem_id}-file")
    made = button.click(make, asked, file, **_PRIVATE)
    made.success(None, None, None, js=f"() => document.querySelector('#{file.elem_id}').click()", **_QUIET)


def _on_tab(paused: bool, chosen: gr.SelectData) -> gr.Timer:
    """Let the timer run while the tab is open."""
    return gr.Timer(active=chosen.value == "Latency" and not paused)
