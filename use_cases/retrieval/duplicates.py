"""NearDuplicates: tells, while images are added, which of them the index has already."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines.base import Embeddings
from use_cases.retrieval.image_index import ImageTable
from use_cases.retrieval.records import ImageRecord

# Above it two pictures are the same one, cropped, scaled or compressed anew. Measured on the demo gallery.
NEAR_DUPLICATE_COSINE = 0.97
_MATRIX_ROWS = 50_000  # are compared in memory, which takes 0.1 GB; the ANN index finds more of them faster


class NearDuplicates:
    """Compares new images with all that one table holds: their files by hash, their content by cosine."""

    def __init__(self, table: ImageTable, hashes: dict[str, str]) -> None:
        """Read the table's embeddings, if they are few enough.

        Args:
            table: what to compare with.
            hashes: the id of an image in it by its file's hash.
        """
        self._table = table
        self._hashes = hashes
        self._ids: list[str] = []
        self._matrix: NDArray[np.float32] = np.empty((0, table.spec.dim), np.float32)
        self._in_memory = len(table) <= _MATRIX_ROWS
        if self._in_memory:
            for records, embeddings in table.scan():
                self._remember([record.id for record in records], embeddings)

    def find(self, records: Sequence[ImageRecord], embeddings: Embeddings) -> list[str]:
        """Return the id of the first image that each is a duplicate of; "" for new ones, which it notes.

        Args:
            records: about to be added.
            embeddings: [n, dim], in their order.
        """
        nearest = self._nearest(embeddings)
        found: list[str] = []
        fresh: list[int] = []  # of this call
        for position, record in enumerate(records):
            duplicate_of = self._hashes.get(record.content_hash, "")
            if duplicate_of == record.id:  # a file that is added again
                duplicate_of = ""
            if not duplicate_of and nearest[position] != record.id:
                duplicate_of = nearest[position]
            if not duplicate_of and fresh:
                cosines = embeddings[fresh] @ embeddings[position]
                best = int(cosines.argmax())
                if cosines[best] >= NEAR_DUPLICATE_COSINE:
                    duplicate_of = records[fresh[best]].id
            if not duplicate_of:
                fresh.append(position)
                self._hashes.setdefault(record.content_hash, record.id)
            found.append(duplicate_of)
        if self._in_memory:
            self._remember([records[position].id for position in fresh], embeddings[fresh])
        return found

    def _nearest(self, embeddings: Embeddings) -> list[str]:
        """Return the id of the image that each is nearly equal to among those known; "" for none."""
        if self._in_memory:
            if not len(self._matrix):
                return [""] * len(embeddings)
            cosines = embeddings @ self._matrix.T
            best = cosines.argmax(axis=1)
            close = cosines[np.arange(len(best)), best] >= NEAR_DUPLICATE_COSINE
            return [self._ids[i] if near else "" for i, near in zip(best, close, strict=True)]
        neighbours = self._table.nearest(embeddings, 1)
        return [
            each.ids[0] if len(each.ids) and each.cosines[0] >= NEAR_DUPLICATE_COSINE else ""
            for each in neighbours
        ]

    def _remember(self, ids: Sequence[str], embeddings: Embeddings) -> None:
        self._ids += ids
        self._matrix = np.concatenate([self._matrix, embeddings])
