"""Openly licensed pictures with captions: what the demo shows, searches, calibrates on and is judged by.

`gallery.json` describes and credits every file of `images/`, each of which is a picture of its own. All are
public domain or under CC0, CC-BY, Apache-2.0, MIT or BSD licences. Photographs and paintings were made
smaller, drawings rendered on a white ground. A caption says what can be seen; none is taken from a source.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

GALLERY_DIR = Path(__file__).parent

Kind = Literal["photo", "drawing", "print", "painting"]
Split = Literal["calibration", "held_out", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryImage:
    """One picture, described and credited.

    Attributes:
        path: the image file.
        caption: one English sentence that is true of this picture and of no other one.
        tags: what is on it, one to four lower-case nouns of a small vocabulary.
        kind: how it was made; "print" is text on paper.
        split: the part it plays in `engines.calibration`; "" for none.
        license: SPDX identifier, or "Public domain".
        author: who made it.
        title: what its author calls it; "" where that is not known.
        source: the collection or package that it was taken from.
        url_or_package: where in that collection, or its page on the web.
        seen_in_training: whether the recipe of the bundled pair may have trained on it.
    """

    path: Path
    caption: str
    tags: tuple[str, ...]
    kind: Kind
    split: Split
    license: str
    author: str
    title: str
    source: str
    url_or_package: str
    seen_in_training: bool


@cache
def gallery() -> tuple[GalleryImage, ...]:
    """Return every picture, in the order of `gallery.json`."""
    entries = json.loads((GALLERY_DIR / "gallery.json").read_text("utf-8"))
    return tuple(_read_entry(entry) for entry in entries)


def _read_entry(entry: dict[str, Any]) -> GalleryImage:
    path, tags = GALLERY_DIR / entry.pop("file"), tuple(entry.pop("tags"))
    return GalleryImage(path=path, tags=tags, **entry)
