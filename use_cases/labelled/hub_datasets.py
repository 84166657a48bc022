"""Labelled datasets of the Hugging Face hub, through the package `datasets`, which is not required."""

from __future__ import annotations

import importlib
import os
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engines.errors import BackendUnavailableError, InvalidInputError
from use_cases.labelled.label_tables import LABEL_COLUMNS
from use_cases.labelled.labelled import (
    LabelledImage,
    LabelledSet,
    label_set,
    note_merged,
    split_labels,
    tidy_labels,
)

HUB_PREFIX = "hf:"
DEFAULT_SPLIT = "test"


def open_hub_dataset(dataset: str, limit: int | None) -> LabelledSet:
    """Open a dataset of the hub, downloading it unless the local cache has it.

    Args:
        dataset: "hf:owner/name" or "hf:owner/name:split"; the split is "test" when none is named.
        limit: draw so many of the images.

    Raises:
        BackendUnavailableError: when the package is missing, or the dataset cannot be loaded.
        InvalidInputError: when it has no images or no labels.
    """
    name, _, split = dataset.removeprefix(HUB_PREFIX).partition(":")
    if not name:
        raise InvalidInputError(f"{dataset!r} names no dataset; it should be hf:owner/name or hf:name:split.")
    if find_spec("datasets") is None:
        raise BackendUnavailableError(f"{dataset!r} needs the package datasets; run: pip install datasets")
    # Imported only here: it takes seconds, and most never need it.
    package: Any = importlib.import_module("datasets")
    try:
        rows = package.load_dataset(name, split=split or DEFAULT_SPLIT)
    except Exception as error:  # the package lets through whatever the hub, the network or a reader raises
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise BackendUnavailableError(
            f"The dataset {name!r}, split {split or DEFAULT_SPLIT!r}, cannot be loaded ({reason[0]})."
        ) from error
    image_column = next((column for column, kind in rows.features.items() if _is_image(kind)), None)
    label_column = next(
        (column for column in (*LABEL_COLUMNS, "fine_label") if column in rows.features), None
    )
    if image_column is None or label_column is None:
        raise InvalidInputError(
            f"The dataset {name!r} has the columns {', '.join(rows.features)}; there is none with images, or"
            f" none called {', '.join(LABEL_COLUMNS)}."
        )
    kind = rows.features[label_column]
    # A list of labels wraps the feature of one.
    names: list[str] | None = getattr(getattr(kind, "feature", kind), "names", None)
    undecoded = rows.cast_column(image_column, package.Image(decode=False))
    images = [
        LabelledImage(
            f"{position:06}", partial(_read, undecoded, position, image_column), _labels(value, names)
        )
        for position, value in enumerate(rows[label_column])
    ]
    merged = note_merged((name, label) for name in names or () for label in _spaced([name]))
    return label_set(
        public_dataset_name(dataset), images, labels=_spaced(names or ()), notes=merged, limit=limit
    )


def public_dataset_name(dataset: str) -> str:
    """Return a dataset's name for a record: a folder's last part, because its path is nobody's business."""
    name, colon, split = dataset.removeprefix(HUB_PREFIX).partition(":")
    return f"{HUB_PREFIX}{Path(os.path.abspath(name)).name if os.path.isdir(name) else name}{colon}{split}"


def _is_image(kind: Any) -> bool:
    return type(kind).__name__ == "Image"


def _labels(value: Any, names: list[str] | None) -> tuple[str, ...]:
    if isinstance(value, str):
        return split_labels(value)
    values = value if isinstance(value, (list, tuple)) else [value]
    # The hub marks an image of a test split that nobody labelled with -1.
    values = [each for each in values if each is not None and not (isinstance(each, int) and each < 0)]
    if names is None:
        return tidy_labels(map(str, values))
    return _spaced(names[each] for each in values if isinstance(each, int) and each < len(names))


def _spaced(names: Any) -> tuple[str, ...]:
    return tidy_labels(name.replace("_", " ") for name in names)


def _read(rows: Any, position: int, column: str) -> bytes:
    image = rows[position][column] or {}  # none at all where the cell is null
    data: bytes | None = image.get("bytes")
    if data is not None:
        return data
    if image.get("path") is None:
        raise InvalidInputError("It has no image.")
    try:
        return Path(image["path"]).read_bytes()
    except OSError as error:
        raise InvalidInputError(f"It cannot be read ({error.strerror}).") from None
