"""Which blocks of a model lose accuracy when they are quantized, as rows and as a plot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

Report: TypeAlias = Mapping[str, Any]  # by tower, what the builder of a quantized engine reports


@dataclass(frozen=True, slots=True)
class BlockRow:
    """What quantizing one block alone does to a tower's embeddings."""

    block: str
    snr_db: float  # infinite where nothing changes
    cosine_mean: float
    cosine_min: float
    top1_agreement: float
    in_float: bool  # the built engine leaves it in float

    def to_json(self) -> dict[str, Any]:
        """Return the row with null for an infinite ratio, which JSON does not know."""
        return {**asdict(self), "snr_db": self.snr_db if math.isfinite(self.snr_db) else None}


def block_rows(losses: Report, report: Report) -> dict[str, list[BlockRow]]:
    """Join what each block loses with which blocks stayed in float, by tower.

    Args:
        losses: by tower, [{"block", "loss": {...}}], the worst first.
        report: by tower, {"float_blocks": [...]}.
    """
    return {
        tower: [
            BlockRow(
                entry["block"],
                math.inf if entry["loss"]["snr_db"] is None else entry["loss"]["snr_db"],
                entry["loss"]["cosine_mean"],
                entry["loss"]["cosine_min"],
                entry["loss"]["top1_agreement"],
                entry["block"] in report[tower]["float_blocks"],
            )
            for entry in entries
        ]
        for tower, entries in losses.items()
    }


def draw_blocks(title: str, towers: Mapping[str, Sequence[BlockRow]]) -> str:
    """Return a page with a bar for each block: the noise that quantizing it alone adds, 1 - cosine."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=len(towers), subplot_titles=[f"{tower} tower" for tower in towers])
    for column, rows in enumerate(towers.values(), start=1):
        figure.add_trace(
            go.Bar(
                x=[1 - row.cosine_mean for row in rows],
                y=[row.block for row in rows],
                orientation="h",
                marker_color=["#e8590c" if row.in_float else "#1971c2" for row in rows],
                hovertext=[f"{row.snr_db:.1f} dB" + ", in float" * row.in_float for row in rows],
                showlegend=False,
            ),
            row=1,
            col=column,
        )
    figure.update_xaxes(title="1 - cosine (orange: stays in float)")
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(title=title)
    page: str = figure.to_html(include_plotlyjs=True)
    return page
