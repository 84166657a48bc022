"""An evaluation of retrieval as a record's rows, and these as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, TypeAlias

from use_cases.retrieval.captioned import counted
from use_cases.retrieval.evaluation import DIRECTIONS, Evaluation
from use_cases.retrieval.metrics import METRICS

Row: TypeAlias = Mapping[str, Any]  # one of a record's results

DIRECTION_TITLES: Mapping[str, str] = MappingProxyType(
    {"text_to_image": "text -> image", "image_to_text": "image -> text"}
)
METRIC_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "recall_at_1": "R@1 %",
        "recall_at_5": "R@5 %",
        "recall_at_10": "R@10 %",
        "median_rank": "median rank",
        "mrr": "MRR",
    }
)


def result_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return a record's results: a row for each model, and one for the difference between the first two."""
    rows: list[dict[str, Any]] = []
    for model in evaluation.models:
        facts = asdict(model)
        by_direction = facts.pop("estimates")
        rows.append({"measurement": "retrieval", **facts, **by_direction})
    if evaluation.difference:
        first, second = evaluation.models[:2]
        rows.append(
            {
                "measurement": "difference",
                "model": first.model,
                "engine": first.engine,
                "minus": {"model": second.model, "engine": second.engine},
                **asdict(evaluation.difference)["estimates"],
            }
        )
    return rows


def retrieval_facts(settings: Mapping[str, Any]) -> str:
    """Return in sentences what a record was measured on, and how."""
    facts = [
        f"{settings['dataset']}: {counted(settings['num_images'], 'image')},"
        f" {counted(settings['num_texts'], 'caption')}.",
        *settings["notes"],
        f"In brackets: {settings['intervals']}. Ties: {settings['ties']}. Times: {settings['times']}.",
    ]
    if settings["unreadable"]:
        facts.append(f"Left out, because they cannot be read: {', '.join(settings['unreadable'])}.")
    for direction, recalls in settings["chance"].items():
        values = ", ".join(f"{METRIC_TITLES[name]} {100 * value:.1f}" for name, value in recalls.items())
        facts.append(f"By chance, {DIRECTION_TITLES[direction]}: {values}.")
    return "\n".join(facts)


def retrieval_tables(rows: Sequence[Row]) -> str:
    """Return one model's results: a line for each engine and direction, then the difference."""
    heads = ["engine", "direction", *METRIC_TITLES.values(), "image ms", "text ms"]
    lines = [f"| {' | '.join(heads)} |", f"|---|---|{'---:|' * (len(heads) - 2)}"]
    for row in rows:
        who = f"`{row['engine']}`"
        times = ["", ""]
        if row["measurement"] == "difference":
            who += f" minus {row['minus']['model']} on `{row['minus']['engine']}`"
        else:
            times = [f"{row['image_ms']:.1f}", f"{row['text_ms']:.1f}"]
        for direction in DIRECTIONS:
            cells = [estimate_text(name, row[direction][name]) for name in METRICS]
            lines.append(f"| {' | '.join([who, DIRECTION_TITLES[direction], *cells, *times])} |")
    return "\n".join(lines)


def estimate_text(metric: str, estimate: Mapping[str, float]) -> str:
    """Return a metric and its interval, such as "31.2 [25.0, 37.5]"; recalls in per cent."""
    text = _FORMATS[metric]
    return f"{text(estimate['value'])} [{text(estimate['low'])}, {text(estimate['high'])}]"


_FORMATS: Mapping[str, Callable[[float], str]] = MappingProxyType(
    {
        **{name: lambda value: f"{100 * value:.1f}" for name in METRICS if name.startswith("recall")},
        "median_rank": lambda value: f"{value:g}",
        "mrr": lambda value: f"{value:.3f}",
    }
)
