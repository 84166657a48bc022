"""The report of a kind that has no module of its own: every number of a row in a column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from use_cases.report.kind import Kind, Row, no_charts, rounds_facts
from use_cases.report.subjects import engine_key, engine_subject

_MAX_TEXT = 60  # characters; longer texts are data, such as compressed results
_MISSING = "-"


def general_table(rows: Sequence[Row]) -> str:
    """Return a row for each result; summaries by their median, estimates with their interval.

    Nested objects become columns such as `image.recall`; lists and long texts are left out.
    """
    cells = [dict(_cells(row)) for row in rows]
    columns = list(dict.fromkeys(name for row in cells for name in row))
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(row.get(name, _MISSING) for name in columns)} |" for row in cells]
    return "\n".join(lines)


def _cells(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in row.items():
        if not prefix and name == "model":  # the heading says it
            continue
        if isinstance(value, dict) and not _is_number(value):
            yield from _cells(value, f"{prefix}{name}.")
        elif (text := _text(value)) is not None:
            yield f"{prefix}{name}", text


def _is_number(value: Mapping[str, Any]) -> bool:
    return "median" in value or {"value", "low", "high"} <= value.keys()


def _text(value: Any) -> str | None:
    if isinstance(value, dict) and "median" in value:
        return _text(value["median"])
    if isinstance(value, dict):
        return f"{_text(value['value'])} [{_text(value['low'])}, {_text(value['high'])}]"
    if value is None:
        return _MISSING
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) or len(str(value)) > _MAX_TEXT:
        return None
    return str(value).replace("|", "\\|").replace("\n", " ")


def general_kind(name: str) -> Kind:
    """Return how records of a kind are shown that nothing else is known about."""
    return Kind(
        title=name.replace("-", " ").capitalize(),
        tables=general_table,
        facts=rounds_facts,
        subject=engine_subject,
        key=engine_key,
        charts=no_charts,
    )
