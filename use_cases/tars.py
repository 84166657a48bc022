"""Tar archives of samples, as webdataset writes them; never unpacked to the disk."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from engines.errors import InvalidInputError
from engines.preparation.images import MAX_IMAGE_BYTES
from use_cases.retrieval.sources import is_image_name

Members: TypeAlias = Mapping[str, tarfile.TarInfo]  # of a sample, by what follows the first dot, lower case
_READ_BYTES = 1_000_000  # of an archive's end at a time


@dataclass(frozen=True, slots=True)
class Sample:
    """The plain files of an archive whose names are equal up to the first dot."""

    members: Members
    image: tarfile.TarInfo | None
    left_out: Mapping[str, str]  # why other files that are called as images are cannot be used, by name


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


def all_members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield an archive's members; tarfile alone takes a damaged header for the end, and says nothing.

    Raises:
        tarfile.ReadError: when anything but zeros follows the last member; `open_tar` makes a sentence of it.
    """
    yield from archive
    file = archive.fileobj
    assert file is not None  # it is open
    file.seek(archive.offset)
    while block := file.read(_READ_BYTES):
        if block.strip(b"\0"):
            raise tarfile.ReadError(
                f"what follows its first {archive.offset:,} bytes is neither a member nor the end"
            )


def group_samples(files: Iterable[tarfile.TarInfo]) -> list[Sample]:
    """Return an archive's plain files by what their names share, without hidden ones; of equals the first."""
    together: dict[str, list[tuple[str, tarfile.TarInfo]]] = {}
    for file in files:
        key, kind = _sample_and_kind(file)
        if key and kind:
            together.setdefault(key, []).append((kind, file))
    return [_sample(each) for each in together.values()]


def _sample(files: Sequence[tuple[str, tarfile.TarInfo]]) -> Sample:
    members: dict[str, tarfile.TarInfo] = {}
    for kind, file in files:
        members.setdefault(kind, file)
    images = [(kind, file) for kind, file in files if is_image_name(f"key.{kind}")]
    image = next((file for kind, file in images if "." not in kind), None)
    taken = None if image is None else image.name  # of a member that was added twice, too
    left_out = {file.name: _reason(kind, image) for kind, file in images if file.name != taken}
    return Sample(members, image, left_out)


def _reason(kind: str, image: tarfile.TarInfo | None) -> str:
    if image is None or "." in kind:
        return "Its name has a second dot; in a tar archive, only the suffix may follow the first one."
    return f"Its name up to the dot is that of {image.name!r}, which comes first; each image needs its own."


def _sample_and_kind(member: tarfile.TarInfo) -> tuple[str, str]:
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
