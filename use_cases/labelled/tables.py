"""The rows of zero-shot and calibration records as Markdown, and their settings in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

from use_cases.labelled import calibration_metrics, metrics
from use_cases.labelled.calibration import SIGMOID_PAIRS, SOFTMAX_TOP1
from use_cases.labelled.embedding import ENSEMBLE, LABEL_ALONE, WAYS
from use_cases.resampling import NO_DIFFERENCE, Estimate
from use_cases.wording import counted

Row: TypeAlias = Mapping[str, Any]  # one of a record's results

WAY_TITLES: Mapping[str, str] = MappingProxyType(
    {LABEL_ALONE: "the label alone", ENSEMBLE: "prompt templates"}
)
VIEW_TITLES: Mapping[str, str] = MappingProxyType(
    {SIGMOID_PAIRS: "sigmoid of each image and label", SOFTMAX_TOP1: "softmax, the best label"}
)
_FRACTIONS = ("brier", "nll")  # all other metrics are shown in per cent


def estimate_text(metric: str, estimate: Row) -> str:
    """Return a metric and its interval, such as "31.2 [25.0, 37.5]"; shares in per cent."""
    factor, digits = (1, 4) if metric in _FRACTIONS else (100, 1)
    value, low, high = (f"{factor * estimate[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def difference_text(metric: str, estimate: Row) -> str:
    """Return a difference and its interval, and say so when it may be none."""
    text = estimate_text(metric, estimate)
    return f"{text}, {NO_DIFFERENCE}" if Estimate(**estimate).holds_zero else text


def dataset_line(name: str, num_images: int, num_labels: int, *, is_single: bool) -> str:
    """Return such as "pets: 20 images, 5 labels, several an image"."""
    several = "" if is_single else ", several an image"
    return f"{name}: {counted(num_images, 'image')}, {counted(num_labels, 'label')}{several}"


def dataset_facts(settings: Row) -> list[str]:
    """Return in sentences what was measured on."""
    line = dataset_line(
        settings["dataset"],
        settings["num_images"],
        len(settings["labels"]),
        is_single=settings["is_single"],
    )
    facts = [
        f"{line}; SHA-256 {settings['dataset_sha256'][:16]}.",
        *settings["notes"],
    ]
    if settings["num_left_out"]:
        facts.append(
            f"{counted(settings['num_left_out'], 'image')} left out, named in the record with reasons."
        )
    return facts


def published_lines(published: Sequence[Row]) -> list[str]:
    """Return what others measured, a line each."""
    return [
        f"published: {each['model']}, top-1 on {each['dataset']} {100 * each['top1']:.1f} %"
        f" ({each['source']}, {each['url']})"
        for each in published
    ]


def accuracy_facts(record: Row) -> str:
    """Return in sentences what a zero-shot record was measured on, and how."""
    settings = record["settings"]
    guesses = ", ".join(
        f"{metrics.METRIC_TITLES[name]} {100 * value:.1f}" for name, value in settings["chance"].items()
    )
    facts = [
        *dataset_facts(settings),
        f"In brackets: {settings['intervals']}. Ties: {settings['ties']}. Times: {settings['times']}.",
        f"By chance: {guesses}.",
    ]
    return "\n".join(facts + published_lines(settings["published"]))


def calibration_facts(record: Row) -> str:
    """Return in sentences what a calibration record was measured on, and how."""
    settings = record["settings"]
    return "\n".join(
        [
            *dataset_facts(settings),
            f"In brackets: {settings['intervals']}. Bins: {settings['bins']}. None of these: a probability"
            f" above 0.5 for it, {settings['none_of_these']}. The softmax has a log loss of"
            f" {counted(settings['num_single'], 'image')}, those with one label.",
        ]
    )


def accuracy_tables(rows: Sequence[Row]) -> str:
    """Return one model's accuracy: a line for each engine and way of asking, then the differences."""
    names = [name for name in metrics.METRIC_TITLES if name in rows[0][ENSEMBLE]]
    heads = ["engine", "asked with", *(metrics.METRIC_TITLES[name] for name in names)]
    lines = [f"| {' | '.join(heads)} |", f"|---|---|{'---:|' * len(names)}"]
    for row in rows:
        is_difference = row["measurement"] == "difference"
        text = difference_text if is_difference else estimate_text
        who = f"`{row['engine']}`"
        if is_difference:
            who += f" minus {row['minus']['model']} on `{row['minus']['engine']}`"
        for way in WAYS:
            cells = [text(name, row[way][name]) for name in names]
            lines.append(f"| {' | '.join([who, WAY_TITLES[way], *cells])} |")
    return "\n".join(lines)


def calibration_tables(rows: Sequence[Row]) -> str:
    """Return one model's calibration: errors, "none of these", and the reliability curves."""
    titles = calibration_metrics.METRIC_TITLES
    lines = [f"| engine | prediction | {' | '.join(titles.values())} |", f"|---|---|{'---:|' * len(titles)}"]
    views = [row for row in rows if row["measurement"] in VIEW_TITLES]
    for row in views:
        cells = [estimate_text(name, row[name]) if name in row else "-" for name in titles]
        lines.append(f"| `{row['engine']}` | {VIEW_TITLES[row['measurement']]} | {' | '.join(cells)} |")
    lines += _none_table([row for row in rows if row["measurement"] == "none_of_these"])
    for row in views:
        title = f"Reliability on `{row['engine']}`: {VIEW_TITLES[row['measurement']]}."
        lines += ["", title, "", *_reliability_table(row["reliability"])]
    return "\n".join(lines)


def _none_table(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    titles = calibration_metrics.NONE_TITLES
    lines = ["", 'Says "none of these" when half of the labels are left out, and the image\'s own are:', ""]
    lines += [f"| engine | {' | '.join(titles.values())} |", f"|---|{'---:|' * len(titles)}"]
    for row in rows:
        cells = [estimate_text(name, row[name]) if name in row else "-" for name in titles]
        lines.append(f"| `{row['engine']}` | {' | '.join(cells)} |")
    return lines


def _reliability_table(bins: Sequence[Row]) -> list[str]:
    lines = ["| probability | predictions | mean % | came true % |", "|---|---:|---:|---:|"]
    for each in bins:
        lines.append(
            f"| {each['low']:.3f} to {each['high']:.3f} | {each['number']:,}"
            f" | {100 * each['probability']:.1f} | {estimate_text('right', each['right'])} |"
        )
    return lines
