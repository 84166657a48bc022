"""The images in a zip archive, read one at a time and never unpacked to the disk."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from engines.errors import InvalidInputError
from engines.preparation.images import MAX_IMAGE_BYTES
from use_cases.retrieval.sources import ImageFile, check_caption, is_image_name

_MAX_MEMBERS = 1_000_000
_MAX_CAPTION_BYTES = 10_000
# Nothing that is named like an image shrinks more, not even a blank bitmap: deflate's own limit is 1032.
_MAX_RATIO = 500


class ZipArchive:
    """The images in a zip archive; members photo.txt beside photo.jpg are their captions."""

    complete = True

    def __init__(self, path: Path, name: str | None = None) -> None:
        """Read an archive's directory.

        Args:
            path: the archive.
            name: what it is called; an upload's file has another name on the disk.

        Raises:
            InvalidInputError: when it is no zip archive, or a dangerous one.
        """
        self._name = name or path.name
        self.source = name or str(path.expanduser().resolve())
        try:
            self._archive = zipfile.ZipFile(path.expanduser())
        except OSError as error:
            raise InvalidInputError(f"{self._name!r} cannot be read ({error.strerror}).") from None
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError):
            raise InvalidInputError(f"{self._name!r} is no zip archive, or it is damaged.") from None
        self._members = {info.filename: info for info in self._archive.infolist() if not info.is_dir()}
        if len(self._members) > _MAX_MEMBERS:
            raise InvalidInputError(f"{self._name!r} has more than {_MAX_MEMBERS:,} files.")

    def count(self) -> int:
        """Return how many there are; see `ImageFiles`."""
        images = sum(map(_is_image_member, self._members))
        if not images:
            raise InvalidInputError(
                f"{self._name!r} has {len(self._members):,} files, none of them an image."
            )
        return images

    def __iter__(self) -> Iterator[ImageFile]:
        for name in self._members:
            if _is_image_member(name):
                yield ImageFile(name, partial(self._read, name), partial(self._caption, name))

    def _read(self, name: str) -> bytes:
        if not _is_inside(name):
            raise InvalidInputError("Its name leads out of the archive.")
        info = self._members[name]
        if info.flag_bits & 0x1:
            raise InvalidInputError("It is encrypted; unpack the archive first.")
        if info.file_size > MAX_IMAGE_BYTES or info.file_size > _MAX_RATIO * max(info.compress_size, 1):
            raise InvalidInputError("It would be too large, or is compressed too much, for an image.")
        return self._extract(name, MAX_IMAGE_BYTES)

    def _caption(self, name: str) -> str:
        beside = str(PurePosixPath(name).with_suffix(".txt"))
        if beside not in self._members:
            return ""
        try:
            return check_caption(self._extract(beside, _MAX_CAPTION_BYTES).decode("utf-8"))
        except UnicodeDecodeError:
            raise InvalidInputError(f"Its caption, {beside!r}, cannot be read as UTF-8 text.") from None

    def _extract(self, name: str, most: int) -> bytes:
        """Return a member's content; what its header says of its size is not believed."""
        try:
            with self._archive.open(name) as member:
                data = member.read(most + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError):
            raise InvalidInputError("It is damaged, or packed in a way that cannot be read.") from None
        if len(data) > most:
            raise InvalidInputError(f"It has more than {most:,} bytes.")
        return data


def _is_image_member(name: str) -> bool:
    return is_image_name(PurePosixPath(name).name) and not name.startswith("__MACOSX/")


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return not path.is_absolute() and ".." not in path.parts and ":" not in path.parts[0]
