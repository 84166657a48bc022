"""Labels in tar archives, as webdataset writes them; never unpacked to the disk.

Members whose names are equal up to the first dot belong together: 0001.jpg and 0001.cls (a number that
counts the class names from 0, a negative one for no label, or the label itself), 0001.txt (labels,
"cat|sofa") or 0001.json (with "label" or "labels"). Of several images that belong together, one is used.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from engines.errors import InvalidInputError
from use_cases.labelled.labelled import (
    LabelledImage,
    LabelledSet,
    label_set,
    note_merged,
    split_labels,
    tidy_labels,
)
from use_cases.retrieval.caption_tables import printable
from use_cases.tars import Members, Sample, all_members, group_samples, open_tar, read_range

_MAX_LABEL_BYTES = 1_000_000
_MAX_DIGITS = 9  # of a class number; Python refuses to read thousands of them


def read_label_tars(
    tars: Sequence[Path], name: str, class_names: Sequence[str] | None, limit: int | None
) -> LabelledSet:
    """Read the labels in some archives, and where their images are.

    Args:
        tars: uncompressed, so that an image is read where it lies.
        name: of the dataset.
        class_names: what the numbers of .cls files stand for; None takes what is in them as it is.
        limit: draw so many of the images.

    Raises:
        InvalidInputError: when one is no such archive, or nothing in it can be used.
    """
    images: list[LabelledImage] = []
    left_out: dict[str, str] = {}
    for path in tars:
        prefix = f"{printable(path.name)}/" if len(tars) > 1 else ""  # shards may use the same names
        for sample in _read_samples(path):
            left_out |= {prefix + printable(other): why for other, why in sample.left_out.items()}
            if sample.image is None:
                continue
            own = prefix + printable(sample.image.name)
            try:
                labels = _labels(path, sample.members, class_names)
            except InvalidInputError as error:
                left_out[own] = str(error)
                continue
            read = partial(read_range, path, sample.image.offset_data, sample.image.size)
            images.append(LabelledImage(own, read, labels))
    names = class_names or ()
    notes = note_merged((each, each) for each in names)
    return label_set(name, images, labels=names, left_out=left_out, notes=notes, limit=limit)


def _read_samples(path: Path) -> list[Sample]:
    """Return the plain files of an archive by what their names share; links and devices are passed over."""
    with open_tar(path) as archive:
        return group_samples(
            member for member in all_members(archive) if member.isreg() and not member.issparse()
        )


def _labels(path: Path, members: Members, class_names: Sequence[str] | None) -> tuple[str, ...]:
    if "cls" in members:
        return _class(_read_text(path, members["cls"]).strip(), class_names)
    if "txt" in members:
        return tidy_labels(
            label for line in _read_text(path, members["txt"]).splitlines() for label in split_labels(line)
        )
    if "json" not in members:
        return ()
    try:
        facts: Any = json.loads(_read_text(path, members["json"]))
    except (ValueError, RecursionError):
        raise InvalidInputError(f"{members['json'].name!r} is not JSON.") from None
    if not isinstance(facts, dict):
        return ()
    given = facts.get("label")
    given = facts.get("labels") if given is None else given
    if isinstance(given, list):
        # A text in a list is one label as it stands.
        each_own = ((each,) if isinstance(each, str) else _given(each, class_names) for each in given)
        return tidy_labels(label for own in each_own for label in own)
    return _given(given, class_names)


def _given(value: object, class_names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the labels that JSON has as a class's number or as text, none when it is neither."""
    if isinstance(value, int) and not isinstance(value, bool):
        return _class(str(value), class_names)
    return split_labels(value) if isinstance(value, str) else ()


def _class(text: str, class_names: Sequence[str] | None) -> tuple[str, ...]:
    digits = text.removeprefix("-")
    if digits.isdecimal() and digits != text:
        return ()
    if class_names is None or not digits.isdecimal():
        return split_labels(text)
    number = int(digits) if len(digits) <= _MAX_DIGITS else None
    if number is None or number >= len(class_names):
        told = f"has {len(digits):,} digits" if number is None else f"is {number}"
        raise InvalidInputError(f"Its class {told}, and there are {len(class_names):,} class names.")
    return (class_names[number],)


def _read_text(path: Path, member: tarfile.TarInfo) -> str:
    if member.size > _MAX_LABEL_BYTES:
        raise InvalidInputError(
            f"{member.name!r} has more than {_MAX_LABEL_BYTES:,} bytes; a label is shorter."
        )
    try:
        return read_range(path, member.offset_data, member.size).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInputError(f"{member.name!r} is not UTF-8 text.") from None
