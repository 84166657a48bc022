"""Draw how much the scores depend on the set of labels and on the prompt template, as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from app.ui.compare_tables import percent, render_row, render_table
from app.ui.html_parts import escape
from use_cases.comparison.columns import Column
from use_cases.comparison.label_set import LabelSetChange, Move
from use_cases.comparison.one_image import Comparison
from use_cases.comparison.templates import MAX_SPREAD_LABELS, TemplateSpread


def render_sensitivities(comparison: Comparison) -> str:
    """Return two sections that are closed at first."""
    return _label_set(comparison) + _templates(comparison)


def _label_set(comparison: Comparison) -> str:
    changes = comparison.label_set
    if not changes:
        return ""
    rows = [
        render_row(f"{change.change} “{change.label}”", [_move(move) for move in change.moves])
        for change in changes
    ]
    table = render_table(
        "The label that moves most when one label is left out or added, in the model's own probability",
        [
            "change",
            *(f"{escape(each.model)}<small>{escape(each.engine)}</small>" for each in changes[0].moves),
        ],
        rows,
    )
    verdict = _label_set_verdict(changes, comparison.columns)
    return f"<details><summary>Sensitivity to the set of labels: {verdict}</summary>{table}</details>"


def _label_set_verdict(changes: Sequence[LabelSetChange], columns: Sequence[Column]) -> str:
    largest = [
        max(abs(change.moves[index].after - change.moves[index].before) for change in changes)
        for index in range(len(columns))
    ]
    return ", ".join(
        f"{escape(column.model)} moves by {100 * shift:.1f} points"
        for column, shift in zip(columns, largest, strict=True)
    )


def _move(move: Move) -> str:
    if move.before == move.after:
        return "nothing moves"
    shift = f"{100 * (move.after - move.before):+.2f} points"
    return f"{escape(move.label)}<small>{percent(move.before)} → {percent(move.after)}, {shift}</small>"


def _templates(comparison: Comparison) -> str:
    if len(comparison.labels) > MAX_SPREAD_LABELS:
        return f'<p class="note">The templates are compared for at most {MAX_SPREAD_LABELS} labels.</p>'
    missing = "".join(
        f'<p class="note">The templates could not be compared for {escape(each.model)} on'
        f" {escape(each.engine)}: {escape(each.error)}</p>"
        for each in comparison.template_failures
    )
    if not comparison.template_spreads:
        return missing
    tables = "".join(map(_spread, comparison.template_spreads))
    return f"<details><summary>Sensitivity to the prompt template</summary>{tables}{missing}</details>"


def _spread(spread: TemplateSpread) -> str:
    tried = "; ".join(spread.templates)
    firsts = list(dict.fromkeys(spread.best_by_template))
    stable = (
        f"all put “{firsts[0]}” first" if len(firsts) == 1 else f"{len(firsts)} labels come first in turn"
    )
    rows = [
        render_row(
            each.label,
            [
                f"{percent(each.lowest)} to {percent(each.highest)}",
                f"#{each.best_rank}"
                if each.best_rank == each.worst_rank
                else f"#{each.best_rank} to #{each.worst_rank}",
            ],
        )
        for each in spread.labels
    ]
    caption = (
        f"{spread.model} on {spread.engine}, {len(spread.templates)} templates each alone: {stable} ({tried})"
    )
    return render_table(caption, ["label", "probability", "rank"], rows)
