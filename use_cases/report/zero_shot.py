"""The report of `zero-shot`: how often the right labels come first."""

from __future__ import annotations

from collections.abc import Sequence

from use_cases.labelled.embedding import ENSEMBLE, WAYS
from use_cases.labelled.metrics import METRIC_TITLES
from use_cases.labelled.tables import WAY_TITLES, accuracy_facts, accuracy_tables
from use_cases.report.chart import Chart
from use_cases.report.estimates import Metric, OnDataset, by_dataset, draw_estimates, draw_quality_and_time
from use_cases.report.kind import Entry, Kind
from use_cases.report.subjects import engine_key, engine_subject


def _charts(entries: Sequence[Entry]) -> list[Chart]:
    charts: list[Chart] = []
    for on in by_dataset(entries, "zero-shot"):
        charts.append(draw_estimates(on, "Zero-shot", _metrics(on)))
        charts += draw_quality_and_time(on, "Zero-shot", "top-1", _estimate(ENSEMBLE, "top1"))
    return charts


def _metrics(on: OnDataset) -> list[tuple[str, Metric]]:
    """Return the metrics that all rows have, by each way of asking."""
    return [
        (f"{title.removesuffix(' %')}, {WAY_TITLES[way]}", _estimate(way, name))
        for name, title in METRIC_TITLES.items()
        for way in WAYS
        if all(name in row[way] for _, row in on.rows)
    ]


def _estimate(way: str, name: str) -> Metric:
    return lambda row: row[way][name]


ZERO_SHOT = Kind(
    title="Zero-shot: the right labels first",
    tables=accuracy_tables,
    facts=accuracy_facts,
    subject=engine_subject,
    key=engine_key,
    charts=_charts,
)
