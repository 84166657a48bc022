"""Where the images of an index come from: folders, files and uploads; archives have a file of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Protocol

from engines.errors import InvalidInputError
from engines.preparation.images import read_image_file

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
)
UPLOAD = "upload"  # the source of files that come without a folder
MAX_CAPTION_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image that may be added to an index."""

    id: str
    read: Callable[[], bytes]  # raises InvalidInputError
    read_caption: Callable[[], str]  # raises InvalidInputError


class ImageFiles(Protocol):
    """Images from one place, in a fixed order; going through them twice gives the same."""

    source: str  # as the index keeps it
    complete: bool  # all of that source: what the index has of it besides was deleted there

    def count(self) -> int:
        """Return how many there are.

        Raises:
            InvalidInputError: when there is none, or the place cannot be read.
        """
        ...

    def __iter__(self) -> Iterator[ImageFile]: ...


class Folder:
    """The images below a folder; text files beside them, photo.txt for photo.jpg, are their captions."""

    complete = True

    def __init__(self, folder: Path) -> None:
        """Take a folder.

        Raises:
            InvalidInputError: when it is none.
        """
        self._folder = folder.expanduser()
        if not self._folder.is_dir():
            raise InvalidInputError(f"There is no folder {str(folder)!r}.")
        self.source = str(self._folder.resolve())

    def count(self) -> int:
        """Return how many there are; see `ImageFiles`."""
        images, others = 0, 0
        for path in self._walk():
            if is_image_name(path.name):
                images += 1
            else:
                others += 1
        if not images:
            what = f"{others:,} files, none of them an image" if others else "nothing in it"
            raise InvalidInputError(
                f"The folder {self._folder.name!r} has {what}; point to one with JPEG, PNG, WebP, GIF, BMP,"
                " TIFF or AVIF files."
            )
        return images

    def __iter__(self) -> Iterator[ImageFile]:
        for path in self._walk():
            if is_image_name(path.name):
                id_ = path.relative_to(self._folder).as_posix()
                yield ImageFile(_readable(id_), partial(_read_bytes, path), partial(_caption_beside, path))

    def _walk(self) -> Iterator[Path]:
        """Return all files in a fixed order; a folder that links lead back to is entered once."""
        seen: set[tuple[int, int]] = set()
        pending = [self._folder]
        while pending:
            folder = pending.pop()
            try:
                facts = folder.stat()
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError as error:
                if folder == self._folder:
                    raise InvalidInputError(
                        f"The folder {folder.name!r} cannot be read ({error.strerror})."
                    ) from None
                continue  # a folder of somebody else's among one's own is no reason to stop
            if (facts.st_dev, facts.st_ino) in seen:
                continue
            seen.add((facts.st_dev, facts.st_ino))
            yield from (Path(entry.path) for entry in entries if _leads_to(entry.is_file))
            folders = [
                Path(entry.path) for entry in entries if entry.name[:1] != "." and _leads_to(entry.is_dir)
            ]
            pending += reversed(folders)


class FileList:
    """Some files; files of the same name are told apart by their content."""

    complete = False
    source = UPLOAD

    def __init__(self, files: Sequence[tuple[str, Path]]) -> None:
        """Take files.

        Args:
            files: the name that each is to have, and where it is.
        """
        self._files = files

    def count(self) -> int:
        """Return how many there are; see `ImageFiles`."""
        if not self._files:
            raise InvalidInputError("There are no files; choose at least one image.")
        return len(self._files)

    def __iter__(self) -> Iterator[ImageFile]:
        for name, path in self._files:
            yield ImageFile(_readable(name), partial(_read_bytes, path), partial(_caption_beside, path))


def _leads_to(is_kind: Callable[[], bool]) -> bool:
    """Tell what an entry is; a link to itself, or to where nobody may look, is neither file nor folder."""
    try:
        return is_kind()
    except OSError:
        return False


def is_image_name(name: str) -> bool:
    """Tell whether a file's name says that it is an image; hidden files are none."""
    return not name.startswith(".") and PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def check_caption(caption: str) -> str:
    """Return a caption on one line.

    Raises:
        InvalidInputError: when it is too long.
    """
    caption = " ".join(caption.split())
    if len(caption) > MAX_CAPTION_CHARS:
        raise InvalidInputError(f"Its caption has more than {MAX_CAPTION_CHARS:,} characters.")
    return caption


def _readable(name: str) -> str:
    """Return a name that can be stored: file systems allow bytes that are no text."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _read_bytes(path: Path) -> bytes:
    return read_image_file(path)[0]


def _caption_beside(path: Path) -> str:
    beside = path.with_suffix(".txt")
    try:
        return check_caption(beside.read_text("utf-8-sig")) if beside.is_file() else ""
    except (OSError, UnicodeDecodeError):
        raise InvalidInputError(f"Its caption, {beside.name!r}, cannot be read as UTF-8 text.") from None
