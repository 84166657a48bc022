"""The images in a zip archive, read one at a time and never unpacked to the disk."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from engines.errors import InvalidInputError
from engines.preparation.images import MAX_IMAGE_BYTES
from use_cases.retrieval.sources import (
    MAX_CAPTION_BYTES,
    UPLOADED_ARCHIVE,
    ImageFile,
    decode_caption,
    is_image_name,
)
from use_cases.retrieval.zip_directory import check_directory
from use_cases.wording import counted

# Nothing that is named like an image shrinks more, not even a blank bitmap: deflate's own limit is 1032.
_MAX_RATIO = 500
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)  # not every Python brings LZMA
# Damaged headers make `zipfile` raise struct.error and, where names are no text, ValueError.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


class ZipArchive:
    """The images in a zip archive; members photo.txt beside photo.jpg are their captions."""

    complete = True

    def __init__(self, path: Path, upload_name: str | None = None) -> None:
        """Read an archive's directory.

        Args:
            path: the archive.
            upload_name: what it was called where it was uploaded from; None for an archive of this machine.

        Raises:
            InvalidInputError: when it is no zip archive, or a dangerous one.
        """
        path = Path(os.path.expanduser(path))
        self._name = upload_name or path.name
        self.source = f"{UPLOADED_ARCHIVE}{upload_name}" if upload_name else str(path.resolve())
        try:
            with path.open("rb") as file:
                check_directory(file, self._name)
            self._archive = zipfile.ZipFile(path)
        except OSError as error:
            raise InvalidInputError(f"{self._name!r} cannot be read ({error.strerror}).") from None
        except _DAMAGE:
            raise InvalidInputError(f"{self._name!r} is no zip archive, or it is damaged.") from None
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._hidden: list[str] = []  # names of images that a later member has, too
        for info in self._archive.infolist():
            if info.filename in self._members and _is_image_member(info.filename):
                self._hidden.append(info.filename)
            if info.filename and not info.is_dir():
                self._members[info.filename] = info

    def count(self) -> int:
        """Return how many there are; see `ImageFiles`."""
        images = sum(map(_is_image_member, self._members)) + len(self._hidden)
        if not images:
            raise InvalidInputError(
                f"{self._name!r} has {counted(len(self._members), 'file')}, no image among them."
            )
        return images

    def __iter__(self) -> Iterator[ImageFile]:
        for name in self._members:
            if _is_image_member(name):
                yield ImageFile(name, partial(self._read, name), partial(self._caption, name))
        for number, name in enumerate(self._hidden, start=1):
            yield ImageFile(f"{name} (hidden, {number})", _refuse_hidden, str)

    def _read(self, name: str) -> bytes:
        if not _is_inside(name):
            raise InvalidInputError("Its name leads out of the archive.")
        info = self._members[name]
        if info.flag_bits & 0x1:
            raise InvalidInputError("It is encrypted; unpack the archive first.")
        if info.file_size > MAX_IMAGE_BYTES or info.file_size > _MAX_RATIO * max(info.compress_size, 1):
            raise InvalidInputError("It would be too large, or is compressed too much, for an image.")
        data = self._extract(name, MAX_IMAGE_BYTES, "It")
        if len(data) > MAX_IMAGE_BYTES:
            raise InvalidInputError(f"It has more than {MAX_IMAGE_BYTES:,} bytes.")
        return data

    def _caption(self, name: str) -> str:
        beside = str(PurePosixPath(name).with_suffix(".txt"))
        if beside not in self._members:
            return ""
        return decode_caption(self._extract(beside, MAX_CAPTION_BYTES, f"Its caption, {beside!r},"), beside)

    def _extract(self, name: str, most: int, subject: str) -> bytes:
        """Return a member's content, of one that is too long `most` bytes and one more.

        What its header says of its size is not believed.
        """
        try:
            if self._members[name].compress_type not in _METHODS:
                raise NotImplementedError
            with self._archive.open(name) as member:
                return member.read(most + 1)
        except _DAMAGE:
            raise InvalidInputError(
                f"{subject} is damaged, or packed in a way that cannot be read."
            ) from None


def _refuse_hidden() -> bytes:
    raise InvalidInputError("A later file of the archive has the same name and was read; rename one of them.")


def _is_image_member(name: str) -> bool:
    return is_image_name(PurePosixPath(name).name) and not name.startswith("__MACOSX/")


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return not path.is_absolute() and ".." not in path.parts and ":" not in path.parts[0]
