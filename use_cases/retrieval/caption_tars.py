"""Images and captions in tar archives, as webdataset and img2dataset write them; never unpacked to the disk.

Members whose names are equal up to the first dot belong together: 0001.jpg, 0001.txt (a caption a line) or
0001.json (with "caption").
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from engines.errors import InvalidInputError
from engines.preparation.images import MAX_IMAGE_BYTES
from use_cases.retrieval.caption_tables import printable
from use_cases.retrieval.captioned import MAX_CAPTIONS_BYTES, CaptionedImage, tidy_captions
from use_cases.retrieval.sources import is_image_name

_Members = Mapping[str, tarfile.TarInfo]  # by what follows the first dot of their names


def read_tar(path: Path) -> list[CaptionedImage]:
    """Return the images of an archive, also those without captions, in its order.

    Raises:
        InvalidInputError: when it is no uncompressed tar archive, is damaged, or has members that no such
            archive has: links, devices, names that lead out of it.
    """
    try:
        # Uncompressed, so that an image is read where it lies, whatever was read before.
        with tarfile.open(path, "r:") as archive:
            samples: dict[str, dict[str, tarfile.TarInfo]] = {}
            for member in archive:
                _check(member, path.name)
                key, _, kind = PurePosixPath(member.name).name.partition(".")
                if member.isreg() and key:
                    parent = str(PurePosixPath(member.name).parent)
                    samples.setdefault(f"{parent}/{key}", {}).setdefault(f".{kind.lower()}", member)
            found = [_read_sample(path, archive, members) for members in samples.values()]
    except OSError as error:
        raise InvalidInputError(
            f"{path.name!r} cannot be read ({error.strerror or 'its end is missing'})."
        ) from None
    except (tarfile.TarError, EOFError, UnicodeError, ValueError) as error:
        raise InvalidInputError(
            f"{path.name!r} is no tar archive, is compressed, or is damaged ({error})."
        ) from None
    return [image for image in found if image is not None]


def _check(member: tarfile.TarInfo, tar_name: str) -> None:
    name = PurePosixPath(member.name.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts:
        raise InvalidInputError(
            f"{tar_name!r} has a member whose name leads out of it, {member.name[:100]!r}."
        )
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise InvalidInputError(
            f"{tar_name!r} has a member that is neither a plain file nor a folder, {member.name[:100]!r}."
        )


def _read_sample(path: Path, archive: tarfile.TarFile, members: _Members) -> CaptionedImage | None:
    image = next(
        (members[kind] for kind in members if is_image_name(f"key{kind}") and "." not in kind[1:]), None
    )
    if image is None:
        return None
    read = partial(read_range, path, image.offset_data, image.size)
    return CaptionedImage(printable(image.name), read, _captions(path, archive, members))


def _captions(path: Path, archive: tarfile.TarFile, members: _Members) -> tuple[str, ...]:
    if ".txt" in members:
        return tidy_captions(_read_text(path, archive, members[".txt"]).splitlines())
    if ".json" not in members:
        return ()
    member = members[".json"]
    try:
        facts = json.loads(_read_text(path, archive, member))
    except (ValueError, RecursionError):
        raise InvalidInputError(f"{member.name!r} in {path.name!r} is not JSON.") from None
    caption = facts.get("caption", "") if isinstance(facts, dict) else ""
    captions = caption if isinstance(caption, list) else [caption]
    return tidy_captions(each for each in captions if isinstance(each, str))


def _read_text(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    if member.size > MAX_CAPTIONS_BYTES:
        raise InvalidInputError(
            f"{member.name!r} in {path.name!r} has more than {MAX_CAPTIONS_BYTES:,} bytes; a caption is"
            " shorter."
        )
    file = archive.extractfile(member)
    assert file is not None  # it is a plain file
    try:
        return file.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInputError(f"{member.name!r} in {path.name!r} is not UTF-8 text.") from None


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
