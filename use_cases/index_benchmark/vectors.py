"""Made-up embeddings that lie as an image model's do: in clusters, in few directions more than in many."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from engines.base import Embeddings, normalize

DIM = 512
BLOCK = 20_000
_CLUSTERS = 20_000
_SPREAD = 0.7  # of a cluster's members, against that of the clusters
_DECAY = -0.5  # of the standard deviation along the directions, the first the widest


class SyntheticVectors:
    """Unit vectors without end; evenly spread ones would be as hard to index as no images are."""

    def __init__(self, seed: int, dim: int = DIM) -> None:
        """Draw the clusters.

        Args:
            seed: another one gives other vectors.
            dim: of the vectors.
        """
        self._seed = seed
        self._random = np.random.default_rng(seed)
        self._widths = (np.arange(1, dim + 1) ** _DECAY).astype(np.float32)
        self._centres = self._draw(self._random, _CLUSTERS)

    def take(self, count: int) -> Embeddings:
        """Return the next vectors of a stream, [count, dim]; another object of this seed has the same."""
        return self._members(self._random, count)

    def blocks(self, start: int, count: int) -> Iterator[Embeddings]:
        """Return as many vectors in blocks, so that they need not be in memory together.

        Args:
            start: how many were taken in blocks before, by any object of this seed: these are others.
            count: how many.
        """
        for place in range(start, start + count, BLOCK):
            random = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(place,)))
            yield self._members(random, min(BLOCK, start + count - place))

    def _members(self, random: np.random.Generator, count: int) -> Embeddings:
        members = self._centres[random.integers(0, _CLUSTERS, count)] + _SPREAD * self._draw(random, count)
        return normalize(members.astype(np.float32))

    def _draw(self, random: np.random.Generator, count: int) -> NDArray[np.float32]:
        drawn: NDArray[np.float32] = (
            random.standard_normal((count, len(self._widths)), np.float32) * self._widths
        )
        return drawn


class ExactNearest:
    """The exact nearest of some queries among blocks that come one after the other."""

    def __init__(self, queries: Embeddings, count: int) -> None:
        """Take the queries.

        Args:
            queries: [n, dim].
            count: how many are wanted for each.
        """
        self.queries = queries
        self._count = count
        self._cosines = np.empty((len(queries), 0), np.float32)
        self._places = np.empty((len(queries), 0), np.int64)

    def see(self, block: Embeddings, numbers: NDArray[np.int64]) -> None:
        """Compare with a block of vectors, which have these numbers."""
        cosines = np.concatenate([self._cosines, self.queries @ block.T], axis=1)
        places = np.concatenate(
            [self._places, np.broadcast_to(numbers, (len(self.queries), len(block)))], axis=1
        )
        best = np.argpartition(-cosines, min(self._count, cosines.shape[1] - 1), axis=1)[:, : self._count]
        self._cosines = np.take_along_axis(cosines, best, axis=1)
        self._places = np.take_along_axis(places, best, axis=1)

    def places(self) -> list[set[int]]:
        """Return the numbers of the nearest, for each query."""
        return [set(row) for row in self._places.tolist()]
