"""Which text describes which image: by the images' captions, or by their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from use_cases.labelled.metrics import Truth


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image file, as people call it, and what describes it."""

    name: str
    path: Path
    caption: str = ""  # none


def own_texts(
    images: Sequence[NamedImage], texts: Sequence[str], typed: Sequence[str] | None
) -> Truth | None:
    """Return which texts describe which images, [n_images, n_texts]; None when nothing is known.

    Args:
        images: all of them, those that cannot be read as well.
        texts: to compare with, each once.
        typed: the text of each image, see `is_in_order`; None where an image's caption describes it.
    """
    own = np.array([image.caption for image in images] if typed is None else typed, object)
    truth: Truth = (own[:, None] == np.array(texts, object)[None, :]) & (own != "")[:, None]
    return truth if truth.any() else None


def is_in_order(images: Sequence[NamedImage], texts: Sequence[str], *, in_order: bool) -> bool:
    """Tell whether text i is taken to describe image i: there are as many of both, and not only captions.

    Args:
        images: all of them, those that cannot be read as well.
        texts: as they were typed, repetitions too.
        in_order: that is wanted.
    """
    captions = {image.caption for image in images}
    return in_order and len(images) == len(texts) and not captions.issuperset(texts)


def pair_notes(truth: Truth | None, *, in_order: bool) -> list[str]:
    """Return sentences on which text describes which image, and of how many that is not known.

    Args:
        truth: [n_images, n_texts], of the images that could be read.
        in_order: as `is_in_order` says.
    """
    if truth is None:
        return [
            "It is not known which text describes which image, so nothing is marked as matched, and accuracy"
            " and calibration cannot be told: add captions, or as many texts as images, in their order."
        ]
    if in_order:
        return ["Text 1 is taken to describe image 1, text 2 image 2, and so on."]
    if unknown := int((~truth.any(axis=1)).sum()):
        return [
            f"{unknown} of {len(truth)} images have no text of their own among these: they count neither for"
            " accuracy nor for calibration."
        ]
    return []
