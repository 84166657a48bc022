"""Labels in a CSV or TSV table: a column for the image, one for its label or labels, "cat|sofa"."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from posixpath import normpath

from engines.errors import InvalidInputError
from use_cases.labelled.labelled import SEPARATOR, LabelledImage, LabelledSet, label_set, split_labels
from use_cases.retrieval.caption_tables import IMAGE_COLUMNS, folders_near, printable

LABEL_COLUMNS = ("label", "labels", "class", "classes", "class_name", "category", "categories", "tag", "tags")
_DELIMITERS = (",", "\t", ";")
_MAX_CELL_CHARS = 1_000_000


def read_label_table(table: Path, name: str, images: Path | None, limit: int | None) -> LabelledSet:
    """Read a table, and look for the images that it names.

    Several rows of one image add up. A label of a row that names no image competes without one.

    Args:
        table: a CSV or TSV file whose first line names the columns.
        name: of the dataset.
        images: the folder of its images; None looks near the table.
        limit: draw so many of the images.

    Raises:
        InvalidInputError: when the table cannot be read, or nothing in it can be used.
    """
    labels, lonely = _read_rows(_read_text(table), table.name)
    folders = [images] if images is not None else folders_near(table)
    found: list[LabelledImage] = []
    missing: dict[str, str] = {}
    for image, own in labels.items():
        path = _find(image, folders)
        if path is None:
            missing[printable(image)] = "There is no such file."
        else:
            found.append(LabelledImage(printable(image), path, own))
    if missing and not found:
        raise InvalidInputError(
            f"{table.name!r} names {len(missing):,} images, none of which can be found,"
            f" {next(iter(missing))!r} first; say with --images which folder they are in."
        )
    return label_set(name, found, labels=sorted(lonely), left_out=missing, limit=limit)


def _read_text(table: Path) -> str:
    try:
        return table.read_text("utf-8-sig")
    except OSError as error:
        raise InvalidInputError(f"{table.name!r} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise InvalidInputError(f"{table.name!r} is not UTF-8 text.") from None


def _read_rows(text: str, table_name: str) -> tuple[dict[str, tuple[str, ...]], set[str]]:
    """Return the labels of each image, and those of rows without one."""
    csv.field_size_limit(_MAX_CELL_CHARS)
    labels: dict[str, tuple[str, ...]] = {}
    lonely: set[str] = set()
    try:
        delimiter, image_column, label_column = _columns(text, table_name)
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        next(rows)
        for row in filter(None, rows):
            if len(row) <= max(image_column, label_column):
                raise InvalidInputError(
                    f"Line {rows.line_num} of {table_name!r} has {len(row)} of the columns; the image or the"
                    " label is missing."
                )
            own = split_labels(row[label_column])
            if name := row[image_column].strip():
                key = normpath(name)
                labels[key] = tuple(dict.fromkeys((*labels.get(key, ()), *own)))
            else:
                lonely.update(own)
    except csv.Error as error:
        raise InvalidInputError(f"{table_name!r} is no table that can be read ({error}).") from None
    return labels, lonely


def _columns(text: str, table_name: str) -> tuple[str, int, int]:
    """Return what separates a table's columns, and which of them have the image and the label."""
    for delimiter in _DELIMITERS:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        header = [name.strip().lower() for name in next(rows, [])]
        image = next((header.index(name) for name in IMAGE_COLUMNS if name in header), None)
        label = next((header.index(name) for name in LABEL_COLUMNS if name in header), None)
        if image is not None and label is not None:
            return delimiter, image, label
    raise InvalidInputError(
        f"The first line of {table_name!r}, {text.partition(chr(10))[0][:100]!r}, names no column for the"
        f" image ({', '.join(IMAGE_COLUMNS)}) or none for the labels ({', '.join(LABEL_COLUMNS)}; several as"
        f" cat{SEPARATOR}sofa)."
    )


def _find(name: str, folders: Sequence[Path]) -> Path | None:
    return next((folder / name for folder in folders if os.path.isfile(folder / name)), None)
