"""Charts of the comparison tab as figures for plotly, and the component that draws them.

Figures are plain JSON values: building them with plotly's own classes would import it, which takes longer
than most answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import gradio as gr

from app.ui.html_parts import data_uri, escape
from app.ui.plotly_html import build_plotly_html
from use_cases.comparison.calibration import Calibration
from use_cases.comparison.engines import EngineRow
from use_cases.comparison.many import ManyColumn, ManyComparison
from use_cases.comparison.pareto import pareto_front
from use_cases.labelled.calibration_metrics import NUM_BINS
from use_cases.wording import counted

Figure: TypeAlias = (
    "dict[str, Any]"  # what compare_plots.js draws: title, note, label, height, traces, layout
)

_SCRIPT = Path(__file__).with_name("compare_plots.js")
_TEMPLATE = '<div class="plots"></div><p class="plots-problem" role="status" hidden></p>'
# Okabe and Ito's, which colour-blind readers can tell apart; all can be seen on white and on black.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_STATE_LOOKS = {
    "passed": ("#009e73", "circle"),
    "failed": ("#d55e00", "x"),
    "not measured": ("#888888", "circle-open"),
}
# One minus the cosine, on a logarithmic axis; below the least it is rounding, which float32 has too.
_LEAST_LOSS = 1e-6
_LOSS_TICKS = {1.0: "0", 0.1: "0.9", 0.01: "0.99", 1e-3: "0.999", 1e-4: "0.9999", 1e-5: "0.99999", 1e-6: "1"}
_NO_CHART = "There is no chart: no engine of this model has both a time and a cosine to float32 yet."
_MAX_NUMBERED = 150  # cells that have room for their number
_CELL, _AROUND = 26, 130  # pixels: a heatmap's row, and its title and ticks

CSS = """
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 16px; }
.plots-problem { margin: 0; padding: 20px 16px; text-align: center; color: var(--body-text-color);
    border: 1px dashed var(--border-color-primary); border-radius: var(--radius-lg); }
.plots-problem[hidden] { display: none; }
.plots.single { grid-template-columns: 1fr; }
.plots figure { position: relative; min-width: 0; margin: 0; padding: 10px; color: var(--body-text-color);
    border: 1px solid var(--border-color-primary); border-radius: var(--radius-lg);
    background: var(--background-fill-primary); }
.plots figcaption { font-size: .85rem; color: var(--body-text-color); }
.plots figcaption b { font-size: 1rem; overflow-wrap: anywhere; }
.plots .keys { display: flex; flex-wrap: wrap; gap: 0 12px; margin-top: 2px; font-size: .75rem; }
.plots .keys i { display: inline-block; width: 10px; height: 10px; margin-right: 4px; border-radius: 2px; }
.plots .views { display: flex; gap: 6px; margin: 6px 0; }
.plots .views button { padding: 2px 10px; font-size: .8rem; border-radius: var(--radius-md); cursor: pointer;
    border: 1px solid var(--border-color-primary); background: none; color: var(--body-text-color); }
.plots .views button[aria-pressed="true"] { border-color: var(--color-accent); font-weight: 600;
    box-shadow: inset 0 -2px 0 var(--color-accent); }
.plots .views button:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.plots .plot-tip { position: absolute; width: 190px; padding: 6px; z-index: 3; pointer-events: none;
    border: 1px solid var(--border-color-primary); border-radius: var(--radius-md); font-size: .8rem;
    background: var(--background-fill-primary); color: var(--body-text-color); overflow-wrap: anywhere;
    box-shadow: 0 2px 8px rgba(0, 0, 0, .3); }
.plots .plot-tip[hidden] { display: none; }
.plots .plot-tip img { display: block; width: 100%; height: 96px; object-fit: contain; margin: 0 0 4px; }
.plots .plot-tip span { display: block; }
"""


def build_plots(elem_id: str) -> gr.HTML:
    """Add a place for charts, which shows nothing until its value has figures."""
    return build_plotly_html(_SCRIPT, html_template=_TEMPLATE, css_template=CSS, elem_id=elem_id)


def heatmaps(comparison: ManyComparison) -> dict[str, Any]:
    """Return a heatmap for each column, which share thumbnails, then the reliability curves."""
    figures = [_heatmap(comparison, column) for column in comparison.columns]
    calibrated = [column for column in comparison.columns if column.calibration is not None]
    if calibrated:
        figures.append(_reliability(calibrated))
    return {
        "figures": figures,
        "images": [data_uri(thumbnail) for thumbnail in comparison.thumbnails],
        "names": [image.name for image in comparison.images],
        "texts": list(comparison.texts),
    }


def engine_plot(rows: Sequence[EngineRow]) -> dict[str, Any]:
    """Return accuracy against latency, with the table's numbers; a sentence when no engine has both."""
    measured: list[tuple[int, EngineRow]] = []
    times_ms: list[float] = []
    losses: list[float] = []
    for number, row in enumerate(rows, 1):
        if row.pair_ms is not None and row.cosine is not None and not math.isnan(row.cosine):
            measured.append((number, row))
            times_ms.append(row.pair_ms)
            losses.append(max(1 - row.cosine, _LEAST_LOSS))
    if not measured:
        return {"figures": [], "missing": _NO_CHART}
    front = pareto_front(times_ms, [-loss for loss in losses])
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "name": "Pareto front", "hoverinfo": "skip",
            "x": [times_ms[place] for place in front], "y": [losses[place] for place in front],
            "line": {"shape": "hv", "dash": "dot", "width": 2, "color": COLOURS[0]},
        }
    ]  # fmt: skip
    for state, (colour, symbol) in _STATE_LOOKS.items():
        chosen = [place for place, (_, row) in enumerate(measured) if row.badge.state == state]
        if chosen:
            traces.append(
                {
                    "type": "scatter", "mode": "markers+text", "name": state,
                    "x": [times_ms[place] for place in chosen], "y": [losses[place] for place in chosen],
                    "text": [str(measured[place][0]) for place in chosen], "textposition": "top center",
                    "customdata": [_engine_and_cosine(measured[place][1]) for place in chosen],
                    "hovertemplate": "%{customdata[0]}<br>%{x:.1f} ms, %{customdata[1]}<extra></extra>",
                    "marker": {"size": 11, "color": colour, "symbol": symbol},
                }
            )  # fmt: skip
    names = ", ".join(measured[place][1].engine for place in front)
    figure = {
        "title": "Accuracy against latency",
        "note": f"Up and to the left is better. Numbers are the table's. On the Pareto front: {names}.",
        "label": f"Engines by latency and cosine to float32; on the Pareto front: {names}",
        "height": 380,
        "traces": traces,
        "layout": {
            "xaxis": {"title": {"text": "image + text, p50 ms"}, "rangemode": "tozero"},
            "yaxis": {
                "title": {"text": "mean cosine to float32", "standoff": 14},
                "type": "log",
                "autorange": "reversed",
                "tickvals": list(_LOSS_TICKS),
                "ticktext": list(_LOSS_TICKS.values()),
            },
            "showlegend": True,
        },
    }
    return {"figures": [figure]}


