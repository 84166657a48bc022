"""Where the images of an index come from: folders, files and uploads; archives have a file of their own."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple, NoReturn, Protocol

from engines.errors import InvalidInputError
from engines.preparation.images import read_image_file
from use_cases.wording import counted

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
)
UPLOAD = "upload"  # the source of files that come without a folder
# The source of what was uploaded in an archive is its name after this; all other sources are absolute paths.
UPLOADED_ARCHIVE = "zip:"
MAX_CAPTION_BYTES = (
    10_000  # of a caption's file, with spaces and line ends; 2,000 characters have 8,000 at most
)
_MAX_CAPTION_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image that may be added to an index."""

    id: str
    read: Callable[[], bytes]  # raises InvalidInputError
    read_caption: Callable[[], str]  # raises InvalidInputError


class ImageFiles(Protocol):
    """Images from one place, in a fixed order; going through them twice gives the same."""

    source: str  # as the index keeps it

    @property
    def complete(self) -> bool:
        """Tell whether these are all of that source: what the index has of it besides was deleted there.

        Ask after going through all of them: part of a folder may turn out to be closed, and then nobody
        knows what is missing.
        """
        ...

    def count(self) -> int:
        """Return how many there are.

        Raises:
            InvalidInputError: when there is none, or the place cannot be read.
        """
        ...

    def __iter__(self) -> Iterator[ImageFile]: ...


class _Found(NamedTuple):
    """A file below a folder, or a folder there that cannot be read."""

    path: Path
    problem: str = ""  # why nobody can look into it


class Folder:
    """The images below a folder; text files beside them, photo.txt for photo.jpg, are their captions.

    A folder in it that cannot be read is listed among the images, and says so when it is read.
    """

    def __init__(self, folder: Path) -> None:
        """Take a folder.

        Raises:
            InvalidInputError: when it is none.
        """
        self._folder = Path(os.path.expanduser(folder))
        if not os.path.isdir(self._folder):  # unlike pathlib's, it raises nothing
            raise InvalidInputError(f"There is no folder {str(folder)!r}.")
        self.source = str(self._folder.resolve())
        self.complete = True  # as far as anybody has looked

    def count(self) -> int:
        """Return how many there are, with the folders that cannot be read; see `ImageFiles`."""
        images, others, closed = 0, 0, 0
        for found in self._walk():
            if found.problem:
                closed += 1
            elif is_image_name(found.path.name):
                images += 1
            else:
                others += 1
        if not images:
            what = f"{counted(others, 'file')}, no image among them" if others else "nothing in it"
            what += f", and {counted(closed, 'folder')} that cannot be read" if closed else ""
            raise InvalidInputError(
                f"The folder {self._folder.name!r} has {what}; point to one with JPEG, PNG, WebP, GIF, BMP,"
                " TIFF or AVIF files."
            )
        return images + closed

    def __iter__(self) -> Iterator[ImageFile]:
        for path, problem in self._walk():
            id_ = _readable(path.relative_to(self._folder).as_posix())
            if problem:
                refuse = partial(
                    _refuse, f"The folder cannot be read ({problem}), so nothing counts as missing."
                )
                yield ImageFile(f"{id_}/", refuse, refuse)
            elif is_image_name(path.name):
                yield ImageFile(id_, partial(_read_bytes, path), partial(_caption_beside, path))

    def _walk(self) -> Iterator[_Found]:
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
                # A folder of somebody else's among one's own is no reason to stop.
                yield self._closed(folder, error)
                continue
            if (facts.st_dev, facts.st_ino) in seen:
                continue
            seen.add((facts.st_dev, facts.st_ino))
            below: list[Path] = []
            for entry in entries:
                path = Path(entry.path)
                try:
                    is_folder, is_file = entry.is_dir(), entry.is_file()
                except OSError as error:  # a link to where nobody may look, or to itself
                    if error.errno == errno.ELOOP or entry.name.startswith("."):
                        continue
                    if not is_image_name(entry.name):
                        yield self._closed(path, error)
                        continue
                    is_folder, is_file = False, True  # whoever reads it is told why not
                if is_file:
                    yield _Found(path)
                elif is_folder and not entry.name.startswith("."):
                    below.append(path)
            pending += reversed(below)

    def _closed(self, folder: Path, error: OSError) -> _Found:
        self.complete = False
        return _Found(folder, error.strerror or "no reason given")


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


def is_upload(source: str) -> bool:
    """Tell whether images of a source were uploaded: other files of that name may be somebody else's."""
    return source == UPLOAD or source.startswith(UPLOADED_ARCHIVE)


def is_image_name(name: str) -> bool:
    """Tell whether a file's name says that it is an image; hidden files are none."""
    return not name.startswith(".") and PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def decode_caption(data: bytes, name: str) -> str:
    """Return the caption in a text file, on one line.

    Args:
        data: the file's content; of a longer one the first `MAX_CAPTION_BYTES` and one byte more will do.
        name: of the file.

    Raises:
        InvalidInputError: when it is too long, or not UTF-8.
    """
    if len(data) > MAX_CAPTION_BYTES:
        raise InvalidInputError(f"Its caption, {name!r}, has more than {MAX_CAPTION_BYTES:,} bytes.")
    try:
        caption = " ".join(data.decode("utf-8-sig").split())
    except UnicodeDecodeError:
        raise InvalidInputError(f"Its caption, {name!r}, cannot be read as UTF-8 text.") from None
    if len(caption) > _MAX_CAPTION_CHARS:
        raise InvalidInputError(f"Its caption has more than {_MAX_CAPTION_CHARS:,} characters.")
    return caption


def _readable(name: str) -> str:
    """Return a name that can be stored: file systems allow bytes that are no text."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _read_bytes(path: Path) -> bytes:
    return read_image_file(path)[0]


def _caption_beside(path: Path) -> str:
    beside = path.with_suffix(".txt")
    try:
        if not beside.is_file():
            return ""
        with beside.open("rb") as file:
            data = file.read(MAX_CAPTION_BYTES + 1)
    except OSError as error:
        raise InvalidInputError(f"Its caption, {beside.name!r}, cannot be read ({error.strerror}).") from None
    return decode_caption(data, beside.name)


def _refuse(sentence: str) -> NoReturn:
    raise InvalidInputError(sentence)
