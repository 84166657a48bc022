"""HashedCaptions: which images and captions retrieval was measured on, told by their content."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass

from engines.errors import InvalidInputError
from use_cases.labelled.hashing import file_digest
from use_cases.retrieval.captioned import CaptionSet

_UNREADABLE = "0" * 64  # for the digest of a file that cannot be read, which no engine can embed either
_TELL_EVERY = 5_000  # images between two lines of progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HashedCaptions:
    """A dataset with the hash that names its content; it keeps the dataset's order."""

    dataset: CaptionSet
    digests: tuple[str, ...]  # SHA-256 of the images' files, hexadecimal
    sha256: str  # of all images that can be read, and their captions; names and order do not count


def hash_captions(dataset: CaptionSet) -> HashedCaptions:
    """Read all files once; one that cannot be read counts for nothing."""
    digests: list[str] = []
    for image in dataset.images:
        try:
            digests.append(file_digest(image.source))
        except InvalidInputError:  # whoever embeds the image is told why
            digests.append(_UNREADABLE)
        if len(digests) % _TELL_EVERY == 0:
            logger.info(
                "%s: %s of %s images hashed", dataset.name, f"{len(digests):,}", f"{len(dataset.images):,}"
            )
    lines = sorted(
        json.dumps([digest, sorted(image.captions)])
        for digest, image in zip(digests, dataset.images, strict=True)
        if digest != _UNREADABLE
    )
    return HashedCaptions(dataset, tuple(digests), hashlib.sha256("\n".join(lines).encode()).hexdigest())
