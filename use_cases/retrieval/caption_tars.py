"""Images and captions in tar archives, as webdataset and img2dataset write them; never unpacked to the disk.

Members whose names are equal up to the first dot belong together: 0001.jpg, 0001.txt (a caption a line) or
0001.json (with "caption"). Of several images that belong together, one is used.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from engines.errors import InvalidInputError
from use_cases.retrieval.caption_tables import printable
from use_cases.retrieval.captioned import MAX_CAPTIONS_BYTES, CaptionedImage, tidy_captions
from use_cases.tars import Members, all_members, group_samples, open_tar, read_range


@dataclass(frozen=True, slots=True)
class CaptionTar:
    """What is in an archive, in its order."""

    images: list[CaptionedImage]  # also those without captions
    left_out: Mapping[str, str]  # images that cannot be used, by name, and why


def read_tar(path: Path, prefix: str = "") -> CaptionTar:
    """Read an archive's captions, and where its images are.

    Args:
        path: of the archive.
        prefix: put before the images' names, so that those of several archives differ.

    Raises:
        InvalidInputError: when it is no uncompressed tar archive, is damaged, or has members that no such
            archive has: links, devices, names that lead out of it.
    """
    images: list[CaptionedImage] = []
    left_out: dict[str, str] = {}
    with open_tar(path) as archive:
        for sample in group_samples(_plain_files(archive, path.name)):
            left_out |= {prefix + printable(other): why for other, why in sample.left_out.items()}
            if (image := sample.image) is not None:
                read = partial(read_range, path, image.offset_data, image.size)
                captions = _captions(path, archive, sample.members)
                images.append(CaptionedImage(prefix + printable(image.name), read, captions))
    return CaptionTar(images, left_out)


def _plain_files(archive: tarfile.TarFile, tar_name: str) -> Iterator[tarfile.TarInfo]:
    for member in all_members(archive):
        _check(member, tar_name)
        if member.isreg():
            yield member


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


def _captions(path: Path, archive: tarfile.TarFile, members: Members) -> tuple[str, ...]:
    if "txt" in members:
        return tidy_captions(_read_text(path, archive, members["txt"]).splitlines())
    if "json" not in members:
        return ()
    member = members["json"]
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
