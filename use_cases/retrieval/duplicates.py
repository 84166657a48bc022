"""Tells, while images are added, which of them a table has already."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines.base import Embeddings
from use_cases.retrieval.image_table import ImageTable
from use_cases.retrieval.records import ImageRecord

# Above it two pictures are the same one, cropped, scaled or compressed anew. Measured on the demo gallery.
NEAR_DUPLICATE_COSINE = 0.97
_LOOKED_AT = 2  # neighbours of each image: the nearest may be the image itself, added before


def find_duplicates(table: ImageTable, records: Sequence[ImageRecord], embeddings: Embeddings) -> list[str]:
    """Return the id of the first image that each is a duplicate of; "" for new ones.

    An image is one when its file, or nearly its embedding, is that of an image in the table or earlier in
    the list.

    Args:
        table: what to compare with.
        records: about to be added to it, or to take the place of those with the same ids.
        embeddings: [n, dim], in their order.
    """
    leaving = {record.id for record in records}  # the table's own state of them does not count
    same = table.with_content([record.content_hash for record in records])
    near = _near(table, embeddings, leaving)
    found: list[str] = []
    originals: list[int] = []  # of this list
    for position, record in enumerate(records):
        known = same.get(record.content_hash)
        owner = known.id if known and known.id not in leaving else near[position]
        if not owner and originals:
            cosines = embeddings[originals] @ embeddings[position]
            best = int(cosines.argmax())
            owner = records[originals[best]].id if cosines[best] >= NEAR_DUPLICATE_COSINE else ""
        if not owner:
            originals.append(position)
        found.append(owner)
    return found


def _near(table: ImageTable, embeddings: Embeddings, leaving: set[str]) -> list[str]:
    """Return the original that each image is nearly equal to in the table; "" for none."""
    snapshot = table.snapshot()
    if not len(snapshot):
        return [""] * len(embeddings)
    nearest = [
        next((id_ for id_ in _close(each.ids, each.cosines) if id_ not in leaving), "")
        for each in snapshot.nearest(embeddings, _LOOKED_AT)
    ]
    owners = table.lookup(sorted({id_ for id_ in nearest if id_}))
    originals = {id_: record.duplicate_of or id_ for id_, record in owners.items()}
    return [originals.get(id_, "") if originals.get(id_) not in leaving else "" for id_ in nearest]


def _close(ids: Sequence[str], cosines: NDArray[np.float32]) -> list[str]:
    return [id_ for id_, cosine in zip(ids, cosines, strict=True) if cosine >= NEAR_DUPLICATE_COSINE]
