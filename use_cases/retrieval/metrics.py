"""How well embeddings find each other: ranks, recall, median rank, MRR, and bootstrap intervals of them.

A query's rank is that of the best of its right answers: 1 means that it came first. Recall at k is the share
of queries with a rank up to k, as papers on CLIP and `clip_benchmark` count it: an image with five captions
is found when one of them is. Ties are counted against the model: a wrong answer with the same score ranks
before the right one, so that a model that gives every pair the same score finds nothing. (`clip_benchmark`
leaves ties to `torch.topk`, whose order is not specified; without ties the recalls are the same.)
"""

from __future__ import annotations

from collections.abc import Mapping
from math import comb
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.base import Embeddings
from use_cases.ranking import Ranks, best_ranks, cosines
from use_cases.resampling import Resampled, blocks, drawn_blocks

Owners: TypeAlias = NDArray[np.int64]  # [n_texts], which image each text describes

RECALL_AT = (1, 5, 10)
METRICS = (*(f"recall_at_{k}" for k in RECALL_AT), "median_rank", "mrr")


def text_to_image_ranks(images: Embeddings, texts: Embeddings, owners: Owners) -> Ranks:
    """Return for each text the rank of its image among all images.

    Args:
        images: [n_images, dim].
        texts: [n_texts, dim].
        owners: [n_texts].
    """
    ranks = np.empty(len(texts), np.int64)
    for start, stop in blocks(len(texts), len(images)):
        own = np.arange(len(images)) == owners[start:stop, None]  # [block, n_images]
        ranks[start:stop] = best_ranks(cosines(texts[start:stop], images), own)
    return ranks


def image_to_text_ranks(images: Embeddings, texts: Embeddings, owners: Owners) -> Ranks:
    """Return for each image the rank of the best of its texts among those of all others.

    Args:
        images: [n_images, dim]; each has at least one text.
        texts: [n_texts, dim].
        owners: [n_texts].
    """
    ranks = np.empty(len(images), np.int64)
    for start, stop in blocks(len(images), len(texts)):
        own = owners == np.arange(start, stop)[:, None]  # [block, n_texts]
        ranks[start:stop] = best_ranks(cosines(images[start:stop], texts), own)
    return ranks


def summarize(ranks: Ranks) -> dict[str, float]:
    """Return the METRICS: recalls and MRR in [0, 1], the median rank from 1."""
    recalls = {f"recall_at_{k}": float(np.mean(ranks <= k)) for k in RECALL_AT}
    return {**recalls, "median_rank": float(np.median(ranks)), "mrr": float(np.mean(1 / ranks))}


def resample(ranks: Ranks, owners: Owners, num_images: int) -> Resampled:
    """Return the METRICS of bootstrap resamples, in this order: images are drawn, each with all its queries.

    The texts of one image are not independent, so images are drawn, not texts.

    Args:
        ranks: [n_queries].
        owners: [n_queries], the image that each query belongs to; counts from 0 where queries are images.
        num_images: from which is drawn.
    """
    order = np.argsort(ranks, kind="stable")
    ordered, ordered_owners = ranks[order], owners[order]
    values = np.stack([*(ordered <= k for k in RECALL_AT), 1 / ordered], axis=1)  # [n_queries, 4]
    rows: list[NDArray[np.float64]] = []
    for counts in drawn_blocks(num_images, len(ranks)):
        weights = counts[:, ordered_owners]  # [block, n_queries]
        means = weights @ values / weights.sum(axis=1, keepdims=True)
        rows.append(np.column_stack([means[:, :-1], _weighted_medians(ordered, weights), means[:, -1]]))
    return np.concatenate(rows)


def chance_recalls(owners: Owners, num_images: int) -> Mapping[str, Mapping[str, float]]:
    """Return the recalls of a model that guesses, by direction: what a small dataset gives away."""
    num_texts = len(owners)
    sizes, counts = np.unique(np.bincount(owners, minlength=num_images), return_counts=True)

    def found(k: int) -> float:
        """Return the mean probability that one of an image's texts is among k drawn ones."""
        missed = [comb(num_texts - size, k) / comb(num_texts, min(k, num_texts)) for size in sizes.tolist()]
        return 1 - float(np.average(missed, weights=counts))

    return MappingProxyType(
        {
            "text_to_image": {f"recall_at_{k}": min(k / num_images, 1.0) for k in RECALL_AT},
            "image_to_text": {f"recall_at_{k}": found(k) for k in RECALL_AT},
        }
    )


def _weighted_medians(ordered: Ranks, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each row of weights the median of the ranks, each repeated so many times.

    Args:
        ordered: [n_queries], ascending.
        weights: [n_resamples, n_queries], whole numbers.
    """
    reached = weights.cumsum(axis=1)
    total = reached[:, -1:]
    lower = np.argmax(reached > (total - 1) // 2, axis=1)
    upper = np.argmax(reached > total // 2, axis=1)
    medians: NDArray[np.float64] = (ordered[lower] + ordered[upper]) / 2
    return medians
