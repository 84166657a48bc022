"""LabelledImage and LabelledSet: images with the labels that are right for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from engines.errors import InvalidInputError
from use_cases.wording import counted

SEPARATOR = "|"  # between the labels of one image
SEED = 0  # of what is drawn from a dataset
_NAMED = 5  # labels that a sentence names


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image, not read yet, and the labels that are right for it."""

    name: str  # as reports call it
    source: Path | Callable[[], bytes]  # as `read_image` takes it
    labels: tuple[str, ...]  # none: nobody said what is right


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """A dataset for classification: every label is asked for every image."""

    name: str  # without the folders before it
    labels: tuple[str, ...]  # also those without an image: they compete
    images: tuple[LabelledImage, ...]  # each with a label at least
    left_out: Mapping[str, str] = field(default_factory=dict)  # images by name, and why
    notes: tuple[str, ...] = ()  # sentences on what the reader should know


def split_labels(text: str) -> tuple[str, ...]:
    """Return the labels in a text such as "cat|sofa", without blanks and repetitions."""
    return tidy_labels(text.split(SEPARATOR))


def tidy_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Return labels on one line each, without blanks and repetitions."""
    # JSON and file systems may have halves of characters, which no tokenizer takes.
    whole = (label.encode("utf-8", "replace").decode("utf-8") for label in labels)
    return tuple(dict.fromkeys(tidy for label in whole if (tidy := " ".join(label.split()))))


def label_set(
    name: str,
    images: Sequence[LabelledImage],
    *,
    labels: Iterable[str] = (),
    left_out: Mapping[str, str] | None = None,
    notes: tuple[str, ...] = (),
    limit: int | None = None,
) -> LabelledSet:
    """Return a dataset of those images that have labels, and say what was left out.

    Args:
        name: as reports call it.
        images: in any order, also those without labels.
        labels: in this order, where the dataset lists them; those of the images come after them, by name.
        left_out: images that cannot be used, and why.
        notes: sentences on the dataset.
        limit: draw so many of the images, with a fixed seed: the first ones may all have one label.

    Raises:
        InvalidInputError: when there are no images, none with a label, or a single label.
    """
    reasons = dict(left_out or {})
    if not images and not reasons:
        raise InvalidInputError(f"{name!r} has no images.")
    usable = [image for image in images if image.labels]
    reasons |= {image.name: "It has no label." for image in images if not image.labels}
    if not usable:
        example, why = next(iter(reasons.items()))
        raise InvalidInputError(
            f"{name!r} has no image with a label; {counted(len(reasons), 'image')} cannot be used, the first,"
            f" {example!r}: {why}"
        )
    known = dict.fromkeys(tidy_labels(labels))
    own = sorted({label for image in usable for label in image.labels} - known.keys())
    every = (*known, *own)
    if len(every) < 2:
        raise InvalidInputError(f"{name!r} has one label only, {every[0]!r}; there is nothing to tell apart.")
    if limit is not None and limit < len(usable):
        notes += (f"{limit:,} of {counted(len(usable), 'image')}, drawn with seed {SEED}.",)
        drawn = np.random.default_rng(SEED).choice(len(usable), limit, replace=False)
        usable = [usable[position] for position in sorted(drawn.tolist())]
    return LabelledSet(name, every, tuple(usable), reasons, notes)


def note_merged(names: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return a sentence on names that became the same label, if there are any.

    Args:
        names: each name as the dataset has it, and the label that it became.
    """
    together: dict[str, list[str]] = {}
    for name, label in names:
        together.setdefault(label, []).append(name)
    merged = [f"{' and '.join(map(repr, each))} as {label!r}" for label, each in together.items() if each[1:]]
    if not merged:
        return ()
    named = "; ".join(merged[:_NAMED]) + ("; ..." if len(merged) > _NAMED else "")
    return (f"Names that read the same are one label: {named}.",)


def note_lonely(labels: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence on labels that no image has, if there are any."""
    if not labels:
        return ()
    named = ", ".join(labels[:_NAMED]) + (", ..." if len(labels) > _NAMED else "")
    return (f"{counted(len(labels), 'label')} without an image, competing all the same: {named}.",)