def _engine_and_cosine(row: EngineRow) -> list[str]:
    return [row.engine, f"cosine {row.cosine:.6f}"]


def _heatmap(comparison: ManyComparison, column: ManyColumn) -> Figure:
    scores, cosines = column.similarity.scores, column.similarity.cosines
    rows, columns = scores.shape
    numbered = rows * columns <= _MAX_NUMBERED
    truth = comparison.truth
    pairs = [] if truth is None else list(zip(*truth.nonzero(), strict=True))
    found = ""
    if column.found is not None:
        known = counted(comparison.num_known, "image")
        found = f" Own text first: {column.found:.0%} of the {known} with a text of their own."
    return {
        "title": column.name,
        "note": f"Score: {_KINDS[column.score]}.{found}"
        + (" Framed: the image's own text." if pairs else ""),
        "label": f"Heatmap of {column.name}: {rows} images by {columns} texts; the table below has the best",
        "height": max(280, rows * _CELL + _AROUND),
        "names": [escape_ticks(image.name) for image in comparison.images],
        "texts": [escape_ticks(text) for text in comparison.texts],
        "pairs": [[int(j), int(i)] for i, j in pairs],
        "scores": scores.round(6).tolist(),
        "cosines": cosines.round(6).tolist(),
        "cosine_range": [float(cosines.min()), float(cosines.max())],
        "numbered": numbered,
        "traces": [],
        "layout": {},
    }


def _reliability(columns: Sequence[ManyColumn]) -> Figure:
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "name": "perfect", "x": [0, 1], "y": [0, 1],
            "hoverinfo": "skip", "line": {"dash": "dot", "width": 1, "color": "#888888"},
        }
    ]  # fmt: skip
    sentences: list[str] = []
    for number, column in enumerate(columns):
        known = column.calibration
        if known is None:
            continue
        traces.append(_curve(column.name, known, COLOURS[number % len(COLOURS)]))
        what = "every pair" if known.predicts == "pairs" else "the best text of each image"
        sentences.append(
            f"{column.name}: expected calibration error {known.expected_error.value:.3f} over"
            f" {known.num_predictions} predictions ({what})"
        )
    return {
        "title": "Calibration",
        "note": f"How often what a score promises is true, in {NUM_BINS} bins of equal width."
        f" {'; '.join(sentences)}.",
        "label": f"Reliability curves. {'; '.join(sentences)}",
        "height": 340,
        "traces": traces,
        "layout": {
            "xaxis": {"title": {"text": "mean score"}, "range": [-0.02, 1.02]},
            "yaxis": {"title": {"text": "share that is right"}, "range": [-0.05, 1.05]},
            "showlegend": True,
        },
    }


def _curve(name: str, calibration: Calibration, colour: str) -> dict[str, Any]:
    bins = calibration.bins
    return {
        "type": "scatter", "mode": "lines+markers", "name": escape_ticks(name, 60),
        "x": [each.probability for each in bins], "y": [each.right.value for each in bins],
        "customdata": [each.number for each in bins],
        "hovertemplate": "score %{x:.2f}: %{y:.0%} right, of %{customdata}<extra></extra>",
        "line": {"color": colour},
        "marker": {"size": [5 + min(each.number, 100) ** 0.5 for each in bins], "color": colour},
    }  # fmt: skip


def escape_ticks(text: str, most: int = 16) -> str:
    """Return a short form of a text that plotly shows as it stands; it knows &quot; by its number alone."""
    escaped = escape(text if len(text) <= most else f"{text[: most - 1]}…")
    return escaped.replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


_KINDS = {
    "sigmoid": "sigmoid probability, each pair on its own",
    "softmax": "softmax over the texts, so that each row adds up to 100 %",
}
