"""Files of the comparison tab: the images and captions that visitors drop, and the results that they keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import gradio as gr

from app.ui.files import save_file
from app.ui.sent_values import as_uploads, original_name
from app.ui.uploads import uploaded_file
from engines.errors import InvalidInputError
from engines.gallery import gallery
from use_cases.comparison.many import MAX_IMAGES
from use_cases.comparison.pairs import NamedImage
from use_cases.retrieval.caption_tables import TABLE_SUFFIXES, read_table
from use_cases.wording import counted

_TABLES = (".json", *TABLE_SUFFIXES)
FILE_TYPES = ["image", ".txt", *_TABLES]
_MAX_CAPTION_BYTES = 20_000
_MAX_TABLE_BYTES = 5_000_000  # of all tables: COCO's validation captions fit; the worst takes 130 MB parsed
_MAX_FILES = 4 * MAX_IMAGES  # a caption for each image, and many that are left out
_MAX_LISTED = 5  # names in a sentence
FORMATS = ("CSV", "JSON", "Markdown")
_SUFFIXES = {"CSV": ".csv", "JSON": ".json", "Markdown": ".md"}


def dropped_images(uploads: Any) -> tuple[list[NamedImage], list[str]]:
    """Return dropped images with their captions, and sentences about captions and rows without an image.

    The caption of photo.jpg is the first line of photo.txt, or what a table says: COCO's or Karpathy's JSON,
    CSV or TSV with a column for the image and one for the caption.

    Args:
        uploads: what gr.File with several files sends.

    Raises:
        InvalidInputError: when an upload or a table cannot be used, or there is too much of them.
    """
    sent = as_uploads(uploads)
    if len(sent) > _MAX_FILES:
        raise InvalidInputError(
            f"There are {len(sent):,} files; at most {_MAX_FILES} can be dropped at once."
        )
    named = [(original_name(upload), uploaded_file(upload)) for upload in sent]
    _check_tables([path for name, path in named if PurePosixPath(name).suffix.lower() in _TABLES])
    captions: dict[str, str] = {}  # by the image's name, with or without its ending
    notes: list[str] = []
    for name, path in named:
        suffix = PurePosixPath(name).suffix.lower()
        if suffix == ".txt":
            with path.open("rb") as file:
                lines = file.read(_MAX_CAPTION_BYTES).decode("utf-8", "replace").strip().splitlines()
            captions[PurePosixPath(name).stem] = lines[0].strip() if lines else ""
        elif suffix in _TABLES:
            table = read_table(path, None)
            notes += [f"{name!r}: {note}" for note in table.notes]
            for entry in table.entries:
                for wanted in entry.names:
                    captions[PurePosixPath(wanted).name] = entry.captions[0] if entry.captions else ""
    images: list[NamedImage] = []
    used: set[str] = set()
    for name, path in named:
        if PurePosixPath(name).suffix.lower() not in (".txt", *_TABLES):
            key = name if name in captions else PurePosixPath(name).stem
            used.add(key)
            images.append(NamedImage(name, path, captions.get(key, "")))
    return images, notes + _strays(sorted(set(captions) - used))


def gallery_images(names: Sequence[str]) -> list[NamedImage]:
    """Return pictures of the shipped gallery by the names of their files.

    Raises:
        InvalidInputError: when there is no such picture.
    """
    known = {image.path.name: image for image in gallery()}
    for name in names:
        if name not in known:
            raise InvalidInputError(f"The shipped gallery has no picture {name[:80]!r}.")
    return [NamedImage(name, known[name].path, known[name].caption) for name in names]


def build_downloads() -> list[gr.DownloadButton]:
    """Add a button for each format; they are hidden while there is nothing to download."""
    with gr.Row():
        return [
            gr.DownloadButton(f"Download {format_}", size="sm", min_width=110, visible=False)
            for format_ in FORMATS
        ]


def no_downloads() -> list[Any]:
    """Return updates that hide the buttons."""
    return [gr.update(value=None, visible=False) for _ in FORMATS]


def offer_downloads(stem: str, contents: Mapping[str, str]) -> list[Any]:
    """Write one file a format and return updates that show the buttons.

    Args:
        stem: the files' name, without its ending.
        contents: by format.
    """
    paths = [
        save_file(contents[format_].encode("utf-8"), f"{stem}{_SUFFIXES[format_]}") for format_ in FORMATS
    ]
    return [gr.update(value=path, visible=True) for path in paths]


def _strays(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    shown = ", ".join(names[:_MAX_LISTED]) + (", …" if len(names) > _MAX_LISTED else "")
    return [f"{counted(len(names), 'caption')} without an image among the dropped files: {shown}."]


def _check_tables(tables: Sequence[Path]) -> None:
    """Refuse tables that are too large to be read at once."""
    size = sum(table.stat().st_size for table in tables)
    if size > _MAX_TABLE_BYTES:
        raise InvalidInputError(
            f"The caption tables have {size / 1e6:,.1f} MB; at most {_MAX_TABLE_BYTES / 1e6:g} MB are read,"
            " so drop those of your images alone."
        )
