"""Check that an index can be read and is consistent."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from use_cases.retrieval.image_table import ImageTable

_TOLERANCE = 1e-3  # of an embedding's length
_PAGE = 500
_MAX_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found in one table."""

    images: int
    problems: tuple[str, ...]  # one sentence each; the first hundred


def verify_table(table: ImageTable) -> Verification:
    """Read all of a table.

    Args:
        table: to read; what is committed meanwhile may be missed.

    Raises:
        IndexStorageError: when some of it cannot be read.
    """
    problems: list[str] = []
    names: Counter[str] = Counter()
    duplicates: dict[str, str] = {}
    for records, embeddings in table.scan():
        names.update(record.id for record in records)
        duplicates.update({record.id: record.duplicate_of for record in records if record.duplicate_of})
        lengths = np.linalg.norm(embeddings, axis=1)
        problems += [
            f"The embedding of {records[place].id!r} has the length {lengths[place]:.4f}, not 1."
            for place in np.flatnonzero(~(np.abs(lengths - 1) <= _TOLERANCE))
        ]
    problems += [f"{id_!r} is there {times} times." for id_, times in names.items() if times > 1]
    problems += _wrong_marks(duplicates, names)
    problems += _damaged_thumbnails(table)
    return Verification(len(names), tuple(problems[:_MAX_PROBLEMS]))


def _wrong_marks(duplicates: Mapping[str, str], names: Collection[str]) -> list[str]:
    """Return what is wrong with the originals that duplicates name, by the duplicates' ids."""
    problems: list[str] = []
    for id_, original in duplicates.items():
        if original == id_:
            problems.append(f"{id_!r} is marked as a duplicate of itself.")
        elif original in duplicates:
            problems.append(f"{id_!r} is marked as a duplicate of {original!r}, which is a duplicate itself.")
        elif original not in names:
            problems.append(f"{id_!r} is marked as a duplicate of {original!r}, which is not there.")
    return problems


def _damaged_thumbnails(table: ImageTable) -> list[str]:
    snapshot = table.snapshot()
    return [
        f"The thumbnail of {record.id!r} is damaged."
        for start in range(0, len(snapshot), _PAGE)
        for record in snapshot.page(start, _PAGE)
        if not _is_image(record.thumbnail)
    ]


def _is_image(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            image.load()
    except OSError:
        return False
    return True
