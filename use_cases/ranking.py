"""Cosines, and the ranks of right answers by them; ties count against the model, whatever rounding does."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.base import Embeddings
from use_cases.zero_shot import Scores

Ranks: TypeAlias = NDArray[np.int64]  # [n_queries], from 1


def cosines(queries: Embeddings, answers: Embeddings) -> Scores:
    """Return the cosines of normalised embeddings, the same for answers that are the same.

    A matrix product alone may round a column by its place, so that chance would order equal ones.

    Args:
        queries: [n_queries, dim].
        answers: [n_answers, dim].
    """
    whole = np.ascontiguousarray(answers)
    rows = whole.view(np.dtype((np.void, whole.dtype.itemsize * whole.shape[1])))  # sorts fast, as bytes
    _, first, places = np.unique(rows, return_index=True, return_inverse=True)
    repeated = len(first) < len(answers)
    scores: Scores = queries @ (answers[first] if repeated else answers).T
    return scores[:, places.ravel()] if repeated else scores


def best_ranks(scores: Scores, right: NDArray[np.bool_]) -> Ranks:
    """Return for each query the rank of the best of its right answers among all wrong ones.

    A wrong answer with the same score ranks before a right one. One whose score is NaN is never found, and
    stands in nobody's way.

    Args:
        scores: [n_queries, n_answers].
        right: likewise; each query has a right answer at least.
    """
    best = np.where(right & ~np.isnan(scores), scores, -np.inf).max(axis=1, keepdims=True)
    before = ~right & ((scores >= best) | np.isneginf(best))
    ranks: Ranks = 1 + np.count_nonzero(before, axis=1)
    return ranks
