"""Where the images are that a table names: in its folder or near it."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path


class ImageFolders:
    """Folders in which a table's images lie, each listed once at most, however many images there are."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Take the folders in which to look, in this order."""
        self._folders = folders
        # What is in each folder, or in a folder of it, by that folder's name; as far as was looked.
        self._listed: dict[str, list[frozenset[str] | None]] = {}

    def find(self, names: Sequence[str]) -> tuple[str, Path] | None:
        """Return the name under which an image is found and its file, in the first folder that has any."""
        parts = [os.path.split(name) for name in names]
        known = [
            (name, below, _folded(file), self._listed.setdefault(below, []))
            for name, (below, file) in zip(names, parts, strict=True)
        ]
        for number, folder in enumerate(self._folders):
            for name, below, file, listed in known:
                if number == len(listed):
                    listed.append(_list(folder / below))
                files = listed[number]
                if (files is None or file in files) and os.path.isfile(os.path.join(folder, name)):
                    return name, folder / name
        return None


def nearest_folders(images: Iterable[Sequence[str]], near: Sequence[Sequence[Path]]) -> ImageFolders:
    """Return the first group of folders that has any of a table's images, no folders when none has.

    One group only: an image that is missing in the table's own dataset may have a namesake in another.

    Args:
        images: for each, the names under one of which its file is found.
        near: groups of folders, as `folders_near` returns them.
    """
    images = list(images)
    for group in near:
        folders = ImageFolders(group)
        if any(folders.find(names) for names in images):
            return folders
    return ImageFolders(())


def folders_near(table: Path) -> list[list[Path]]:
    """Return where a table's images usually are: its folder and those in it, else those beside it."""
    folder = table.absolute().parent
    return [[folder, *_folders_in(folder)], [folder.parent, *_folders_in(folder.parent)]]


def _folders_in(folder: Path) -> list[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # a parent folder may be closed to us; then nothing is found there
        return []
    return [
        Path(entry.path) for entry in entries if os.path.isdir(entry.path) and not entry.name.startswith(".")
    ]


def _list(folder: Path) -> frozenset[str] | None:
    """Return the names in a folder, as `_folded` returns them; None when only asking for each file tells."""
    try:
        return frozenset(map(_folded, os.listdir(folder)))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except (OSError, ValueError):  # closed to us, though its files may not be; or no name of a folder
        return None


def _folded(name: str) -> str:
    """Return a file's name so that those are equal that some file system does not tell apart."""
    return unicodedata.normalize("NFC", name).casefold()
