"""A load test's results as Markdown: the levels, then the comparisons and what each is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]  # one of a record's results

_MB = 1e6
LOAD_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "overhead": "16 clients over HTTP, against threads that do the same in a loop",
        "lone": "a lone client's request, less the engine's call; beside_image_work: less preparing, too",
        "repeat": "a request of a new image and 5 new labels, against the same again",
        "labels": "64 requests of a new text each, against one of 64",
        "policy": "16 clients without HTTP, adaptive against the best fixed batches",
    }
)


def load_tables(rows: Sequence[Row]) -> str:
    """Return the tables of one model's results."""
    levels = [row for row in rows if row["measurement"] == "load"]
    comparisons = [row for row in rows if row["measurement"] != "load"]
    return "\n\n".join([_levels(levels), _comparisons(comparisons), _parts(comparisons)])


def _levels(rows: Sequence[Row]) -> str:
    columns: dict[str, Callable[[Row], str]] = {
        "clients": lambda row: f"{row['clients']}",
        "engine": lambda row: f"`{row['engine']}`",
        "requests/s": lambda row: number(row["requests_per_s"], 1),
        "p50 ms": lambda row: number(row["p50_ms"], 1),
        "p95 ms": lambda row: number(row["p95_ms"], 1),
        "p99 ms": lambda row: number(row["p99_ms"], 1),
        "ok": lambda row: f"{row['ok']}",
        "429": lambda row: f"{row['shed']}",
        "5xx": lambda row: f"{row['server_errors']}",
        "other errors": lambda row: f"{row['other_errors']}",
        "hung": lambda row: f"{row['hung']}",
        "mean batch": lambda row: number(row["mean_batch_size"], 2),
        "RSS MB before": lambda row: number(row["rss_before_bytes"] / _MB, 0),
        "after": lambda row: number(row["rss_after_bytes"] / _MB, 0),
        "client cores": lambda row: number(row["client_cores"], 2),
    }
    lines = [f"| {' | '.join(columns)} |", f"|{'---:|' * len(columns)}"]
    lines += [f"| {' | '.join(column(row) for column in columns.values())} |" for row in rows]
    return "\n".join(lines)


def _comparisons(rows: Sequence[Row]) -> str:
    lines = ["| comparison | median | range | unit | clean rounds |", "|---|---:|---:|---|---:|"]
    for row in rows:
        value, title = row["value"], LOAD_TITLES[row["measurement"]]
        cells = (
            (
                f"{value['median']:.3g}",
                f"{value['min']:.3g} to {value['max']:.3g}",
                row["unit"],
                f"{value['num_clean']} of {value['num_rounds']}",
            )
            if value
            else ("-", "-", row["unit"], row["reason"])
        )
        note = f" ({row['note']})" if row["note"] else ""
        lines.append(f"| {title}{note} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _parts(rows: Sequence[Row]) -> str:
    lines = ["| comparison | made of | median |", "|---|---|---:|"]
    lines += [
        f"| {row['measurement']} | {name} | {number(part['median'], 2)} |"
        for row in rows
        for name, part in row["parts"].items()
    ]
    return "\n".join(lines)


def number(value: float | None, digits: int) -> str:
    """Return a number with so many digits after the point; a dash for None."""
    return "-" if value is None else f"{value:.{digits}f}"
