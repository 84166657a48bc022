"""The report of `index`: how fast image indexes are filled and searched."""

from __future__ import annotations

from collections.abc import Sequence

from use_cases.index_benchmark.tables import index_tables
from use_cases.report.chart import Chart, Point, Series, slug
from use_cases.report.kind import Entry, Kind, origin, rounds_facts
from use_cases.report.subjects import model_key, model_subject

_TIMES = (("p50_ms", "p50"), ("p95_ms", "p95"))


def _charts(entries: Sequence[Entry]) -> list[Chart]:
    return [chart for entry in entries if (chart := _search_time(entry))]


def _search_time(entry: Entry) -> Chart | None:
    rows = [row for row in entry.rows if row["measurement"] == "search"]
    if len({row["images"] for row in rows}) < 2:  # one size is no curve
        return None
    series = [
        Series(
            f"{title}, {way}",
            tuple(
                Point(row["images"], row[name]["median"], row[name]["min"], row[name]["max"])
                for row in rows
                if row["exact"] is exact
            ),
            "line",
        )
        for exact, way in ((True, "all compared"), (False, "ANN"))
        for name, title in _TIMES
    ]
    return Chart(
        name=f"search-time-{slug(entry.model)}",
        title=f"Search time by size: {entry.model}",
        note=origin(entry.record),
        x_title="images in the index (logarithmic)",
        y_title="ms a query (logarithmic), range of rounds",
        series=tuple(each for each in series if each.points),
        log_x=True,
        log_y=True,
    )


INDEX = Kind(
    title="Index: filled and searched",
    tables=index_tables,
    facts=rounds_facts,
    subject=model_subject,
    key=model_key,
    charts=_charts,
)
