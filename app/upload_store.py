"""Uploaded images on the disk, until they are in an index; for every door that takes them."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
import uuid
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from use_cases.retrieval.sources import ImageFiles
from use_cases.retrieval.storage import storage_errors

logger = logging.getLogger(__name__)

_FOLDER = ".uploads"  # no gallery's name begins with a dot
_LOCK = "lock"  # in each folder, held while somebody has its files; the system frees that of a killed server
_YOUNG_S = 3600.0  # a folder that another server is just making has no lock yet


@dataclass(frozen=True, slots=True)
class StoredUploads:
    """The images of one request, in a folder of their own, which is kept as long as somebody has `files`."""

    files: ImageFiles
    folder: Path


async def keep_uploads(root: Path, write: Callable[[Path], ImageFiles]) -> StoredUploads:
    """Make a folder and let it be filled in a thread; who calls this removes it in the end.

    What was written is removed at once when that fails or the caller is cancelled, and after an hour when
    the server was killed.

    Args:
        root: the galleries' folder, below which it is made.
        write: puts files into a folder, and returns them as the images of a job.

    Raises:
        InvalidInputError: when there are no images among them.
        IndexStorageError: when they cannot be written.
    """
    storing = asyncio.ensure_future(asyncio.to_thread(_store, root, write))
    try:
        return await asyncio.shield(storing)
    except asyncio.CancelledError:  # the thread goes on, and nobody will ask for what it has written
        storing.add_done_callback(_forget)
        raise


def _store(root: Path, write: Callable[[Path], ImageFiles]) -> StoredUploads:
    with storage_errors("written"):
        _remove_abandoned(root / _FOLDER)
        folder = root / _FOLDER / uuid.uuid4().hex
        folder.mkdir(parents=True)
        lock = FileLock(folder / _LOCK, thread_local=False)  # it is freed in whatever thread
        lock.acquire(timeout=0)
    try:
        with storage_errors("written"):
            files = write(folder)
        files.count()  # before a gallery is made for nothing
    except BaseException:
        lock.release()
        shutil.rmtree(folder)
        raise
    weakref.finalize(files, lock.release)
    return StoredUploads(files, folder)


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
