"""Files of the comparison tab: the images and captions that visitors drop, and the results that they keep."""

from __future__ import annotations

import unicodedata
from codecs import getincrementaldecoder
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
    _check_tables([path for name, path in named if _suffix(name) in _TABLES])
    captions, notes = _read_captions(named)
    images = [
        NamedImage(name, path, captions.take(name))
        for name, path in named
        if _suffix(name) not in (".txt", *_TABLES)
    ]
    return images, notes + _strays(captions.left())


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


class _Captions:
    """Captions by the name of their image, with or without its ending."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._spelled: dict[str, str] = {}  # names as they were written, by what `_folded` makes of them
        self._used: set[str] = set()

    def add(self, name: str, caption: str) -> None:
        """Keep a caption; an empty one is none, and another may be known."""
        if caption:
            self._texts[name] = caption
            self._spelled[_folded(name)] = name

    def take(self, image: str) -> str:
        """Return what describes an image, empty when nothing does; its whole name goes before its stem."""
        names = (image, PurePosixPath(image).stem)
        spelled = (name if name in self._texts else self._spelled.get(_folded(name)) for name in names)
        found = [name for name in spelled if name is not None]
        self._used.update(found)
        return self._texts[found[0]] if found else ""

    def left(self) -> list[str]:
        """Return the names of those that were not taken, in order."""
        return sorted(set(self._texts) - self._used)


def _read_captions(named: Sequence[tuple[str, Path]]) -> tuple[_Captions, list[str]]:
    """Return the captions in files, and sentences about what cannot be used.

    Args:
        named: files and what they were called; images are passed over.

    Raises:
        InvalidInputError: when a table cannot be used.
    """
    captions = _Captions()
    notes: list[str] = []
    for name, path in named:
        if _suffix(name) == ".txt":
            caption = _first_line(path)
            if caption is None:
                notes.append(f"{name!r} is not UTF-8 text.")
            captions.add(PurePosixPath(name).stem, caption or "")
        elif _suffix(name) in _TABLES:
            table = read_table(path, None)
            notes += [f"{name!r}: {note}" for note in table.notes]
            for entry in table.entries:
                for wanted in entry.names:
                    captions.add(_file_name(wanted), entry.captions[0] if entry.captions else "")
    return captions, notes


def _first_line(path: Path) -> str | None:
    """Return the first line of a text file's beginning; None when it is not UTF-8."""
    with path.open("rb") as file:
        data = file.read(_MAX_CAPTION_BYTES)
    is_whole = len(data) < _MAX_CAPTION_BYTES  # else its last character may be cut, which is no mistake
    try:
        text = getincrementaldecoder("utf-8-sig")().decode(data, is_whole)
    except UnicodeDecodeError:
        return None
    if "\0" in text:  # UTF-16 without a mark, whose bytes are valid UTF-8 where the text is English
        return None
    lines = text.strip().splitlines()
    return lines[0].strip() if lines else ""


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _file_name(name: str) -> str:
    """Return the last part of a path, as tables have it that were written on Windows or elsewhere."""
    return PurePosixPath(name.replace("\\", "/")).name


def _folded(name: str) -> str:
    """Return a name so that those are equal that some file system does not tell apart.

    macOS takes letters and their accents apart, and Windows keeps no track of upper and lower case.
    """
    return unicodedata.normalize("NFC", name).casefold()


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
