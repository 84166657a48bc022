"""Tells, while images are added, which of them a table has already."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.base import Embeddings
from use_cases.retrieval.image_table import ImageTable
from use_cases.retrieval.records import ImageRecord
from use_cases.retrieval.snapshot import Neighbours
from use_cases.retrieval.thumbnails import different_bits

# Two images are one picture when a model finds them alike and they look alike, too. A model alone takes the
# photos of two weirs for one, the hash alone one white page for another. Of copies of the 381 pictures of the
# demo gallery siglit-mini found 380 that were compressed anew, 363 halved and 251 that lost 5 % at each edge,
# and took no picture for another one.
NEAR_COSINE = 0.8
NEAR_BITS = 10  # of 64 in which their difference hashes may differ
_LOOKED_AT = 5  # neighbours of each image


def find_duplicates(table: ImageTable, records: Sequence[ImageRecord], embeddings: Embeddings) -> list[str]:
    """Return the id of the first image that each is a duplicate of; "" for new ones.

    An image is one when its file, or nearly the picture, is that of an image in the table or earlier in the
    list.

    Args:
        table: what to compare with.
        records: about to be added to it, or to take the place of those with the same ids.
        embeddings: [n, dim], in their order.
    """
    leaving = {record.id for record in records}  # the table's own state of them does not count
    same = table.with_content([record.content_hash for record in records])
    near = _near(table, records, embeddings, leaving)
    found: list[str] = []
    originals: list[int] = []  # of this list
    for position, record in enumerate(records):
        known = same.get(record.content_hash)
        owner = known.id if known and known.id not in leaving else near[position]
        if not owner and originals:
            close = np.flatnonzero(embeddings[originals] @ embeddings[position] >= NEAR_COSINE)
            owner = _alike(record, [records[originals[place]] for place in close])
        if not owner:
            originals.append(position)
        found.append(owner)
    return found


def _near(
    table: ImageTable, records: Sequence[ImageRecord], embeddings: Embeddings, leaving: set[str]
) -> list[str]:
    """Return the original in the table that each image is nearly the same as; "" for none."""
    snapshot = table.snapshot()
    if not len(snapshot):
        return [""] * len(records)
    nearest = snapshot.nearest(embeddings, _LOOKED_AT, effort="quick")
    close = [each.best(int((each.cosines >= NEAR_COSINE).sum())) for each in nearest]
    facts = iter(snapshot.facts(Neighbours.joined(close)))
    candidates = [[next(facts) for _ in each.ids] for each in close]
    return [
        _alike(record, [other for other in others if (other.duplicate_of or other.id) not in leaving])
        for record, others in zip(records, candidates, strict=True)
    ]


def _alike(record: ImageRecord, others: Sequence[ImageRecord]) -> str:
    """Return the original of the first image that looks like one; "" for none."""
    for other in others:
        if different_bits(record.difference_hash, other.difference_hash) <= NEAR_BITS:
            return other.duplicate_of or other.id
    return ""
