"""The results of the index benchmark as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]  # one of a record's results

_MB = 1e6


def index_tables(rows: Sequence[Row]) -> str:
    """Return the table of one group of results: of searching, or of filling an index."""
    columns = _SEARCH if rows[0]["measurement"] == "search" else _INGESTION
    lines = [f"| {' | '.join(columns)} |", f"|{'---:|' * len(columns)}"]
    lines += [f"| {' | '.join(column(row) for column in columns.values())} |" for row in rows]
    return "\n".join(lines)


def clean_rounds(rows: Sequence[Row]) -> int:
    """Return how many clean rounds the most disturbed quantity had."""
    summaries = [value for row in rows for value in row.values() if isinstance(value, dict)]
    return min((each["num_clean"] for each in summaries if "num_clean" in each), default=0)


def _median(name: str, digits: int = 2) -> Callable[[Row], str]:
    return lambda row: f"{row[name]['median']:.{digits}f} ({row[name]['num_clean']} clean)"


def _way(row: Row) -> str:
    if row["exact"]:
        return "all compared"
    ann = row["ann"]
    name = "probes" if "probes" in ann else "ef"  # records of older versions have a graph's
    values = dict.fromkeys(each for each in (ann.get(f"{name}_images"), ann[name]) if each)
    return f"ANN, {ann['partitions']} partitions, {name} {' and '.join(map(str, values))}"


_SEARCH: dict[str, Callable[[Row], str]] = {
    "images": lambda row: f"{row['images']:,}",
    "search": _way,
    "p50 ms": _median("p50_ms"),
    "p95 ms": _median("p95_ms"),
    "recall@10": lambda row: f"{row['recall']:.4f}",
    # Records of older versions do not tell the two kinds of queries apart.
    "between: p95 ms": lambda row: _median("between_p95_ms")(row) if "between_p95_ms" in row else "",
    "recall@10 ": lambda row: f"{row['between_recall']:.4f}" if "between_recall" in row else "",
    "256 more ms": _median("add", 0),
    "tidy s": lambda row: f"{row['tidy_s']:.1f}",
    "ANN build s": lambda row: f"{row['ann']['build_s']:.0f}" if row["ann"] else "",
    "disk MB": lambda row: f"{row['disk_bytes'] / _MB:,.0f}",
    "peak RSS MB": lambda row: f"{row['peak_rss_bytes'] / _MB:,.0f}" if row["peak_rss_bytes"] else "",
}
_INGESTION: dict[str, Callable[[Row], str]] = {
    "engine": lambda row: f"`{row['engine']}`",
    "JPEGs": lambda row: row["jpegs"],
    "images": lambda row: f"{row['images']:,}",
    "engine alone, images/s": _median("engine_per_s", 1),
    "with decoding": _median("work_per_s", 1),
    "ingestion": _median("ingestion_per_s", 1),
    "of the engine": _median("of_engine", 3),
    "of decoding and engine": _median("of_work", 3),
}
