"""One sentence that says why the columns of a comparison differ, computed from their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from use_cases.comparison.columns import Column, ComparedLabel, own_score

_FITS = 0.5  # a sigmoid at or above it says "rather yes than no"
_NEAR_TIE = 0.9  # of the best softmax share, which the next one reaches
_SHOWN_CHARS = 40  # of a label


def explain(columns: Sequence[Column]) -> str:
    """Return one sentence about the two columns that differ most in kind, or else in rank.

    Args:
        columns: those that answered, all about the same labels.
    """
    if len(columns) < 2:
        return "There is nothing to compare yet: choose a second model or engine that answers."
    first, second = _pair(columns)
    if len(first.labels) == 1:
        return f"{_single(first, second)}."
    parts = [_order(first, second), _scores(first, second), *_ties(first, second)]
    return f"{'; '.join(parts)}."


def column_name(column: Column, columns: Sequence[Column]) -> str:
    """Return the model's name, with its engine where several columns have the same model."""
    same = sum(other.model == column.model for other in columns)
    return column.model if same == 1 else f"{column.model} on {column.engine}"


def _pair(columns: Sequence[Column]) -> tuple[Column, Column]:
    """Choose a sigmoid and a softmax model if there are both, else the two that disagree most."""
    sigmoid = [column for column in columns if column.score == "sigmoid"]
    softmax = [column for column in columns if column.score == "softmax"]
    if sigmoid and softmax:
        return sigmoid[0], softmax[0]
    return max(combinations(columns, 2), key=lambda pair: _widest(*pair)[0])


def _single(first: Column, second: Column) -> str:
    """Say what a single label gets: a softmax has nobody to share with."""
    parts = []
    for column in (first, second):
        (label,) = column.labels
        name = column_name(column, (first, second))
        if column.score == "sigmoid":
            parts.append(f"the sigmoid of {name} says {_percent(own_score(label))}")
        else:
            parts.append(f"the softmax of {name} says {_percent(own_score(label))} whatever the image shows")
    return f"With a single label {' and '.join(parts)}"


def _order(first: Column, second: Column) -> str:
    """Compare the ranks."""
    one, two = (column_name(column, (first, second)) for column in (first, second))
    top_one, top_two = first.labels[0].label, second.labels[0].label
    difference, label, ranks = _widest(first, second)
    if not difference:
        return f"{one} and {two} rank all labels alike, {_quoted(top_one)} first"
    if top_one == top_two:
        start = f"{one} and {two} both put {_quoted(top_one)} first"
    else:
        start = f"{one} puts {_quoted(top_one)} first, {two} {_quoted(top_two)}"
    return f"{start}, and their ranks differ most for {_quoted(label)} (#{ranks[0]} against #{ranks[1]})"


def _widest(first: Column, second: Column) -> tuple[int, str, tuple[int, int]]:
    """Return the largest difference between a label's ranks, the label, and its ranks."""
    others = {each.label: each.rank for each in second.labels}
    widest = max(first.labels, key=lambda each: abs(each.rank - others[each.label]))
    ranks = widest.rank, others[widest.label]
    return abs(ranks[0] - ranks[1]), widest.label, ranks


def _scores(first: Column, second: Column) -> str:
    """Compare the probabilities."""
    if first.score != second.score:
        return _sigmoid_and_softmax(first, second)
    if first.model == second.model:
        return (
            f"it is one model, whose cosines differ by at most {_cosine_gap(first, second):.4f}"
            " between the engines' number formats"
        )
    others = {each.label: own_score(each) for each in second.labels}
    widest = max(first.labels, key=lambda each: abs(own_score(each) - others[each.label]))
    return (
        f"both scores are a {first.score}'s, and differ most for {_quoted(widest.label)}"
        f" ({_percent(own_score(widest))} against {_percent(others[widest.label])}),"
        " because each model has an embedding space and a temperature of its own"
    )


def _sigmoid_and_softmax(sigmoid: Column, softmax: Column) -> str:
    fitting = [each for each in sigmoid.labels if own_score(each) >= _FITS]
    best, share = sigmoid.labels[0], softmax.labels[0]
    if not fitting:
        return (
            f"the sigmoid of {sigmoid.model} says that none fits (best probability"
            f" {_percent(own_score(best))}), which the softmax of {softmax.model} cannot say: it must"
            f" share out 100 %, and gives {_percent(share.softmax)} to {_quoted(share.label)}"
        )
    if len(fitting) > 1:
        return (
            f"the sigmoid of {sigmoid.model} judges each label alone and finds that {len(fitting)} fit,"
            f" while the softmax of {softmax.model} must share 100 % among all {len(softmax.labels)}"
        )
    return (
        f"the sigmoid of {sigmoid.model} judges {_quoted(best.label)} alone"
        f" ({_percent(own_score(best))}), while the softmax of {softmax.model} gives"
        f" {_quoted(share.label)} {_percent(share.softmax)} of the 100 % that all labels share"
    )


def _ties(first: Column, second: Column) -> list[str]:
    """Name the columns whose two best labels are too close to call."""
    ties = []
    for column in (first, second):
        best, next_best = column.labels[:2]
        if next_best.softmax >= _NEAR_TIE * best.softmax:
            ties.append(
                f"with {column_name(column, (first, second))} it is nearly a tie,"
                f" {_quoted(best.label)} and {_quoted(next_best.label)} are"
                f" {best.cosine - next_best.cosine:.4f} of a cosine apart"
            )
    return ties


def _cosine_gap(first: Column, second: Column) -> float:
    others: dict[str, ComparedLabel] = {each.label: each for each in second.labels}
    return max(abs(each.cosine - others[each.label].cosine) for each in first.labels)


def _quoted(label: str) -> str:
    return f"“{label}”" if len(label) <= _SHOWN_CHARS else f"“{label[:_SHOWN_CHARS]}…”"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
