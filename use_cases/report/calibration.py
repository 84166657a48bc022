"""The report of `calibration`: whether things come true as often as a model's probabilities say."""

from __future__ import annotations

from collections.abc import Sequence

from use_cases.labelled.tables import VIEW_TITLES, calibration_facts, calibration_tables
from use_cases.report.chart import Chart, Point, Series, slug
from use_cases.report.estimates import OnDataset, by_dataset
from use_cases.report.kind import Entry, Kind
from use_cases.report.subjects import engine_key, engine_subject

_PERFECT = Series("as often as it says", (Point(0, 0), Point(1, 1)), "dashed")


def _charts(entries: Sequence[Entry]) -> list[Chart]:
    return [_reliability(on, view) for view in VIEW_TITLES for on in by_dataset(entries, view)]


def _reliability(on: OnDataset, view: str) -> Chart:
    curves = [
        Series(
            name,
            tuple(
                Point(
                    each["probability"], each["right"]["value"], each["right"]["low"], each["right"]["high"]
                )
                for each in row["reliability"]
            ),
            "line",
        )
        for name, row in on.rows
    ]
    return Chart(
        name=f"reliability-{slug(view)}-{slug(on.dataset)}",
        title=f"Reliability on {on.dataset}: {VIEW_TITLES[view]}",
        note=on.note,
        x_title="mean probability of the bin",
        y_title="share that came true, 95 % interval",
        series=(*curves, _PERFECT),
    )


CALIBRATION = Kind(
    title="Calibration: probabilities and what came true",
    tables=calibration_tables,
    facts=calibration_facts,
    subject=engine_subject,
    key=engine_key,
    charts=_charts,
)
