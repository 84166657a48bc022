"""The report of `retrieval`: how well models find images for texts, and texts for images."""

from __future__ import annotations

from collections.abc import Sequence

from use_cases.report.chart import Chart
from use_cases.report.estimates import Metric, by_dataset, draw_estimates, draw_quality_and_time
from use_cases.report.kind import Entry, Kind, Record
from use_cases.report.subjects import engine_key, engine_subject
from use_cases.retrieval.evaluation import DIRECTIONS
from use_cases.retrieval.metrics import RECALL_AT
from use_cases.retrieval.tables import DIRECTION_TITLES, retrieval_facts, retrieval_tables


def _facts(record: Record) -> str:
    return retrieval_facts(record["settings"])


def _charts(entries: Sequence[Entry]) -> list[Chart]:
    recalls = [
        (f"{DIRECTION_TITLES[direction]}, R@{k}", _recall(direction, k))
        for direction in DIRECTIONS
        for k in RECALL_AT
    ]
    charts: list[Chart] = []
    for on in by_dataset(entries, "retrieval"):
        charts.append(draw_estimates(on, "Recall", recalls))
        charts += draw_quality_and_time(on, "Recall", *recalls[0])
    return charts


def _recall(direction: str, k: int) -> Metric:
    return lambda row: row[direction][f"recall_at_{k}"]


RETRIEVAL = Kind(
    title="Retrieval: images for texts, and texts for images",
    tables=retrieval_tables,
    facts=_facts,
    subject=engine_subject,
    key=engine_key,
    charts=_charts,
)
