"""An evaluation of retrieval as a record's rows, and these as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, TypeAlias

from use_cases.labelled.items import pack_ids
from use_cases.resampling import INTERVALS, NO_DIFFERENCE, Estimate
from use_cases.retrieval.evaluation import DIRECTIONS, Evaluation
from use_cases.retrieval.metrics import METRICS
from use_cases.wording import counted

RETRIEVAL_INTERVALS = f"{INTERVALS} with their captions"
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
    """Return a row for each model, and one for the difference between the first and each other one."""
    rows: list[dict[str, Any]] = []
    for model in evaluation.models:
        facts = asdict(model)
        by_direction = facts.pop("estimates")
        rows.append({"measurement": "retrieval", **facts, **by_direction})
    return rows + [
        {
            "measurement": "difference",
            "model": difference.first.model,
            "engine": difference.first.engine,
            "minus": {"model": difference.other.model, "engine": difference.other.engine},
            **asdict(difference)["estimates"],
        }
        for difference in evaluation.differences
    ]


def evaluation_settings(evaluation: Evaluation) -> dict[str, Any]:
    """Return what else decides the numbers of a record."""
    return {
        "dataset": evaluation.dataset,
        "dataset_sha256": evaluation.sha256,
        "num_images": len(evaluation.digests),
        "image_ids": pack_ids(evaluation.digests),
        "num_captions": evaluation.num_captions,
        "num_texts": evaluation.num_texts,
        "notes": list(evaluation.notes),
        "unreadable": dict(evaluation.unreadable),
        "chance": {direction: dict(recalls) for direction, recalls in evaluation.chance.items()},
        "intervals": RETRIEVAL_INTERVALS,
        "ties": "a wrong answer with the same score ranks first",
        "times": "by the clock, of one run",
    }


def dataset_line(name: str, num_images: int, num_captions: int) -> str:
    """Return such as "captions.json: 20 images, 100 captions"."""
    return f"{name}: {counted(num_images, 'image')}, {counted(num_captions, 'caption')}"


def retrieval_facts(settings: Mapping[str, Any]) -> str:
    """Return in sentences what a record was measured on, and how."""
    line = dataset_line(settings["dataset"], settings["num_images"], settings["num_texts"])
    digest = settings.get("dataset_sha256")  # records had none at first
    facts = [
        f"{line}; SHA-256 {digest[:16]}." if digest else f"{line}.",
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
    """Return one model's results: a line for each engine and direction, then the differences."""
    heads = ["engine", "direction", *METRIC_TITLES.values(), "image ms", "text ms"]
    lines = [f"| {' | '.join(heads)} |", f"|---|---|{'---:|' * (len(heads) - 2)}"]
    for row in rows:
        who = f"`{row['engine']}`"
        times = ["", ""]
        is_difference = row["measurement"] == "difference"
        text = difference_text if is_difference else estimate_text
        if is_difference:
            who += f" minus {row['minus']['model']} on `{row['minus']['engine']}`"
        else:
            times = [f"{row['image_ms']:.1f}", f"{row['text_ms']:.1f}"]
        for direction in DIRECTIONS:
            cells = [text(name, row[direction][name]) for name in METRICS]
            lines.append(f"| {' | '.join([who, DIRECTION_TITLES[direction], *cells, *times])} |")
    return "\n".join(lines)


def estimate_text(metric: str, estimate: Mapping[str, float]) -> str:
    """Return a metric and its interval, such as "31.2 [25.0, 37.5]"; recalls in per cent."""
    text = _FORMATS[metric]
    return f"{text(estimate['value'])} [{text(estimate['low'])}, {text(estimate['high'])}]"


def difference_text(metric: str, estimate: Mapping[str, float]) -> str:
    """Return a difference and its interval, and say so when it may be none."""
    text = estimate_text(metric, estimate)
    return f"{text}, {NO_DIFFERENCE}" if Estimate(**estimate).holds_zero else text


_FORMATS: Mapping[str, Callable[[float], str]] = MappingProxyType(
    {
        **{name: lambda value: f"{100 * value:.1f}" for name in METRICS if name.startswith("recall")},
        "median_rank": lambda value: f"{value:g}",
        "mrr": lambda value: f"{value:.3f}",
    }
)
