"""Charts of the latency tab as figures for plotly, and the component that draws them again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from app.ui.compare_plots import COLOURS, CSS, Figure, escape_ticks
from app.ui.plotly_html import build_plotly_html
from engines.tracing import Trace
from use_cases.load.inside import InsideLoad
from use_cases.telemetry.shares import BETWEEN
from use_cases.telemetry.sketches import EMBED
from use_cases.telemetry.views import View

_SCRIPT = Path(__file__).with_name("latency_plots.js")
_TEMPLATE = '<div class="plots"></div><p class="plots-problem" role="status" hidden></p>'
_NO_SAMPLES = "Nothing yet: the server's state is sampled every five seconds."
_DASHES = {"p50": "solid", "p90": "dash", "p99": "dot"}
_STAGE_COLOURS = {  # all can be seen on white and on the dark theme's grounds
    "receive": "#999999",
    "load": "#7b61c9",
    "decode": "#e69f00",
    "preprocess": "#a8a000",
    "tokenize": "#cc79a7",
    "fill": "#56b4e9",
    "queue": "#d55e00",
    "infer": "#0072b2",
    "search": "#009e73",
    "post": "#44aa99",
    "respond": "#b0447e",
}
_ROW, _AROUND = 34, 90  # pixels: a request of a waterfall, and what is around them
_HEIGHT = 260


def build_latency_plots() -> gr.HTML:
    """Add a place for the charts; a new value changes those that are there in place."""
    return build_plotly_html(_SCRIPT, html_template=_TEMPLATE, css_template=CSS, elem_id="latency-plots")


def latency_figures(view: View, stage: str) -> dict[str, Any]:
    """Return all charts of a view.

    Args:
        view: what to draw.
        stage: whose times it has.
    """
    return {
        "figures": [
            _over_time(view, stage),
            _rates(view),
            _waterfall("last", "The last requests", view.last),
            _waterfall("slowest", "The slowest requests of the window", view.slowest),
            _batch_sizes(view),
            _queue(view),
            _processor(view),
            _memory(view),
            _hits(view),
        ]
    }


def trade_figure(loads: Sequence[tuple[str, InsideLoad]]) -> dict[str, Any]:
    """Return how the rate and the time of requests went together in loads, the last one first."""
    known = [(settings, load) for settings, load in loads if load.requests_per_s and load.p95_ms]
    if not known:
        return {"figures": [], "missing": "There is no chart: no load was answered yet."}
    last_is_shown = known[0][1] is loads[0][1]
    trace = {
        "type": "scatter", "mode": "markers+text", "name": "loads",
        "x": [load.requests_per_s for _, load in known], "y": [load.p95_ms for _, load in known],
        "text": [f"{load.clients} clients" for _, load in known], "textposition": "top center",
        "customdata": [settings for settings, _ in known],
        "marker": {"size": [14 if last_is_shown else 9, *[9] * (len(known) - 1)], "color": COLOURS[0]},
        "hovertemplate": "%{customdata}<br>%{x:.1f} requests/s, p95 %{y:.1f} ms<extra></extra>",
    }  # fmt: skip
    figure = {
        "title": "Throughput against time",
        "note": "Down and to the right is better; "
        + ("the large point is the last load." if last_is_shown else "the last load was not answered."),
        "label": "The 95th percentile of the times by requests a second, a point a load",
        "height": _HEIGHT,
        "traces": [trace],
        "layout": {
            "xaxis": {"title": {"text": "requests/s"}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": "p95, ms"}, "rangemode": "tozero"},
        },
    }
    return {"figures": [figure]}


def _over_time(view: View, stage: str) -> Figure:
    keys = {title: COLOURS[number % len(COLOURS)] for number, title in enumerate(view.over_time)}
    traces = [
        _line(f"{title} {name}", [m.ago_s for m in moments], values, keys[title], dash)
        for title, moments in view.over_time.items()
        for name, dash in _DASHES.items()
        for values in [[getattr(moment.times, f"{name}_ms") for moment in moments]]
    ]
    missing = f"No request had the stage “{stage}” in this window." if stage else ""
    note = "Solid: half of the requests were faster; dashed: 90 of 100; dotted: 99 of 100."
    return _timeline("over-time", f"{stage}, milliseconds over time", note, traces, "ms", missing, keys)


def _rates(view: View) -> Figure:
    ago_s = [each.ago_s for each in view.rates]
    answered_per_s = [each.requests_per_s - each.failed_per_s for each in view.rates]
    traces = [_line("answered", ago_s, answered_per_s, COLOURS[0])]
    if view.failed:
        traces.append(_line("failed", ago_s, [each.failed_per_s for each in view.rates], COLOURS[1]))
    note = f"{view.requests:,} requests in this window, {view.failed:,} failed, {view.cold:,} loaded a model."
    return _timeline(
        "rates", "Throughput", note, traces if view.rates else [], "requests/s", "No request in this window."
    )


def _waterfall(name: str, title: str, traces: Sequence[Trace]) -> Figure:
    stages = list(
        dict.fromkeys(span.stage for trace in traces for span in trace.spans if span.stage != EMBED)
    )
    names = [
        f"{trace.operation}, {trace.duration_ms:.0f} ms{'' if trace.outcome == 'ok' else ' ✗'}"
        for trace in traces
    ]
    bars: list[dict[str, Any]] = [
        {
            "type": "bar", "orientation": "h", "name": BETWEEN, "width": 0.25, "hoverinfo": "skip",
            "y": list(range(len(traces))), "x": [trace.duration_ms for trace in traces],
            "marker": {"color": "rgba(128,128,128,.35)"},
        }
    ]  # fmt: skip
    for stage in stages:
        found = [
            (place, span, trace)
            for place, trace in enumerate(traces)
            for span in trace.spans
            if span.stage == stage
        ]
        bars.append(
            {
                "type": "bar", "orientation": "h", "name": stage, "width": 0.6,
                "y": [place for place, _, _ in found],
                "base": [(span.start_s - trace.start_s) * 1000 for _, span, trace in found],
                "x": [span.duration_ms for _, span, _ in found],
                "customdata": [
                    " ".join(part for part in (span.model, span.engine, span.tower) if part)
                    + (f", {span.batch_size} in the call" if span.batch_size else "")
                    for _, span, _ in found
                ],
                "hovertemplate": f"{stage} %{{x:.2f}} ms<br>%{{customdata}}<extra></extra>",
                "marker": {"color": _STAGE_COLOURS.get(stage, "#888888"), "opacity": 0.85},
            }
        )  # fmt: skip
    layout = {
        "barmode": "overlay",
        "xaxis": {"title": {"text": "ms since its arrival"}, "rangemode": "tozero"},
        "yaxis": {
            "autorange": "reversed",
            "tickvals": list(range(len(traces))),
            "ticktext": [escape_ticks(each, 28) for each in names],
        },
    }
    return {
        "name": name,
        "title": title,
        "note": "Stages of a request with two models or towers run side by side.",
        "label": f"{title}: {'; '.join(names)}",
        "height": _AROUND + _ROW * max(len(traces), 1),
        "missing": "" if traces else "No request in this window.",
        "keys": [(bar["name"], bar["marker"]["color"]) for bar in bars],
        "traces": bars,
        "layout": layout,
    }


def _batch_sizes(view: View) -> Figure:
    sizes = sorted(view.batch_sizes)
    calls = sum(view.batch_sizes.values())
    mean = sum(size * number for size, number in view.batch_sizes.items()) / max(calls, 1)
    return {
        "name": "batches",
        "title": "Batch sizes",
        "note": f"{calls:,} engine calls with {mean:.1f} items on average.",
        "label": f"Engine calls by their number of items; {mean:.1f} on average",
        "height": _HEIGHT,
        "missing": "" if calls else "No engine call in this window, as far as the samples tell.",
        "keys": [],
        "traces": [
            {
                "type": "bar", "x": [str(size) for size in sizes],
                "y": [view.batch_sizes[size] for size in sizes], "marker": {"color": COLOURS[0]},
                "hovertemplate": "%{x} items: %{y} calls<extra></extra>",
            }
        ],
        "layout": {
            "xaxis": {"title": {"text": "items in a call"}, "type": "category"},
            "yaxis": {"title": {"text": "calls"}, "rangemode": "tozero"},
        },
    }  # fmt: skip


def _queue(view: View) -> Figure:
    ago_s = [each.ago_s for each in view.states]
    traces = [
        _line("items waiting", ago_s, [each.queued for each in view.states], COLOURS[1]),
        _line("requests in work", ago_s, [each.in_work for each in view.states], COLOURS[0]),
    ]
    note = "Items that wait for an engine call, and requests that are not answered yet."
    return _timeline("queue", "Queue", note, traces if view.states else [], "", _NO_SAMPLES)


def _processor(view: View) -> Figure:
    ago_s = [each.ago_s for each in view.states]
    traces = [
        _line("cores busy", ago_s, [each.cpu_cores for each in view.states], COLOURS[4]),
        _line("engine calls at a time", ago_s, [each.engine_calls for each in view.states], COLOURS[0]),
    ]
    note = "Cores that this server keeps busy, and how many engine calls ran at a time."
    return _timeline("processor", "Processor", note, traces if view.states else [], "", _NO_SAMPLES)


def _memory(view: View) -> Figure:
    traces = [_line("resident", [s.ago_s for s in view.states], [s.rss_mb for s in view.states], COLOURS[2])]
    now = f"{view.states[-1].rss_mb:,.0f} MB now." if view.states else ""
    return _timeline("memory", "Memory", now, traces if view.states else [], "MB", _NO_SAMPLES)


def _hits(view: View) -> Figure:
    known = [each for each in view.rates if each.hit_ratio is not None]
    traces = [_line("found", [each.ago_s for each in known], [each.hit_ratio for each in known], COLOURS[3])]
    figure = _timeline(
        "hits",
        "Cache hits",
        "Share of the images and texts whose embeddings were known.",
        traces if known else [],
        "share",
        "No engine was asked for an embedding in this window.",
    )
    figure["layout"]["yaxis"] |= {"range": [-0.02, 1.02], "tickformat": ".0%"}
    return figure


def _timeline(
    name: str,
    title: str,
    note: str,
    traces: list[dict[str, Any]],
    unit: str,
    missing: str,
    keys: Mapping[str, str] | None = None,
) -> Figure:
    if keys is None:
        keys = {trace["name"]: trace["line"]["color"] for trace in traces} if len(traces) > 1 else {}
    return {
        "name": name,
        "title": title,
        "note": note,
        "label": f"{title}. {note}",
        "height": _HEIGHT,
        "missing": "" if traces else missing,
        "keys": list(keys.items()),
        "traces": traces,
        "layout": {
            "xaxis": {"title": {"text": "seconds ago"}, "autorange": "reversed", "rangemode": "tozero"},
            "yaxis": {"title": {"text": unit}, "rangemode": "tozero"},
        },
    }


def _line(
    name: str, ago_s: Sequence[float], values: Sequence[float | None], colour: str, dash: str = "solid"
) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines+markers", "name": escape_ticks(name, 44),
        "x": [round(each, 1) for each in ago_s], "y": values,
        "line": {"color": colour, "dash": dash, "width": 2}, "marker": {"size": 4, "color": colour},
        "hovertemplate": f"%{{y:.4~g}}, %{{x:.0f}} s ago<extra>{escape_ticks(name, 44)}</extra>",
    }  # fmt: skip
