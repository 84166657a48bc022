"""Labels in a CSV or TSV table: a column for the image, one for its label or labels, "cat|sofa"."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from posixpath import normpath

from engines.errors import InvalidInputError
from use_cases.labelled.labelled import SEPARATOR, LabelledImage, LabelledSet, label_set, split_labels
from use_cases.retrieval.caption_tables import is_long, note_long_rows, printable, refuse_long_rows
from use_cases.retrieval.image_folders import folders_near, nearest_folders
from use_cases.retrieval.table_rows import find_columns, note_short_rows, read_rows
from use_cases.wording import counted

LABEL_COLUMNS = ("label", "labels", "class", "classes", "class_name", "category", "categories", "tag", "tags")
_DELIMITERS = (",", "\t", ";")


@dataclass(frozen=True, slots=True)
class _Rows:
    labels: dict[str, tuple[str, ...]]  # by the image's name
    lonely: set[str]  # of rows that name no image
    notes: tuple[str, ...]


def read_label_table(table: Path, name: str, images: Path | None, limit: int | None) -> LabelledSet:
    """Read a table, and look for the images that it names.

    Several rows of one image add up. All labels compete, also those of rows that name no image or a missing
    one.

    Args:
        table: a CSV or TSV file whose first line names the columns.
        name: of the dataset.
        images: the folder of its images; None looks near the table.
        limit: draw so many of the images.

    Raises:
        InvalidInputError: when the table cannot be read, or nothing in it can be used.
    """
    read = _read_rows(_read_text(table), table.name)
    near = [[images]] if images is not None else folders_near(table)
    folders = nearest_folders(((image,) for image in read.labels), near)
    found: list[LabelledImage] = []
    missing: dict[str, str] = {}
    for image, own in read.labels.items():
        place = folders.find((image,))
        if place is None:
            missing[printable(image)] = "There is no such file."
        else:
            found.append(LabelledImage(printable(image), place[1], own))
    if missing and not found:
        raise InvalidInputError(
            f"{table.name!r} names {counted(len(missing), 'image')}, none of which can be found,"
            f" {next(iter(missing))!r} first; say with --images which folder they are in."
        )
    # Also those whose images are all missing: without them, the others would be easier to tell apart.
    every = sorted(read.lonely.union(*read.labels.values()))
    return label_set(name, found, labels=every, left_out=missing, notes=read.notes, limit=limit)


def _read_text(table: Path) -> str:
    try:
        return table.read_text("utf-8-sig")
    except OSError as error:
        raise InvalidInputError(f"{table.name!r} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise InvalidInputError(f"{table.name!r} is not UTF-8 text.") from None


def _read_rows(text: str, table_name: str) -> _Rows:
    labels_column = f"the labels ({', '.join(LABEL_COLUMNS)}; several as cat{SEPARATOR}sofa)"
    delimiter, image_column, label_column = find_columns(
        text, table_name, _DELIMITERS, LABEL_COLUMNS, other_column=labels_column
    )
    labels: dict[str, tuple[str, ...]] = {}
    lonely: set[str] = set()
    short: list[int] = []  # the lines of rows that cannot be used
    long: list[int] = []  # likewise
    rows = read_rows(text, table_name, delimiter)
    _, header = next(rows)
    for line, row in rows:
        if is_long(row, header):
            long.append(line)
            continue
        if len(row) <= max(image_column, label_column):
            short.append(line)
            continue
        own = split_labels(row[label_column])
        if name := row[image_column].strip():
            key = normpath(name)
            labels[key] = tuple(dict.fromkeys((*labels.get(key, ()), *own)))
        else:
            lonely.update(own)
    if long and not labels:
        raise InvalidInputError(refuse_long_rows(long, table_name, delimiter))
    if short and not labels:
        raise InvalidInputError(
            f"Line {short[0]:,} of {table_name!r} has no column for the image or none for the label, and no"
            " other line has both."
        )
    notes = note_short_rows(short, "column for the image or the label") + note_long_rows(long, delimiter)
    return _Rows(labels, lonely, notes)
