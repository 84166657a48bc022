"""Draw what preparation mistakes do: a table for each model, a row for each mistake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.ui.compare_tables import percent, render_row, render_table
from app.ui.html_parts import escape, render_note
from use_cases.comparison.mistakes import LabelShift, MistakeReport, MistakeResult

EMPTY_STATE = render_note(
    "Drop a photo or choose a picture, then press Make the mistakes.",
    "The same request is prepared wrongly on purpose and sent through the same engine.",
)
_NONE = 0.0005  # a shift below it would be shown as zero


def render_reports(reports: Sequence[MistakeReport], failed: Mapping[str, str]) -> str:
    """Return the HTML of every model's mistakes.

    Args:
        reports: in order.
        failed: why a model gave no answer, by its name.
    """
    sections = "".join(map(_report, reports))
    reasons = "".join(
        f"<section><h3>{escape(model)}</h3><p>⚠ {escape(reason)}</p></section>"
        for model, reason in failed.items()
    )
    return f'<div class="cmp">{sections}{reasons}</div>'


def _report(report: MistakeReport) -> str:
    made = sorted(
        (each for each in report.mistakes if not each.reason), key=lambda each: -abs(each.largest_shift)
    )
    best = report.right[0]
    name = f"{report.model} on {report.engine}"
    right = render_row(
        "Prepared as the model was trained",
        ["", f"{escape(best.label)}<small>{percent(best.score)}</small>"],
    )
    rows = [right, *(render_row(each.title, _cells(each), note=each.why) for each in made)]
    table = render_table(
        f"{name}: what each mistake does to the {report.score} scores, the worst first",
        ["preparation", "largest shift", "first label"],
        rows,
    )
    return (
        f'<section aria-label="{escape(name)}"><h3>{escape(report.model)}</h3>'
        f'<div class="mistakes">{table}</div>'
        f"{_labels(report, made)}{_impossible(report)}</section>"
    )


def _cells(mistake: MistakeResult) -> list[str]:
    moved = max(mistake.labels, key=lambda each: abs(each.shift))
    first = next(each for each in mistake.labels if each.rank == 1)
    changed = '<span class="rank moved">changed</span>' if mistake.top1_changed else "<small>the same</small>"
    shift = f"{_points(mistake.largest_shift)}<small>{escape(moved.label)}</small>"
    return [
        shift if abs(mistake.largest_shift) >= _NONE else "none",
        f"{escape(first.label)}<small>{percent(first.score)}</small>{changed}",
    ]


def _labels(report: MistakeReport, made: Sequence[MistakeResult]) -> str:
    """Return the score of every label with every mistake."""
    by_mistake = [{each.label: each for each in mistake.labels} for mistake in made]
    rows = [
        render_row(right.label, [percent(right.score), *(_shift(found[right.label]) for found in by_mistake)])
        for right in report.right
    ]
    head = ["label", "right", *(escape(each.title) for each in made)]
    table = render_table(f"Every label with every mistake, {report.model}", head, rows)
    return f"<details><summary>Every label</summary>{table}</details>"


def _shift(label: LabelShift) -> str:
    facts = f"{_points(label.shift)}, #{label.rank}, cosine {label.cosine:.4f}"
    return f"{percent(label.score)}<small>{facts}</small>"


def _points(shift: float) -> str:
    return f"{100 * shift:+.1f} points"


def _impossible(report: MistakeReport) -> str:
    rows = [render_row(each.title, [escape(each.reason)]) for each in report.mistakes if each.reason]
    if not rows:
        return ""
    table = render_table(f"Mistakes that cannot be made with {report.model}", ["mistake", "reason"], rows)
    return f"<details><summary>{len(rows)} mistakes that cannot be made here</summary>{table}</details>"
