"""The report of `towers`: engines compared on one model, by latency, memory and agreement with float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from use_cases.report.chart import Chart, Point, Series, slug
from use_cases.report.kind import Entry, Kind, Row, origin, rounds_facts
from use_cases.report.subjects import model_key, model_subject
from use_cases.report.tradeoff import Candidate, draw_tradeoff

_MB = 1e6
_TOWERS = ("image", "text")


def towers_table(rows: Sequence[Row]) -> str:
    """Return the table of one model: a row an engine, at the smallest batch, or why it has none."""
    size = _smallest_batch(rows)

    def speed(tower: str) -> Callable[[Row], str]:
        def cell(row: Row) -> str:
            times = row["times_plain"][tower][size]
            suffix = "" if times is None or row["engine"].startswith("plain") else f" ({times:.2f}x)"
            return f"{row['p50_ms'][tower][size]['median']:.0f}{suffix}"

        return cell

    def cosine(tower: str) -> Callable[[Row], str]:
        return lambda row: f"{row['agreement'][f'{tower}_cosine_mean']:.4f}" if row["agreement"] else "-"

    columns: dict[str, Callable[[Row], str]] = {
        "image ms": speed("image"),
        "text ms": speed("text"),
        "first embedding ms": lambda row: _median(row["first_embedding_ms"]),
        "RSS MB": lambda row: _median(row["rss_bytes"], _MB),
        "text tower alone MB": lambda row: _median(row["text_rss_bytes"], _MB),
        "files MB": lambda row: (
            "-" if row["artifact_bytes"] is None else f"{row['artifact_bytes'] / _MB:.0f}"
        ),
        "image cosine": cosine("image"),
        "text cosine": cosine("text"),
    }
    lines = [f"| engine | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for row in rows:
        cells = [column(row) for column in columns.values()] if row["reason"] is None else [row["reason"]]
        lines.append(f"| `{row['engine']}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _charts(entries: Sequence[Entry]) -> list[Chart]:
    return [chart for entry in entries for chart in (_latency(entry), _agreement(entry)) if chart]


def _latency(entry: Entry) -> Chart | None:
    rows = _measured(entry)
    if not rows:
        return None
    size = _smallest_batch(rows)
    series = [
        Series(
            f"{tower}s",
            tuple(
                Point(time["median"], index, time["min"], time["max"], f"{time['median']:.0f}")
                for index, row in enumerate(rows)
                for time in [row["p50_ms"][tower][size]]
            ),
        )
        for tower in _TOWERS
    ]
    return Chart(
        name=f"latency-{slug(entry.model)}",
        title=f"Latency by engine: {entry.model}",
        note=origin(entry.record),
        x_title=f"p50 ms of a batch of {size}: median, and range of the rounds",
        series=tuple(series),
        rows=tuple(row["engine"] for row in rows),
        zero=True,
    )


def _agreement(entry: Entry) -> Chart | None:
    rows = [row for row in _measured(entry) if row["agreement"]]
    if len(rows) < 2:  # nothing to choose from
        return None
    size = _smallest_batch(rows)
    return draw_tradeoff(
        [
            Candidate(
                row["engine"], row["p50_ms"]["image"][size]["median"], row["agreement"]["image_cosine_mean"]
            )
            for row in rows
        ],
        name=f"agreement-{slug(entry.model)}",
        title=f"Agreement with float32 against latency: {entry.model}",
        note=origin(entry.record),
        x_title=f"p50 ms of a batch of {size}, images",
        y_title="mean cosine of images to torch-fp32",
    )


def _measured(entry: Entry) -> list[Row]:
    return [row for row in entry.rows if row["reason"] is None]


def _smallest_batch(rows: Sequence[Row]) -> str:
    return next((min(row["p50_ms"]["image"], key=int) for row in rows if row["p50_ms"]), "1")


def _median(summary: Mapping[str, Any] | None, unit: float = 1.0) -> str:
    return "-" if summary is None else f"{summary['median'] / unit:.0f}"


TOWERS = Kind(
    title="Towers: engines compared",
    tables=towers_table,
    facts=rounds_facts,
    subject=model_subject,
    key=model_key,
    charts=_charts,
)
