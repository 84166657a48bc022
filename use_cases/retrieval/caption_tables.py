"""Captions in one file: COCO's JSON, Karpathy's splits of COCO and Flickr, and CSV or TSV tables.

The images lie elsewhere, and the file says only their names; `find_images` looks for them.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from posixpath import normpath
from typing import Any

from engines.errors import InvalidInputError
from use_cases.retrieval.captioned import CaptionedImage, counted, tidy_captions

IMAGE_COLUMNS = ("image", "filepath", "file", "filename", "file_name", "image_path", "image_name", "path")
DEFAULT_SPLIT = "test"  # of a Karpathy file
CAPTION_COLUMNS = ("caption", "title", "text", "comment", "sentence")
TABLE_SUFFIXES = (".csv", ".tsv", ".txt")
_DELIMITERS = (",", "\t", ";", "|")  # the last is Flickr30k's own
_MAX_CELL_CHARS = 1_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """What a file of captions says of one image."""

    names: tuple[str, ...]  # under one of which its file is found
    captions: tuple[str, ...]  # may be none


def read_entries(table: Path, split: str | None) -> list[Entry]:
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
            return _read_karpathy(images, split or DEFAULT_SPLIT, table.name)
        _check_no_split(split, table.name)
        return _read_coco(images, content["annotations"], table.name)
    except (KeyError, TypeError, AttributeError):
        raise InvalidInputError(
            f"{table.name!r} has no captions as COCO or Karpathy write them: COCO's images have id and"
            " file_name, its annotations image_id and caption; Karpathy's images have filename, split and"
            " sentences with raw."
        ) from None


def find_images(entries: Sequence[Entry], folders: Sequence[Path], table_name: str) -> list[CaptionedImage]:
    """Find the files that entries name.

    Args:
        entries: each with a caption at least.
        folders: where to look, in this order.
        table_name: as errors call the file that the entries come from.

    Raises:
        InvalidInputError: when some are in none of the folders.
    """
    images: list[CaptionedImage] = []
    missing: list[str] = []
    nearest = list(folders)
    for entry in entries:
        places = [(folder, name) for folder in nearest for name in entry.names]
        found = next((place for place in places if os.path.isfile(os.path.join(*place))), None)
        if found is None:
            missing.append(entry.names[0])
            continue
        folder, name = found
        nearest.remove(folder)  # where one was, the next is likely to be
        nearest.insert(0, folder)
        images.append(CaptionedImage(printable(name), folder / name, entry.captions))
    if missing:
        raise InvalidInputError(
            f"{table_name!r} names {counted(len(entries), 'image')}, of which {len(missing):,} cannot be"
            f" found, {missing[0]!r} first; say with --images which folder they are in."
        )
    return images


def folders_near(table: Path) -> list[Path]:
    """Return where a table's images usually are: its folder, those in it, and those beside it."""
    folder = table.absolute().parent
    return list(dict.fromkeys([folder, *_folders_in(folder), folder.parent, *_folders_in(folder.parent)]))


def printable(name: str) -> str:
    """Return a name that can be printed: JSON and file systems allow characters that are no text."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _check_no_split(split: str | None, table_name: str) -> None:
    if split is not None:
        raise InvalidInputError(f"{table_name!r} has no split {split!r}; only a Karpathy file has splits.")


def _folders_in(folder: Path) -> list[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # a parent folder may be closed to us; then nothing is found there
        return []
    return [Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith(".")]


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


def _read_csv(text: str, table_name: str) -> list[Entry]:
    csv.field_size_limit(_MAX_CELL_CHARS)
    try:
        delimiter, image_column, caption_column = _columns(text, table_name)
        captions: dict[str, list[str]] = {}
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        next(rows)
        for row in rows:
            if len(row) > max(image_column, caption_column) and (name := row[image_column].strip()):
                captions.setdefault(normpath(name), []).append(row[caption_column])
            elif row:
                raise InvalidInputError(
                    f"Line {rows.line_num} of {table_name!r} has no image or no caption; it has {len(row)} of"
                    " the columns."
                )
    except csv.Error as error:
        raise InvalidInputError(f"{table_name!r} is no table that can be read ({error}).") from None
    return [Entry((name,), tidy_captions(texts)) for name, texts in captions.items()]


def _columns(text: str, table_name: str) -> tuple[str, int, int]:
    """Return what separates a table's columns, and which of them have the image and the caption."""
    for delimiter in _DELIMITERS:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        header = [name.strip().lower() for name in next(rows, [])]
        image = next((header.index(name) for name in IMAGE_COLUMNS if name in header), None)
        caption = next((header.index(name) for name in CAPTION_COLUMNS if name in header), None)
        if image is not None and caption is not None:
            return delimiter, image, caption
    raise InvalidInputError(
        f"The first line of {table_name!r}, {text.partition(chr(10))[0][:100]!r}, names no column for the"
        f" image ({', '.join(IMAGE_COLUMNS)}) or none for the caption ({', '.join(CAPTION_COLUMNS)})."
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
