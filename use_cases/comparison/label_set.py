"""How much the scores depend on which other labels are asked: a softmax's do, a sigmoid's do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from use_cases.comparison.columns import ModelScores
from use_cases.zero_shot import Scores, scores_from_logits

_MAX_LEFT_OUT = 5  # rows of the table


@dataclass(frozen=True, slots=True)
class Move:
    """The label whose probability moved most when the set of labels changed."""

    model: str
    engine: str
    label: str
    before: float  # in [0, 1], the model's own score
    after: float


@dataclass(frozen=True, slots=True)
class LabelSetChange:
    """One label left out or added, and what that did to the others."""

    change: str  # "without" or "with"
    label: str
    moves: tuple[Move, ...]  # one a column


def change_labels(scores: Sequence[ModelScores], distractor: str = "") -> list[LabelSetChange]:
    """Leave the best labels out one by one, then add a distractor.

    Args:
        scores: of the columns, all for the same labels, of which the last is the distractor if there is one.
        distractor: a label that nobody asked for; empty for none.
    """
    if not scores:
        return []
    count = len(scores[0].labels) - bool(distractor)
    asked = np.arange(count)
    changes = []
    for index in _best(scores, count) if count > 1 else ():
        kept = asked[asked != index]
        changes.append(_change("without", scores[0].labels[index], scores, asked, kept))
    if distractor:
        changes.append(_change("with", distractor, scores, asked, np.arange(count + 1)))
    return changes


def _best(scores: Sequence[ModelScores], count: int) -> list[int]:
    """Return the positions of the labels that do best with any model, the very best first."""
    ranks = np.array([np.argsort(np.argsort(-each.logits()[:count], kind="stable")) for each in scores])
    order: list[int] = np.argsort(ranks.min(axis=0), kind="stable").tolist()
    return order[:_MAX_LEFT_OUT]


def _change(
    change: str,
    label: str,
    scores: Sequence[ModelScores],
    before: NDArray[np.int64],
    after: NDArray[np.int64],
) -> LabelSetChange:
    return LabelSetChange(change, label, tuple(_move(each, before, after) for each in scores))


def _move(scores: ModelScores, before: NDArray[np.int64], after: NDArray[np.int64]) -> Move:
    """Compare the scores of the labels that are in both sets, each set scored as the model does."""
    logits = scores.logits()
    old, new = (_scores_of(scores, logits, chosen) for chosen in (before, after))
    both = np.intersect1d(before, after)
    shifts = np.abs(new[both] - old[both])
    index = both[int(shifts.argmax() if shifts.any() else old[both].argmax())]
    return Move(scores.spec.name, scores.engine, scores.labels[index], float(old[index]), float(new[index]))


def _scores_of(scores: ModelScores, logits: Scores, chosen: NDArray[np.int64]) -> Scores:
    """Return the scores at the positions of the chosen labels; not a number elsewhere."""
    placed = np.full(len(logits), np.nan, np.float32)
    placed[chosen] = scores_from_logits(logits[chosen], scores.spec)
    return placed
