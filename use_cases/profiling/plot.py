"""A profile as a page of plotly: kinds of blocks stacked, and every block, engines side by side.

The figure is plain JSON values, as plotly's script takes them; building it with plotly's classes would
import and check a great deal for nothing.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from use_cases.profiling.results import BlockRow, EngineProfile, Profile
from use_cases.report.chart import COLOURS

Trace: TypeAlias = dict[str, Any]

_NUMBER = re.compile(r"^(?:net \d+ ?)?(?:block [\d.]+ ?)?")  # what tells a block from others of its kind
_GREYS = ("#343a40", "#adb5bd", "#6c757d", "#dee2e6")  # of engines; colours are the kinds'
# Pixels: an engine's stack, a bar of a block and what is between blocks, the axis between, all around.
_STACK, _BAR, _BETWEEN, _GAP, _AROUND = 34, 11, 8, 80, 200


def draw_profile(profile: Profile) -> str:
    """Return the HTML document, which needs no network."""
    from plotly.io import to_html

    page: str = to_html(profile_figure(profile), include_plotlyjs=True, validate=False)
    return page.rstrip() + "\n"


def profile_figure(profile: Profile) -> dict[str, Any]:
    """Return the figure: above a stacked bar for each engine, below a row of bars for each block."""
    above = len(profile.engines) * _STACK
    below = len(profile.block_names()) * (len(profile.engines) * _BAR + _BETWEEN)
    whole = above + _GAP + below
    below_axes = {"xaxis": "x2", "yaxis": "y2"}
    top, bottom = [1 - above / whole, 1.0], [0.0, below / whole]
    title = f"{profile.model}, {profile.tower} tower, batch {profile.batch_size}"
    note = (
        f"median call on {profile.num_threads} threads; float32 products reach"
        f" {profile.peak.float32_gflops:.0f} GFLOP/s here"
    )
    return {
        "data": [*kind_traces(profile), *(trace | below_axes for trace in block_traces(profile))],
        "layout": {
            "title": {"text": title, "subtitle": {"text": note}},
            "height": whole + _AROUND,
            "barmode": "relative",
            "hovermode": "closest",
            "xaxis": {"domain": [0, 1], "anchor": "y", "title": {"text": "ms, by kind of block"}},
            "yaxis": {"domain": top, "autorange": "reversed", "automargin": True, "dtick": 1},
            "xaxis2": {"domain": [0, 1], "anchor": "y2", "title": {"text": "ms"}},
            "yaxis2": {"domain": bottom, "anchor": "x2", "autorange": "reversed", "automargin": True},
            "legend": {"traceorder": "grouped", "groupclick": "toggleitem"},
        },
    }


def kind_of(block: str) -> str:
    """Return what a block has in common with others: "block 3 attention" is "attention"."""
    return _NUMBER.sub("", block) or "blocks"


def kind_traces(profile: Profile) -> list[Trace]:
    """Return a trace for each kind of block: one segment of each engine's bar."""
    sums = [_kind_ms(engine) for engine in profile.engines]
    kinds = dict.fromkeys(map(kind_of, profile.block_names()))
    return [
        {
            "type": "bar",
            "orientation": "h",
            "name": kind,
            "y": [engine.engine for engine in profile.engines],
            "x": [_short(each.get(kind, 0.0)) for each in sums],
            "marker": {"color": COLOURS[index % len(COLOURS)]},
            "hovertemplate": "%{y}: %{x} ms<extra>%{fullData.name}</extra>",
            "legendgroup": "kinds",
            "legendgrouptitle": {"text": "kinds of blocks"},
        }
        for index, kind in enumerate(kinds)
    ]


def _kind_ms(engine: EngineProfile) -> dict[str, float]:
    sums: dict[str, float] = {}
    for row in engine.blocks:
        sums[kind_of(row.block)] = sums.get(kind_of(row.block), 0.0) + row.ms
    return sums


def block_traces(profile: Profile) -> list[Trace]:
    """Return a trace for each engine: its bar in every block's row, beside the other engines'."""
    return [
        {
            "type": "bar",
            "orientation": "h",
            "name": engine.engine,
            "y": [row.block for row in engine.blocks],
            "x": [_short(row.ms) for row in engine.blocks],
            "hovertext": [_hover(row) for row in engine.blocks],
            "hovertemplate": "%{y}: %{x} ms%{hovertext}<extra>%{fullData.name}</extra>",
            "marker": {"color": _GREYS[index % len(_GREYS)]},
            "offsetgroup": engine.engine,  # beside the others, though kinds are stacked
            "legendgroup": "engines",
            "legendgrouptitle": {"text": "engines"},
        }
        for index, engine in enumerate(profile.engines)
    ]


def _hover(row: BlockRow) -> str:
    text = f"<br>{row.share:.1%} of the call"
    if row.flop is not None and row.gflops is not None and row.float32_share is not None:
        text += (
            f"<br>{row.flop / 1e9:.3g} GFLOP, {row.gflops:.0f} GFLOP/s, {row.float32_share:.0%} of float32"
        )
    return text


def _short(value: float) -> float:
    """Return a number with the digits that mean something."""
    return float(f"{value:.4g}")
