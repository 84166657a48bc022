"""Render records of comparison_results/ as Markdown, for README and for readers of the folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from use_cases.index_benchmark.tables import index_tables
from use_cases.load.tables import Row, load_tables
from use_cases.retrieval.tables import retrieval_facts, retrieval_tables

_MB = 1e6
REQUEST_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "prepare_large": "12-megapixel JPEG, decoded and prepared",
        "zero_shot_known": "zero-shot, new photo, 10 known labels",
        "zero_shot_new": "zero-shot, new photo, 10 new labels",
        "two_clients": "two clients at once, images",
        "image_tower_share": "image tower's rate",
        "int8_peak": "int8 instructions in registers: the peak",
        "int8_rate": "best int8 matrix product",
    }
)


def render_record(record: Mapping[str, Any]) -> str:
    """Return a record's page: where it comes from, then a table for each model."""
    machine, versions = record["machine"], record["versions"]
    packages = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    lines = [
        f"# {record['kind'].capitalize()}, {record['created_utc']}",
        "",
        f"`{record['command']}`",
        "",
        f"{machine['model']}, {machine['cores']:g} cores ({', '.join(machine['instructions'])}),"
        f" {record['threads']} threads; commit {record['commit']}; {packages}.",
        _statistic(record),
    ]
    for model in dict.fromkeys(row["model"] for row in record["results"]):
        lines += ["", f"## {model}", "", render_model(record, model)]
    return "\n".join(lines) + "\n"


def render_model(record: Mapping[str, Any], model: str) -> str:
    """Return the table of one of a record's models."""
    rows = [row for row in record["results"] if row["model"] == model]
    tables = {
        "towers": _towers,
        "requests": _requests,
        "load": load_tables,
        "retrieval": retrieval_tables,
        "index": index_tables,
    }
    return tables[record["kind"]](rows)


def _statistic(record: Mapping[str, Any]) -> str:
    if record["kind"] == "retrieval":
        return retrieval_facts(record["settings"])
    return (
        f"Medians of {record['rounds']} rounds, of which the most disturbed quantity had"
        f" {record['clean_rounds']} clean ones."
    )


def _towers(rows: Sequence[Row]) -> str:
    size = next((min(row["p50_ms"]["image"], key=int) for row in rows if row["p50_ms"]), "1")

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


def _requests(rows: Sequence[Row]) -> str:
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


def _median(summary: Mapping[str, Any] | None, unit: float = 1.0) -> str:
    return "-" if summary is None else f"{summary['median'] / unit:.0f}"
