"""Tells, while images are added, which of them a table has already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from engines.base import Embeddings
from use_cases.retrieval.image_table import ImageTable
from use_cases.retrieval.marks import changed_ids
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
    """Return the id of the original that each is a duplicate of; "" for originals.

    An image is one when its file, or nearly the picture, is that of an image in the table or of another in
    the list. One that the table has with the same file, so that only its caption is new, stays what it is.

    Args:
        table: what to compare with.
        records: about to be added to it, or to take the place of those with the same ids. The new ones are
            to be written first: they may name an image that is about to change, which then hands them over.
        embeddings: [n, dim], in their order.
    """
    held = table.lookup([record.id for record in records])
    changed = changed_ids(records, held)
    same = table.with_content([record.content_hash for record in records])
    near = _near(table, records, embeddings, changed)
    found = [held[record.id].duplicate_of if record.id in held else "" for record in records]
    originals: list[int] = []  # of this list
    for position in _in_order_of_writing(records, held, changed):
        record = records[position]
        known = same.get(record.content_hash)
        owner = known.id if known and _may_name(record, known, changed) else near[position]
        if not owner and originals:
            close = np.flatnonzero(embeddings[originals] @ embeddings[position] >= NEAR_COSINE)
            owner = _alike(record, [records[originals[place]] for place in close])
        if not owner:
            originals.append(position)
        found[position] = owner
    return found


def _in_order_of_writing(
    records: Sequence[ImageRecord], held: Mapping[str, ImageRecord], changed: set[str]
) -> list[int]:
    """Return where the new records are, then those with another file; the others stay what they are."""
    new = [place for place, record in enumerate(records) if record.id not in held]
    return new + [place for place, record in enumerate(records) if record.id in changed]


def _may_name(record: ImageRecord, other: ImageRecord, changed: set[str]) -> bool:
    """Tell whether a record may be marked with another one's original, which is to be there when both are."""
    return record.id not in changed or (other.id not in changed and other.duplicate_of not in changed)


def _near(
    table: ImageTable, records: Sequence[ImageRecord], embeddings: Embeddings, changed: set[str]
) -> list[str]:
    """Return the original in the table that each image is nearly the same as; "" for none."""
    snapshot = table.snapshot()
    if not len(snapshot):
        return [""] * len(records)
    nearest = snapshot.nearest(embeddings, _LOOKED_AT, effort="quick")
    close = [each.best(int((each.cosines >= NEAR_COSINE).sum())) for each in nearest]
    facts = iter(snapshot.facts(Neighbours.joined(close)))
    candidates = [[next(facts) for _ in each.rows] for each in close]
    return [
        _alike(record, [other for other in others if _may_name(record, other, changed)])
        for record, others in zip(records, candidates, strict=True)
    ]


def _alike(record: ImageRecord, others: Sequence[ImageRecord]) -> str:
    """Return the original of the first image that looks like one; "" for none."""
    for other in others:
        if different_bits(record.difference_hash, other.difference_hash) <= NEAR_BITS:
            return other.duplicate_of or other.id
    return ""
