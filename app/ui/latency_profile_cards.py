"""A profile of engines as HTML tables and figures for plotly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.ui import compare_tables
from app.ui.compare_plots import COLOURS, Figure
from app.ui.html_parts import escape, render_bar
from use_cases.profiling.plot import block_traces, kind_traces
from use_cases.profiling.results import EngineProfile, MachinePeak, MemoryRow, Part, Profile, disturbance

_NUM_OPERATORS = 10  # kinds that are shown; the JSON file has all
_LEAST_SHARE = 0.005  # of a request, that is told
_MB = 1e6
_STACK, _BAR, _BETWEEN, _AROUND = 34, 11, 8, 110  # pixels: of a stack, a bar, between blocks, all around
CSS = (
    compare_tables.CSS
    + """
.profile th:first-child { width: 30%; }
.profile h4 { margin: 16px 0 4px; font-size: 1.05rem; color: var(--body-text-color); }
"""
)


def render_profile(profile: Profile) -> str:
    """Return the tables: for each engine its hot operators, its blocks and a request's stages; the memory."""
    engines = "".join(map(_render_engine, profile.engines))
    return f'<div class="cmp profile"><p>{_peak(profile.peak)}</p>{engines}{_memory(profile.engines)}</div>'


def profile_figures(profile: Profile) -> dict[str, Any]:
    """Return a stacked bar of each engine by kinds of blocks, and every block, engines side by side."""
    names, blocks = [engine.engine for engine in profile.engines], profile.block_names()
    title = f"{profile.model}, {profile.tower} tower, batch {profile.batch_size}"
    note = f"The median call on {profile.num_threads} threads, by kind of block."
    below = "Each block; hover for its arithmetic."
    heights = len(names) * _STACK, len(blocks) * (len(names) * _BAR + _BETWEEN)
    return {
        "stacked": True,  # not side by side: their heights have little in common
        "figures": [
            _bars(title, note, kind_traces(profile), heights[0], "by kind of block"),
            _bars("Blocks", below, block_traces(profile), heights[1], f"by block: {', '.join(blocks)}"),
        ],
    }


def _bars(title: str, note: str, traces: Sequence[dict[str, Any]], height: int, what: str) -> Figure:
    return {
        "title": title,
        "note": note,
        "label": f"Milliseconds of a call {what}",
        "height": height + _AROUND,
        "traces": [
            {
                **trace,
                "legendgroup": "",
                "legendgrouptitle": {},
                "marker": {"color": COLOURS[number % len(COLOURS)]},
            }
            for number, trace in enumerate(traces)
        ],
        "layout": {
            "barmode": "relative",
            "xaxis": {"title": {"text": "ms"}},
            "yaxis": {"autorange": "reversed", "dtick": 1},
            "showlegend": len(traces) > 1,
        },
    }


def _peak(peak: MachinePeak) -> str:
    said = f"Float32 products reach {peak.float32_gflops:.0f} GFLOP/s here ({escape(peak.library)})"
    if peak.int8_gops is not None:
        said += f", 8-bit products {peak.int8_gops:.0f} Gop/s (ONNX Runtime)"
    return f"{said}. {disturbance(peak.foreign_cores)}"


def _render_engine(engine: EngineProfile) -> str:
    said = (
        f"{engine.call_ms:.2f} ms a call; under the profiler {engine.profiled_ms:.2f} ms, the median of"
        f" {engine.num_calls}; {engine.named_share:.1%} of it in blocks with a name."
        f" {disturbance(engine.foreign_cores)}"
    )
    operators = [_row(row.operator, row, [f"{row.num_runs:,}"]) for row in engine.operators[:_NUM_OPERATORS]]
    blocks = [_row(row.block, row) for row in (*engine.blocks, engine.total)]
    caption = "Hot operators: a call's time, and how much of what this machine's arithmetic can do is reached"
    hot = compare_tables.render_table(caption, ["operator", "runs", *_HEAD], operators)
    table = compare_tables.render_table("Every block", ["block", *_HEAD], blocks)
    return (
        f"<h4>{escape(engine.engine)}</h4><p>{said}</p>{hot}"
        f"<details><summary>Every block</summary>{table}</details><p>{_request(engine)}</p>"
    )


_HEAD = ("ms", "share", "GFLOP", "GFLOP/s", "of float32", "of int8")


def _row(name: str, part: Part, first: Sequence[str] = ()) -> str:
    share = f"{part.share:.1%}{render_bar(part.share)}"
    rates = [_percent(part.float32_share), _percent(part.int8_share)]
    flop = "-" if part.flop is None else f"{part.flop / 1e9:.3f}"
    gflops = "-" if part.gflops is None else f"{part.gflops:.0f}"
    return compare_tables.render_row(name, [*first, f"{part.ms:.3f}", share, flop, gflops, *rates])


def _request(engine: EngineProfile) -> str:
    request = engine.request
    if request.shares is None:
        return escape(request.reason or "")
    told = ", ".join(
        f"{share:.0%} {stage}" for stage, share in request.shares.items() if share > _LEAST_SHARE
    )
    return (
        f"A zero-shot request takes {request.ms:.1f} ms, the mean of {request.num_requests}: {escape(told)}."
    )


def _memory(engines: Sequence[EngineProfile]) -> str:
    rows = [
        compare_tables.render_row(engine.engine, _memory_cells(row), note=_switches(row))
        for engine in engines
        for row in engine.memory
    ]
    head = ["MB after", "import", "load", "first call", "later calls"]
    return compare_tables.render_table("Resident memory of a process with this engine alone", head, rows)


def _memory_cells(row: MemoryRow) -> list[str]:
    sizes = row.import_bytes, row.load_bytes, row.first_bytes, row.steady_bytes
    return [f"{size / _MB:,.0f}" for size in sizes]


def _switches(row: MemoryRow) -> str:
    if row.arena is None:
        return ""
    return f"arena {'on' if row.arena else 'off'}, memory pattern {'on' if row.mem_pattern else 'off'}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
