"""Captions in one file: COCO's JSON, Karpathy's splits of COCO and Flickr, and CSV or TSV tables.

The images lie elsewhere, and the file says only their names; `nearest_folders` looks for them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from posixpath import normpath
from typing import Any

from engines.errors import InvalidInputError
from use_cases.retrieval.captioned import CaptionedImage, tidy_captions
from use_cases.retrieval.image_folders import ImageFolders
from use_cases.retrieval.table_rows import UNQUOTED, find_columns, note_short_rows, read_rows
from use_cases.wording import counted

DEFAULT_SPLIT = "test"  # of a Karpathy file
CAPTION_COLUMNS = ("caption", "title", "text", "comment", "sentence")
TABLE_SUFFIXES = (".csv", ".tsv", ".txt")
_DELIMITERS = (",", "\t", ";", UNQUOTED)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a file of captions says of one image."""

    names: tuple[str, ...]  # under one of which its file is found
    captions: tuple[str, ...]  # may be none


@dataclass(frozen=True, slots=True)
class CaptionTable:
    """What a file of captions says."""

    entries: list[Entry]
    notes: tuple[str, ...] = ()  # sentences on what was left out


def read_table(table: Path, split: str | None) -> CaptionTable:
    """Read a file of captions, of whichever kind it is.

    Args:
        table: a JSON, CSV or TSV file.
        split: which images of a Karpathy file, "test" when None; the other kinds have a file for each split.

    Raises:
        InvalidInputError: when it cannot be read, or is of no known kind.
    """
    try:
        text = table.read_text("utf-8-sig")
    except OSError as error:
        raise InvalidInputError(f"{table.name!r} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise InvalidInputError(f"{table.name!r} is not UTF-8 text.") from None
    if table.suffix.lower() in TABLE_SUFFIXES:
        _check_no_split(split, table.name)
        return _read_csv(text, table.name)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{table.name!r} is not JSON ({error}).") from None
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not images:
        raise InvalidInputError(
            f"{table.name!r} lists no images; it should be COCO's captions (images and annotations) or a"
            " Karpathy split (images with sentences)."
        )
    try:
        if "sentences" in images[0]:
            return CaptionTable(_read_karpathy(images, split or DEFAULT_SPLIT, table.name))
        _check_no_split(split, table.name)
        return CaptionTable(_read_coco(images, content["annotations"], table.name))
    except (KeyError, TypeError, AttributeError):
        raise InvalidInputError(
            f"{table.name!r} has no captions as COCO or Karpathy write them: COCO's images have id and"
            " file_name, its annotations image_id and caption; Karpathy's images have filename, split and"
            " sentences with raw."
        ) from None


def find_images(entries: Sequence[Entry], folders: ImageFolders, table_name: str) -> list[CaptionedImage]:
    """Find the files that entries name.

    Args:
        entries: each with a caption at least.
        folders: where to look.
        table_name: as errors call the file that the entries come from.

    Raises:
        InvalidInputError: when some are in none of the folders.
    """
    images: list[CaptionedImage] = []
    missing: list[str] = []
    for entry in entries:
        found = folders.find(entry.names)
        if found is None:
            missing.append(entry.names[0])
            continue
        name, path = found
        images.append(CaptionedImage(printable(name), path, entry.captions))
    if missing:
        raise InvalidInputError(
            f"{table_name!r} names {counted(len(entries), 'image')}, of which {len(missing):,} cannot be"
            f" found, {missing[0]!r} first; say with --images which folder they are in."
        )
    return images


def printable(name: str) -> str:
    """Return a name that can be printed: JSON and file systems allow characters that are no text."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _check_no_split(split: str | None, table_name: str) -> None:
    if split is not None:
        raise InvalidInputError(f"{table_name!r} has no split {split!r}; only a Karpathy file has splits.")


def _read_coco(images: list[Any], annotations: list[Any], table_name: str) -> list[Entry]:
    captions: dict[Any, list[str]] = {image["id"]: [] for image in images}
    strays = [each["image_id"] for each in annotations if each["image_id"] not in captions]
    if strays:
        raise InvalidInputError(
            f"{table_name!r} has {counted(len(strays), 'caption')} of images that it does not list, image"
            f" {strays[0]!r} first."
        )
    for each in annotations:
        captions[each["image_id"]].append(each["caption"])
    return [Entry((_text(image["file_name"]),), tidy_captions(captions[image["id"]])) for image in images]


def _read_karpathy(images: list[Any], split: str, table_name: str) -> list[Entry]:
    splits = Counter(_text(image["split"]) for image in images)
    if split not in splits:
        known = ", ".join(f"{name} ({counted(number, 'image')})" for name, number in splits.items())
        raise InvalidInputError(f"{table_name!r} has no split {split!r}; it has {known}.")
    return [
        Entry(
            # COCO's images are in a folder a year; Flickr's are in one.
            (f"{image['filepath']}/{image['filename']}", _text(image["filename"]))
            if "filepath" in image
            else (_text(image["filename"]),),
            tidy_captions(sentence["raw"] for sentence in image["sentences"]),
        )
        for image in images
        if image["split"] == split
    ]


def _read_csv(text: str, table_name: str) -> CaptionTable:
    delimiter, image_column, caption_column = find_columns(
        text,
        table_name,
        _DELIMITERS,
        CAPTION_COLUMNS,
        other_column=f"the caption ({', '.join(CAPTION_COLUMNS)})",
    )
    captions: dict[str, list[str]] = {}
    short: list[int] = []  # the lines of rows that cannot be used
    long: list[int] = []  # likewise
    rows = read_rows(text, table_name, delimiter)
    _, header = next(rows)
    for line, row in rows:
        if is_long(row, header):
            long.append(line)
        elif len(row) > max(image_column, caption_column) and (name := row[image_column].strip()):
            captions.setdefault(normpath(name), []).append(row[caption_column])
        else:
            short.append(line)
    if long and not captions:
        raise InvalidInputError(refuse_long_rows(long, table_name, delimiter))
    if short and not captions:
        raise InvalidInputError(
            f"Line {short[0]:,} of {table_name!r} has no image or no caption, and no other line has both."
        )
    entries = [Entry((name,), tidy_captions(texts)) for name, texts in captions.items()]
    notes = note_short_rows(short, "image or no caption") + note_long_rows(long, delimiter)
    return CaptionTable(entries, notes)


def is_long(row: Sequence[str], header: Sequence[str]) -> bool:
    """Tell whether a row has text beyond the columns that a table's first line names."""
    return any(cell.strip() for cell in row[len(header) :])


def refuse_long_rows(lines: Sequence[int], table_name: str, delimiter: str) -> str:
    """Return a sentence on a table none of whose rows can be used, because of those that `is_long` tells.

    Args:
        lines: on which these rows begin, at least one.
        table_name: as errors call it.
        delimiter: what separates the columns.
    """
    return (
        f"Line {lines[0]:,} of {table_name!r} has more columns than the first line names, and no other line"
        f" can be used; {_cure(delimiter)}."
    )


def note_long_rows(lines: Sequence[int], delimiter: str) -> tuple[str, ...]:
    """Return a sentence on rows that were left out because `is_long` tells them, if there are any."""
    if not lines:
        return ()
    return (
        f"{counted(len(lines), 'row')} with more columns than the first line names left out, the first on"
        f" line {lines[0]:,}; {_cure(delimiter)}.",
    )


def _cure(delimiter: str) -> str:
    cure = "cannot be told from two" if delimiter == UNQUOTED else "needs quotes around it"
    return f"a text with {delimiter!r} in it {cure}"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
