"""An evaluation's results as a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from app.cli.evaluate_left_out import left_out_lines
from use_cases.resampling import Estimate, unsure_text
from use_cases.retrieval.evaluation import DIRECTIONS, Evaluation
from use_cases.retrieval.metrics import METRICS
from use_cases.retrieval.tables import (
    DIRECTION_TITLES,
    METRIC_TITLES,
    RETRIEVAL_INTERVALS,
    dataset_line,
    estimate_text,
)
from use_cases.wording import counted

_COLUMN = 24  # characters


def retrieval_table(evaluation: Evaluation) -> str:
    """Return what was measured: the dataset, a block for each direction, and what embedding took."""
    lines = [
        dataset_line(evaluation.dataset, len(evaluation.digests), evaluation.num_texts),
        *evaluation.notes,
        *left_out_lines(evaluation.unreadable, ", with their captions"),
    ]
    lasts = [f"first - {difference.other.title}" for difference in evaluation.differences]
    names = [model.title for model in evaluation.models]
    width = max(len(name) for name in (*names, *lasts, *DIRECTION_TITLES.values())) + 2
    for direction in DIRECTIONS:
        heads = "".join(f"{title:>{_COLUMN}}" for title in METRIC_TITLES.values())
        lines += ["", f"{DIRECTION_TITLES[direction]:<{width}}{heads}"]
        lines += [
            _line(name, width, model.estimates[direction])
            for name, model in zip(names, evaluation.models, strict=True)
        ]
        for name, difference in zip(lasts, evaluation.differences, strict=True):
            found = difference.estimates[direction]
            lines.append(_line(name, width, found) + unsure_text(found, METRIC_TITLES))
        chance = "".join(
            f"{f'{100 * value:.1f}':>{_COLUMN}}" for value in evaluation.chance[direction].values()
        )
        lines.append(f"{'by chance':<{width}}{chance}")
    lines.append("")
    for name, model in zip(names, evaluation.models, strict=True):
        lines.append(
            f"{name}: {model.image_ms:.1f} ms an image after {model.read_ms:.1f} ms to read it,"
            f" {model.text_ms:.1f} ms a text"
        )
        if model.quality:
            lines.append(f"  {model.quality.summary}")
        if model.num_truncated:
            lines.append(f"  {counted(model.num_truncated, 'caption')} too long: only the beginning was read")
    return "\n".join([*lines, f"In brackets: {RETRIEVAL_INTERVALS}."])


def _line(name: str, width: int, estimates: Mapping[str, Estimate]) -> str:
    cells = "".join(f"{estimate_text(metric, asdict(estimates[metric])):>{_COLUMN}}" for metric in METRICS)
    return f"{name:<{width}}{cells}"
