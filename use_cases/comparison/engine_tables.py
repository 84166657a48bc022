"""Rows of engines to keep: as CSV, JSON and Markdown, with where they are from."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from use_cases.comparison.engine_quality import TASKS
from use_cases.comparison.engines import EngineRow
from use_cases.resampling import Estimate

_MB = 1e6
TASK_TITLES: Mapping[str, str] = MappingProxyType(
    {"text_to_image": "R@1 text → image", "image_to_text": "R@1 image → text", "zero_shot": "zero-shot top-1"}
)
_COSINE_FIELDS = ("image_mean", "image_min", "text_mean", "text_min")
_NUMBER_FIELDS = (
    "top1_agreement",
    "image_ms",
    "text_ms",
    "load_ms",
    "rss_bytes",
    "artifact_bytes",
    "foreign_cores",
)


@dataclass(frozen=True, slots=True)
class EngineTable:
    """The engines of one model."""

    model: str
    num_pictures: int | None  # held-out ones that the tasks are of; None where no task was measured
    rows: tuple[EngineRow, ...]
    origin: str  # one sentence: what was measured where

    @property
    def title(self) -> str:
        """Return the model, and on how many held-out pictures its engines were measured."""
        return (
            self.model
            if self.num_pictures is None
            else f"{self.model}, {self.num_pictures} held-out pictures"
        )


def engines_csv(table: EngineTable) -> str:
    """Return a line for each engine, its origin in the last column; empty cells were not measured."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    parts = [f"{task}{suffix}" for task in TASKS for suffix in ("", "_change", "_change_low", "_change_high")]
    writer.writerow(
        [
            *("model", "held_out_pictures", "engine", "badge", "badge_sentence"),
            *(f"cosine_{name}" for name in _COSINE_FIELDS),
            *(*_NUMBER_FIELDS, *parts, "reason", "origin"),
        ]
    )
    for row in table.rows:
        writer.writerow(
            [
                table.model,
                _or_empty(table.num_pictures),
                row.engine,
                row.badge.state,
                row.badge.sentence,
                *(_or_empty(getattr(row.cosines, name, None)) for name in _COSINE_FIELDS),
                *(_or_empty(getattr(row, name)) for name in _NUMBER_FIELDS),
                *(value for task in TASKS for value in _task_values(row, task)),
                row.reason or "",
                table.origin,
            ]
        )
    return stream.getvalue()


def engines_json(table: EngineTable, provenance: Mapping[str, Any]) -> str:
    """Return the rows, and the record or the facts about the machine that they are from."""
    content = {
        "model": table.model,
        "held_out_pictures": table.num_pictures,
        "provenance": dict(provenance),
        "engines": [row_facts(row) for row in table.rows],
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def row_facts(row: EngineRow) -> dict[str, Any]:
    """Return a row as JSON values; what is no number is null."""
    facts = asdict(row)
    facts["tasks"] = {task: asdict(each) for task, each in row.tasks.items()}
    facts["changes"] = {task: asdict(each) for task, each in row.changes.items()}
    if row.cosines is not None:  # a broken engine's cosines may be NaN, which JSON does not know
        facts["cosines"] = {name: _finite(value) for name, value in asdict(row.cosines).items()}
    return facts


def engines_markdown(table: EngineTable) -> str:
    """Return the table of all engines, below its title and where the numbers are from."""
    lines = [
        f"## {table.title}",
        "",
        table.origin,
        "",
        f"| engine | {' | '.join(COLUMNS)} |",
        f"|---|{'---:|' * len(COLUMNS)}",
    ]
    for row in table.rows:
        cells = [column(row) for column in COLUMNS.values()]
        lines.append(f"| `{row.engine}` | {' | '.join(cells)} |")
    reasons = [f"`{row.engine}`: {row.reason}" for row in table.rows if row.reason]
    return "\n".join([*lines, *(line for reason in reasons for line in ("", reason))]) + "\n"


def task_text(value: Estimate | None, change: Estimate | None) -> str:
    """Return a share in per cent, and its difference to float32 in percentage points with the interval.

    "n.s.", not significant, says that the interval holds 0.
    """
    if value is None:
        return "-"
    share = f"{100 * value.value:.1f} %"
    if change is None:
        return share
    if change.low == change.value == change.high == 0:
        return f"{share}, same"
    interval = f"{100 * change.value:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
    return f"{share}, {interval}{' n.s.' if change.holds_zero else ''}"


def _cosine(tower: str) -> Callable[[EngineRow], str]:
    def cell(row: EngineRow) -> str:
        if row.cosines is None:
            return "-"
        mean, least = (getattr(row.cosines, f"{tower}_{kind}") for kind in ("mean", "min"))
        return f"{mean:.4f} / {least:.4f}"

    return cell


def _number(name: str, unit: float = 1.0, digits: int = 0) -> Callable[[EngineRow], str]:
    def cell(row: EngineRow) -> str:
        value = getattr(row, name)
        return "-" if value is None else f"{value / unit:,.{digits}f}"

    return cell


def _task(task: str) -> Callable[[EngineRow], str]:
    return lambda row: task_text(row.tasks.get(task), row.changes.get(task))


def _top1(row: EngineRow) -> str:
    return "-" if row.top1_agreement is None else f"{row.top1_agreement:.1%}"


COLUMNS: Mapping[str, Callable[[EngineRow], str]] = MappingProxyType(
    {
        "correct": lambda row: row.badge.state,
        "image ms": _number("image_ms", digits=1),
        "text ms": _number("text_ms", digits=1),
        "image cosine mean / min": _cosine("image"),
        "text cosine mean / min": _cosine("text"),
        "same top-1": _top1,
        **{title: _task(task) for task, title in TASK_TITLES.items()},
        "RSS MB": _number("rss_bytes", _MB),
        "files MB": _number("artifact_bytes", _MB),
        "load ms": _number("load_ms"),
    }
)


def _task_values(row: EngineRow, task: str) -> list[Any]:
    value, change = row.tasks.get(task), row.changes.get(task)
    return [
        "" if value is None else value.value,
        *(("", "", "") if change is None else (change.value, change.low, change.high)),
    ]


def _or_empty(value: float | None) -> Any:
    return "" if value is None else value


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
