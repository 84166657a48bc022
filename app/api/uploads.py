"""Uploaded images on the disk, until they are in an index."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
import unicodedata
import uuid
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout
from starlette.datastructures import UploadFile

from engines.errors import InvalidInputError
from use_cases.retrieval.archives import ZipArchive
from use_cases.retrieval.sources import FileList, ImageFiles, is_image_name
from use_cases.retrieval.storage import storage_errors

logger = logging.getLogger(__name__)

_FOLDER = ".uploads"  # no gallery's name begins with a dot
_LOCK = "lock"  # in each folder, held while somebody has its files; the system frees that of a killed server
_YOUNG_S = 3600.0  # a folder that another server is just making has no lock yet
_MAX_NAME_CHARS = 200
_ZIP_TYPES = ("application/zip", "application/x-zip-compressed")
_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredUploads:
    """The images of one request, in a folder of their own, which is kept as long as somebody has `files`."""

    files: ImageFiles
    folder: Path


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
    storing = asyncio.ensure_future(asyncio.to_thread(_store, root, uploads, captions))
    try:
        return await asyncio.shield(storing)
    except asyncio.CancelledError:  # the thread goes on, and nobody will ask for what it has written
        storing.add_done_callback(_forget)
        raise


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


def _store(
    root: Path, uploads: Sequence[UploadFile], captions: Sequence[str] | Mapping[str, str]
) -> StoredUploads:
    names = [safe_name(upload.filename or "") for upload in uploads]
    has_zip = any(map(is_zip, uploads))
    texts = _check(names, has_zip, captions)
    with storage_errors("written"):
        _remove_abandoned(root / _FOLDER)
        folder = root / _FOLDER / uuid.uuid4().hex
        folder.mkdir(parents=True)
        lock = FileLock(folder / _LOCK, thread_local=False)  # it is freed in whatever thread
        lock.acquire(timeout=0)
    try:
        paths = [folder / f"{number:06}" for number in range(len(uploads))]  # no client names a file here
        with storage_errors("written"):
            for upload, path, text in zip(uploads, paths, texts, strict=True):
                with path.open("wb") as file:
                    shutil.copyfileobj(upload.file, file, _COPY_BYTES)
                if text:
                    path.with_suffix(".txt").write_text(text, "utf-8")
        files = ZipArchive(paths[0], names[0]) if has_zip else FileList(list(zip(names, paths, strict=True)))
        files.count()  # before a gallery is made for nothing
    except BaseException:
        lock.release()
        shutil.rmtree(folder)
        raise
    weakref.finalize(files, lock.release)
    return StoredUploads(files, folder)


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
            f"There are {len(names):,} files, none of them an image; send JPEG, PNG, WebP, GIF, BMP, TIFF or"
            " AVIF files, or one zip archive."
        )
    if isinstance(captions, Mapping):
        if unknown := [name for name in captions if name not in names]:
            raise InvalidInputError(f"There is a caption for {unknown[0][:80]!r}, but no such file.")
        return [captions.get(name, "") for name in names]
    if captions and len(captions) != len(names):
        raise InvalidInputError(f"There are {len(captions):,} captions for {len(names):,} files.")
    return captions or [""] * len(names)


def _remove_abandoned(uploads: Path) -> None:
    """Remove the folders that killed servers left; other servers may be doing the same."""
    for folder in uploads.glob("*"):
        try:
            if time.time() - folder.stat().st_mtime > _YOUNG_S:
                with FileLock(folder / _LOCK, timeout=0):
                    shutil.rmtree(folder.rename(uploads / uuid.uuid4().hex))  # one alone can rename it
        except (FileNotFoundError, FileExistsError, Timeout):
            continue  # somebody still has its files, its job has just ended, or another server was faster
        except OSError as error:  # what is left of others is no reason to refuse an upload
            logger.warning("An abandoned upload cannot be removed: %s", error)


def _forget(storing: asyncio.Future[StoredUploads]) -> None:
    if not storing.cancelled() and storing.exception() is None:
        shutil.rmtree(storing.result().folder)
