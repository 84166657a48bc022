"""Charts of models measured on the same dataset: metrics with intervals, and quality against time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from use_cases.report.chart import Chart, Point, Series, slug
from use_cases.report.kind import Entry, Row, origin
from use_cases.report.subjects import row_title
from use_cases.report.tradeoff import Candidate, draw_tradeoff

Metric: TypeAlias = Callable[[Row], Row]  # a row's estimate in [0, 1]: value, low and high


@dataclass(frozen=True, slots=True)
class OnDataset:
    """What was measured on one dataset: rows by model and engine, and where they come from."""

    dataset: str  # its title
    rows: tuple[tuple[str, Row], ...]
    note: str


def by_dataset(entries: Sequence[Entry], measurement: str) -> Iterator[OnDataset]:
    """Return the entries' rows of one measurement, together where the dataset is the same."""
    for dataset in dict.fromkeys(entry.dataset for entry in entries):
        its = [
            (entry, row)
            for entry in entries
            if entry.dataset == dataset
            for row in entry.rows
            if row["measurement"] == measurement
        ]
        if its:
            notes = dict.fromkeys(origin(entry.record) for entry, _ in its)
            rows = tuple((row_title(entry, row), row) for entry, row in its)
            yield OnDataset(dataset, rows, " / ".join(notes))


def draw_estimates(on: OnDataset, what: str, metrics: Sequence[tuple[str, Metric]]) -> Chart:
    """Return the chart of metrics in per cent: a row each, a colour for each model and engine.

    Args:
        on: the rows.
        what: the metrics have in common, such as "Recall".
        metrics: by title; every row has them.
    """
    return Chart(
        name=f"{slug(what)}-{slug(on.dataset)}",
        title=f"{what} on {on.dataset}",
        note=on.note,
        x_title="%, and its 95 % bootstrap interval",
        series=tuple(
            Series(name, tuple(_percent(index, read(row)) for index, (_, read) in enumerate(metrics)))
            for name, row in on.rows
        ),
        rows=tuple(title for title, _ in metrics),
        zero=True,
    )


def draw_quality_and_time(on: OnDataset, what: str, title: str, read: Metric) -> list[Chart]:
    """Return the chart of one metric against the time of an image; none where there is nothing to compare."""
    timed = [(name, row) for name, row in on.rows if row["image_ms"] is not None]
    if len(timed) < 2:
        return []
    candidates = [
        Candidate(name, row["image_ms"], *(100 * read(row)[key] for key in ("value", "low", "high")))
        for name, row in timed
    ]
    chart = draw_tradeoff(
        candidates,
        name=f"{slug(what)}-and-time-{slug(on.dataset)}",
        title=f"{what} against time on {on.dataset}",
        note=on.note,
        x_title="ms an image, decoded, prepared and embedded, of one run",
        y_title=f"{title} %, 95 % bootstrap",
    )
    return [chart]


def _percent(row: int, estimate: Row) -> Point:
    value, low, high = (100 * estimate[name] for name in ("value", "low", "high"))
    return Point(value, row, low, high, f"{value:.1f}")
