"""Render a record of comparison_results/ as Markdown, for README and for readers of the folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from use_cases.report.kinds import kind_of


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
        kind_of(record["kind"]).facts(record),
    ]
    for model in dict.fromkeys(row["model"] for row in record["results"]):
        lines += ["", f"## {model}", "", render_model(record, model)]
    return "\n".join(lines) + "\n"


def render_model(record: Mapping[str, Any], model: str) -> str:
    """Return the tables of one of a record's models."""
    return kind_of(record["kind"]).tables([row for row in record["results"] if row["model"] == model])
