"""CaptionedImage and CaptionSet: images with the sentences that describe them, to measure retrieval on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

MAX_CAPTIONS_BYTES = 1_000_000  # of the text file with one image's captions


@dataclass(frozen=True, slots=True)
class CaptionedImage:
    """One image, not read yet, and at least one caption of it."""

    name: str  # as reports call it
    source: Path | Callable[[], bytes]  # as `read_image` takes it
    captions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CaptionSet:
    """A dataset for retrieval: each caption belongs to one image."""

    name: str  # without the folders before it
    images: tuple[CaptionedImage, ...]
    notes: tuple[str, ...] = ()  # sentences on what was left out, and on what the reader should know

    @property
    def num_captions(self) -> int:
        """Return how many captions all images have together."""
        return sum(len(image.captions) for image in self.images)


def tidy_captions(captions: Iterable[str]) -> tuple[str, ...]:
    """Return the captions without blank ones and without spaces around them; else as they stand."""
    # JSON may have halves of characters, which no tokenizer takes.
    whole = (caption.encode("utf-8", "replace").decode("utf-8") for caption in captions)
    return tuple(stripped for caption in whole if (stripped := caption.strip()))
