"""The report of `load`: a server under many clients."""

from __future__ import annotations

from collections.abc import Sequence

from use_cases.load.tables import load_tables
from use_cases.report.chart import Chart, Point, Series, slug
from use_cases.report.kind import Entry, Kind, origin, rounds_facts
from use_cases.report.subjects import engine_key, engine_subject

_PERCENTILES = ("p50_ms", "p95_ms", "p99_ms")


def _charts(entries: Sequence[Entry]) -> list[Chart]:
    return [chart for entry in entries if (chart := _waiting(entry))]


def _waiting(entry: Entry) -> Chart | None:
    levels = [row for row in entry.rows if row["measurement"] == "load" and row["p50_ms"] is not None]
    if len(levels) < 2:  # one level is no curve
        return None
    engine = levels[0]["engine"]
    return Chart(
        name=f"load-{slug(entry.model)}-{engine}",
        title=f"What clients wait: {entry.model} on {engine}",
        note=origin(entry.record),
        x_title="clients at once (logarithmic)",
        y_title="ms a request (logarithmic)",
        series=tuple(
            Series(
                percentile.removesuffix("_ms"),
                tuple(Point(row["clients"], row[percentile]) for row in levels),
                "line",
            )
            for percentile in _PERCENTILES
        ),
        log_x=True,
        log_y=True,
    )


LOAD = Kind(
    title="Load: a server and its clients",
    tables=load_tables,
    facts=rounds_facts,
    subject=engine_subject,
    key=engine_key,
    charts=_charts,
)
