"""Tar archives of samples, as webdataset writes them; never unpacked to the disk."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from engines.errors import InvalidInputError
from engines.preparation.images import MAX_IMAGE_BYTES

Members: TypeAlias = Mapping[str, tarfile.TarInfo]  # of a sample, by what follows the first dot, lower case


@contextmanager
def open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive that is not compressed, so that a member is read where it lies.

    Raises:
        InvalidInputError: when it is none, also where that is noticed within the block.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            yield archive
    except OSError as error:
        raise InvalidInputError(
            f"{path.name!r} cannot be read ({error.strerror or 'its end is missing'})."
        ) from None
    except (tarfile.TarError, EOFError, UnicodeError, ValueError) as error:
        raise InvalidInputError(
            f"{path.name!r} is no tar archive, is compressed, or is damaged ({error})."
        ) from None


def sample_and_kind(member: tarfile.TarInfo) -> tuple[str, str]:
    """Return what a member's name shares with the others of its sample, and what follows the first dot."""
    path = PurePosixPath(member.name)
    key, _, kind = path.name.partition(".")
    return (f"{path.parent}/{key}" if key else ""), kind.lower()


def read_range(path: Path, offset: int, size: int) -> bytes:
    """Return an image's bytes from an archive that is not compressed.

    Args:
        path: of the archive.
        offset: of the image's first byte.
        size: of the image, in bytes.

    Raises:
        InvalidInputError: when the image is too large, or the archive cannot be read any more.
    """
    if size > MAX_IMAGE_BYTES:
        raise InvalidInputError(f"It has more than {MAX_IMAGE_BYTES // 10**6} MB.")
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise InvalidInputError(f"{path.name!r} cannot be read ({error.strerror}).") from None
