"""The report of `requests`: whole requests against transformers' processor and pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from use_cases.report.chart import Chart, Point, Series, slug
from use_cases.report.kind import Entry, Key, Kind, Row, origin, rounds_facts

REQUEST_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "prepare_large": "12-megapixel JPEG, decoded and prepared",
        "zero_shot_known": "zero-shot, new photo, 10 known labels",
        "zero_shot_new": "zero-shot, new photo, 10 new labels",
        "two_clients": "two clients at once, images",
        "tracing": "zero-shot requests that leave traces",
        "image_tower_share": "image tower's rate",
        "int8_peak": "int8 instructions in registers: the peak",
        "int8_rate": "best int8 matrix product",
    }
)


def requests_table(rows: Sequence[Row]) -> str:
    """Return the table of one model: a row for each quantity and engine."""
    lines = ["| what | engine | median | unit | x plain | clean rounds |", "|---|---|---:|---|---:|---:|"]
    for row in rows:
        value, times = row["value"], row["times_plain"]
        cells = (
            (f"{value['median']:.2f}", f"{value['num_clean']} of {value['num_rounds']}")
            if value
            else ("-", row["reason"] or "it does not apply here")
        )
        lines.append(
            f"| {REQUEST_TITLES[row['measurement']]} | `{row['engine']}` | {cells[0]} | {row['unit']}"
            f" | {'-' if times is None else f'{times:.2f}'} | {cells[1]} |"
        )
    return "\n".join(lines)


def measured_engine(rows: Sequence[Row]) -> str:
    """Return the engine that answers the requests; other rows are of its parts and of what is compared."""
    return str(next(row["engine"] for row in rows if row["measurement"] == "zero_shot_known"))


def _subject(entry: Entry) -> str:
    return f"{entry.model} on `{measured_engine(entry.rows)}`"


def _key(entry: Entry, row: Row) -> Key:
    return entry.model, measured_engine(entry.rows)


def _charts(entries: Sequence[Entry]) -> list[Chart]:
    return [chart for entry in entries if (chart := _speed(entry))]


def _speed(entry: Entry) -> Chart | None:
    timed = [row for row in entry.rows if row["unit"] == "ms" and row["value"]]
    names = list(dict.fromkeys(row["measurement"] for row in timed))
    groups = {
        "this project": [row for row in timed if row["engine"] != "plain-transformers"],
        "transformers": [row for row in timed if row["engine"] == "plain-transformers"],
    }
    if not all(groups.values()):
        return None
    engine = measured_engine(entry.rows)
    return Chart(
        name=f"requests-{slug(entry.model)}-{engine}",
        title=f"Whole requests: {entry.model} on {engine}",
        note=origin(entry.record),
        x_title="ms (logarithmic): median, and range of the rounds",
        series=tuple(
            Series(
                name,
                tuple(
                    Point(
                        row["value"]["median"],
                        names.index(row["measurement"]),
                        row["value"]["min"],
                        row["value"]["max"],
                        f"{row['value']['median']:.0f}",
                    )
                    for row in rows
                ),
            )
            for name, rows in groups.items()
        ),
        rows=tuple(REQUEST_TITLES[name] for name in names),
        log_x=True,
    )


REQUESTS = Kind(
    title="Requests: from a photo to an answer",
    tables=requests_table,
    facts=rounds_facts,
    subject=_subject,
    key=_key,
    charts=_charts,
)
