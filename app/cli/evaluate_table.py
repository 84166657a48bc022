"""An evaluation's results as a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from use_cases.resampling import LEVEL, NUM_RESAMPLES, Estimate
from use_cases.retrieval.captioned import counted
from use_cases.retrieval.evaluation import DIRECTIONS, Evaluation
from use_cases.retrieval.metrics import METRICS
from use_cases.retrieval.tables import DIRECTION_TITLES, METRIC_TITLES, estimate_text

_SHOWN_UNREADABLE = 20


def retrieval_table(evaluation: Evaluation) -> str:
    """Return what was measured: the dataset, a block for each direction, and what embedding took."""
    lines = [
        f"{evaluation.dataset}: {counted(evaluation.num_images, 'image')},"
        f" {counted(evaluation.num_texts, 'caption')}",
        *evaluation.notes,
        *_unreadable(evaluation.unreadable),
    ]
    names = [f"{model.model} on {model.engine}" for model in evaluation.models]
    width = max(len(name) for name in (*names, *DIRECTION_TITLES.values())) + 2
    for direction in DIRECTIONS:
        heads = "".join(f"{title:>22}" for title in METRIC_TITLES.values())
        lines += ["", f"{DIRECTION_TITLES[direction]:<{width}}{heads}"]
        lines += [
            _line(name, width, model.estimates[direction])
            for name, model in zip(names, evaluation.models, strict=True)
        ]
        if evaluation.difference:
            lines.append(_line("first - second", width, evaluation.difference.estimates[direction]))
        chance = "".join(f"{f'{100 * value:.1f}':>22}" for value in evaluation.chance[direction].values())
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
    lines.append(
        f"In brackets: {LEVEL:.0%} bootstrap intervals, from {NUM_RESAMPLES:,} resamples of the images with"
        " their captions."
    )
    return "\n".join(lines)


def _line(name: str, width: int, estimates: Mapping[str, Estimate]) -> str:
    cells = "".join(f"{estimate_text(metric, asdict(estimates[metric])):>22}" for metric in METRICS)
    return f"{name:<{width}}{cells}"


def _unreadable(unreadable: Mapping[str, str]) -> list[str]:
    if not unreadable:
        return []
    lines = [f"{counted(len(unreadable), 'image')} left out, with their captions:"]
    lines += [f"  {name}: {reason}" for name, reason in list(unreadable.items())[:_SHOWN_UNREADABLE]]
    if len(unreadable) > _SHOWN_UNREADABLE:
        lines.append(f"  and {len(unreadable) - _SHOWN_UNREADABLE:,} more")
    return lines
