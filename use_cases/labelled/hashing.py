"""HashedSet: a labelled dataset in an order of its own content, and the hash that names that content."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engines.errors import InvalidInputError
from engines.preparation.images import read_image_file
from use_cases.labelled.labelled import SEPARATOR, LabelledImage, LabelledSet
from use_cases.wording import counted

_TELL_EVERY = 5_000  # images between two lines of progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HashedSet:
    """A dataset whose images are sorted by the SHA-256 of their files.

    So the same images give the same embeddings, resamples and intervals, whether they come from a folder, a
    table or an archive, and whatever they are called.
    """

    dataset: LabelledSet  # its images in the order of their digests
    digests: tuple[str, ...]  # hexadecimal, per image
    sha256: str  # of all images and labels


def hash_set(dataset: LabelledSet) -> HashedSet:
    """Read all files once; those that cannot be read are left out, with their reasons.

    Raises:
        InvalidInputError: when none can be read.
    """
    left_out = dict(dataset.left_out)
    found: list[tuple[str, str, LabelledImage]] = []
    for position, image in enumerate(dataset.images, 1):
        try:
            found.append((file_digest(image.source), image.name, image))
        except InvalidInputError as error:
            left_out[image.name] = str(error)
        if position % _TELL_EVERY == 0:
            logger.info(
                "%s: %s of %s images hashed", dataset.name, f"{position:,}", f"{len(dataset.images):,}"
            )
    if not found:
        first = dataset.images[0].name
        raise InvalidInputError(
            f"None of the {counted(len(dataset.images), 'image')} of {dataset.name!r} can be read; the first,"
            f" {first!r}: {left_out[first]}"
        )
    found.sort(key=lambda each: each[:2])
    digests = tuple(digest for digest, _, _ in found)
    images = tuple(image for _, _, image in found)
    notes = dataset.notes + _note_copies(digests)
    sorted_set = replace(dataset, images=images, left_out=left_out, notes=notes)
    return HashedSet(sorted_set, digests, _content_hash(digests, images, dataset.labels))


def file_digest(source: Path | Callable[[], bytes]) -> str:
    """Return the SHA-256 of an image's file, hexadecimal.

    Raises:
        InvalidInputError: when it cannot be read.
    """
    data, _ = read_image_file(source() if callable(source) else source)
    return hashlib.sha256(data).hexdigest()


def _content_hash(digests: Sequence[str], images: Sequence[LabelledImage], labels: Sequence[str]) -> str:
    lines = [
        f"{digest} {SEPARATOR.join(sorted(image.labels))}"
        for digest, image in zip(digests, images, strict=True)
    ]
    return hashlib.sha256("\n".join([*sorted(lines), "", *sorted(labels)]).encode()).hexdigest()


def _note_copies(digests: Sequence[str]) -> tuple[str, ...]:
    copies = len(digests) - len(set(digests))
    return (f"{counted(copies, 'image')} the same as another, byte for byte.",) if copies else ()
