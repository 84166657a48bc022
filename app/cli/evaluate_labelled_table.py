"""Zero-shot and calibration results as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from app.cli.evaluate_left_out import left_out_lines
from use_cases.labelled import calibration_metrics, metrics
from use_cases.labelled.accuracy import Accuracy
from use_cases.labelled.calibration import Calibration
from use_cases.labelled.comparison import DatasetFacts, Subject
from use_cases.labelled.embedding import WAYS
from use_cases.labelled.rows import CALIBRATION_INTERVALS, accuracy_intervals
from use_cases.labelled.tables import VIEW_TITLES, WAY_TITLES, dataset_line, estimate_text, published_lines
from use_cases.published import published_accuracy
from use_cases.resampling import Estimate, unsure_text
from use_cases.wording import counted

_COLUMN = 26  # characters


def accuracy_table(accuracy: Accuracy) -> str:
    """Return what was measured: the dataset, a block for each way of asking, and what it took."""
    subjects = [model.subject for model in accuracy.models]
    width = max(len(text) for text in (*(each.title for each in subjects), *WAY_TITLES.values())) + 4
    lines = _dataset(accuracy.facts)
    for way in WAYS:
        heads = [metrics.METRIC_TITLES[name] for name in accuracy.metrics]
        lines += ["", _line(WAY_TITLES[way], width, heads)]
        lines += [
            _line(model.subject.title, width, _cells(model.estimates[way])) for model in accuracy.models
        ]
        for difference in accuracy.differences:
            line = _line(f"first - {difference.other.title}", width, _cells(difference.estimates[way]))
            lines.append(line + unsure_text(difference.estimates[way], metrics.METRIC_TITLES))
        guesses = [f"{100 * value:.1f}" for value in accuracy.chance.values()]
        lines.append(_line("by chance", width, guesses))
    found = [published_accuracy(model) for model in dict.fromkeys(subject.model for subject in subjects)]
    published = published_lines([asdict(each) for each in found if each])
    note = f"In brackets: {accuracy_intervals(accuracy)}."
    return "\n".join([*lines, "", *_subjects(subjects), *published, note])


def calibration_table(calibration: Calibration) -> str:
    """Return what was measured: the dataset, a block for each kind of prediction, and the curves."""
    subjects = [model.subject for model in calibration.models]
    width = max(len(text) for text in (*(each.title for each in subjects), *VIEW_TITLES.values())) + 2
    lines = _dataset(calibration.facts)
    for view, title in VIEW_TITLES.items():
        models = [model for model in calibration.models if view in model.views]
        if models:
            lines += ["", _line(title, width, list(calibration_metrics.METRIC_TITLES.values()))]
        lines += [_line(model.subject.title, width, _cells(model.views[view].estimates)) for model in models]
    telling = [model for model in calibration.models if model.none_of_these]
    if telling:
        heads = list(calibration_metrics.NONE_TITLES.values())
        lines += ["", _line('says "none of these"', width, heads)]
        lines += [_line(model.subject.title, width, _cells(model.none_of_these)) for model in telling]
    for model in calibration.models:
        for view, found in model.views.items():
            lines += [
                "",
                f"{model.subject.title}, {VIEW_TITLES[view]}: probability, predictions, came true %",
            ]
            lines += [
                f"  {100 * each.low:5.1f} to {100 * each.high:5.1f} %, mean {100 * each.probability:5.1f} %"
                f"{each.number:>12,}   {estimate_text('right', asdict(each.right))}"
                for each in found.reliability
            ]
    note = (
        'Softmax rows of a sigmoid model are what softmax over its logits would give. "None of these": half'
        f" of the labels left out, {calibration_metrics.NUM_HALVES} times; the image's own gone, or there."
    )
    return "\n".join(
        [
            *lines,
            "",
            *_subjects(subjects),
            note,
            f"In brackets: {CALIBRATION_INTERVALS}.",
        ]
    )


def _dataset(facts: DatasetFacts) -> list[str]:
    line = dataset_line(facts.name, len(facts.digests), len(facts.labels), is_single=facts.is_single)
    return [line, *facts.notes, *left_out_lines(facts.left_out)]


def _subjects(subjects: Sequence[Subject]) -> list[str]:
    lines: list[str] = []
    for subject in subjects:
        lines.append(f"{subject.title}: {subject.score} scores; {_costs(subject)}")
        if subject.num_reused_images or subject.num_reused_texts:
            lines.append(
                f"  {counted(subject.num_reused_images, 'image')} and"
                f" {counted(subject.num_reused_texts, 'prompt')} from an earlier run; --fresh embeds them"
                " again"
            )
        lines.append(f"  prompt templates: {', '.join(subject.templates)}")
        if subject.quality:
            lines.append(f"  {subject.quality.summary}")
        if subject.num_truncated:
            lines.append(
                f"  {counted(subject.num_truncated, 'prompt')} too long: only the beginning was read"
            )
    return lines


def _costs(subject: Subject) -> str:
    parts = [
        f"{ms:.1f} ms {what}"
        for ms, what in ((subject.image_ms, "an image, with reading it"), (subject.text_ms, "a prompt"))
        if ms is not None
    ]
    return ", ".join(parts) or "nothing had to be embedded"


def _cells(estimates: Mapping[str, Estimate]) -> list[str]:
    return [estimate_text(name, asdict(estimate)) for name, estimate in estimates.items()]


def _line(name: str, width: int, cells: Sequence[str]) -> str:
    return f"{name:<{width}}{''.join(f'{cell:>{_COLUMN}}' for cell in cells)}"
