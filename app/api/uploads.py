"""Uploaded images of a multipart form: their names, and whether they and their captions fit together."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from starlette.datastructures import UploadFile

from app.upload_store import StoredUploads, keep_uploads
from engines.errors import InvalidInputError
from use_cases.retrieval.archives import ZipArchive
from use_cases.retrieval.sources import FileList, ImageFiles, is_image_name
from use_cases.wording import counted

_MAX_NAME_CHARS = 200
_ZIP_TYPES = ("application/zip", "application/x-zip-compressed")
_COPY_BYTES = 1 << 20


async def store_uploads(
    root: Path, uploads: Sequence[UploadFile], captions: Sequence[str] | Mapping[str, str]
) -> StoredUploads:
    """Write uploads to a new folder, one after the other; who calls this removes it in the end.

    Args:
        root: the galleries' folder, below which it is made.
        uploads: images, or one zip archive.
        captions: in the order of the images, or by their names.

    Raises:
        InvalidInputError: when these are neither images nor one zip archive, or the captions do not fit.
        IndexStorageError: when they cannot be written.
    """
    names = [safe_name(upload.filename or "") for upload in uploads]
    has_zip = any(map(is_zip, uploads))
    texts = _check(names, has_zip, captions)

    def write(folder: Path) -> ImageFiles:
        paths = [folder / f"{number:06}" for number in range(len(uploads))]  # no client names a file here
        for upload, path, text in zip(uploads, paths, texts, strict=True):
            with path.open("wb") as file:
                shutil.copyfileobj(upload.file, file, _COPY_BYTES)
            if text:
                path.with_suffix(".txt").write_text(text, "utf-8")
        return ZipArchive(paths[0], names[0]) if has_zip else FileList(list(zip(names, paths, strict=True)))

    return await keep_uploads(root, write)


def is_zip(upload: UploadFile) -> bool:
    """Tell whether an upload says that it is a zip archive."""
    return (upload.filename or "").lower().endswith(".zip") or upload.content_type in _ZIP_TYPES


def safe_name(name: str) -> str:
    """Return a client's file name without folders and control characters, and not too long."""
    for escaped, character in (("%22", '"'), ("%0A", " "), ("%0D", " ")):  # as the HTML standard has it
        name = name.replace(escaped, character)
    name = PurePosixPath(name.replace("\\", "/")).name
    name = "".join(" " if unicodedata.category(each) in ("Cc", "Zl", "Zp") else each for each in name)
    name = name.strip()[-_MAX_NAME_CHARS:]
    return name if name.strip(".") else "image"


def _check(names: Sequence[str], has_zip: bool, captions: Sequence[str] | Mapping[str, str]) -> Sequence[str]:
    """Return a caption for each upload, which may be empty."""
    if not names:
        raise InvalidInputError("There are no files; send images or one zip archive as `files`.")
    if has_zip and len(names) > 1:
        raise InvalidInputError("Send images, or one zip archive alone.")
    if has_zip and captions:
        raise InvalidInputError(
            "A zip archive has its captions in it: photo.txt beside photo.jpg; leave out `captions`."
        )
    if not has_zip and not any(is_image_name(name) or not PurePosixPath(name).suffix for name in names):
        raise InvalidInputError(
            f"Got {counted(len(names), 'file')}, no image among them; send JPEG, PNG, WebP, GIF, BMP, TIFF or"
            " AVIF files, or one zip archive."
        )
    if isinstance(captions, Mapping):
        if unknown := [name for name in captions if name not in names]:
            raise InvalidInputError(f"There is a caption for {unknown[0][:80]!r}, but no such file.")
        return [captions.get(name, "") for name in names]
    if captions and len(captions) != len(names):
        raise InvalidInputError(
            f"Got {counted(len(captions), 'caption')} for {counted(len(names), 'file')}; send one for each."
        )
    return captions or [""] * len(names)
