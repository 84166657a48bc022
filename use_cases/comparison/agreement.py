"""How far two models, or two engines of one model, agree about the same images and texts.

Cosines of different models lie in different ranges, so their order is compared, not their values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from use_cases.zero_shot import Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class PairAgreement:
    """Two columns of a comparison; correlations are in [-1, 1], and None where one column is constant.

    A share is None where there was no choice: the best of a single text, or image, is always the same.
    """

    spearman: float | None  # of the cosines of all pairs of an image and a text
    kendall: float | None  # tau-b of the order of the texts, mean over the images
    same_best_text: float | None  # share of the images, 0 to 1
    same_best_image: float | None  # share of the texts, 0 to 1


def agreement(first: Scores, second: Scores) -> PairAgreement:
    """Compare the cosines of two models for the same images and texts, both [n_images, n_texts]."""
    taus = [kendall_tau(*rows) for rows in zip(first, second, strict=True)]
    known = [tau for tau in taus if tau is not None]
    return PairAgreement(
        spearman=spearman_correlation(first.ravel(), second.ravel()),
        kendall=float(np.mean(known)) if known else None,
        same_best_text=_same(first, second, axis=1),
        same_best_image=_same(first, second, axis=0),
    )


def spearman_correlation(first: NDArray[Any], second: NDArray[Any]) -> float | None:
    """Return Pearson's correlation of the ranks, [n] each; equal values share their mean rank."""
    ranks = [_centred_ranks(values) for values in (first, second)]
    lengths = [float(np.linalg.norm(each)) for each in ranks]
    if 0.0 in lengths:
        return None
    return float(np.clip(ranks[0] @ ranks[1] / (lengths[0] * lengths[1]), -1, 1))


def kendall_tau(first: NDArray[Any], second: NDArray[Any]) -> float | None:
    """Return Kendall's tau-b of two rows, [n] each, which takes ties into account.

    It counts all n * (n - 1) / 2 pairs, so it is for rows of hundreds, not of millions.
    """
    signs = [np.sign(values[:, None] - values[None, :]) for values in (first, second)]  # [n, n]
    untied = [float(np.count_nonzero(each)) for each in signs]
    if 0.0 in untied:
        return None
    return float(np.clip((signs[0] * signs[1]).sum() / np.sqrt(untied[0] * untied[1]), -1, 1))


def _centred_ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[inverse.ravel()]
    centred: NDArray[np.float64] = ranks - ranks.mean()
    return centred


def _same(first: Scores, second: Scores, axis: int) -> float | None:
    if first.shape[axis] < 2:
        return None
    return float(np.mean(first.argmax(axis) == second.argmax(axis)))
