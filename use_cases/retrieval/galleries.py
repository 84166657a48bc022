"""Galleries: the indexes that a server offers by name, and the jobs that fill them."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engines.errors import InvalidInputError
from engines.models import ModelSpec
from use_cases.retrieval.demo_gallery import DEMO, DemoGallery
from use_cases.retrieval.errors import IndexBusyError, IndexNotAllowedError, UnknownIndexError
from use_cases.retrieval.image_index import ImageIndex
from use_cases.retrieval.image_table import ImageTable
from use_cases.retrieval.jobs import GetEngines, IndexJob
from use_cases.retrieval.sources import ImageFiles
from use_cases.retrieval.storage import storage_errors

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryOptions:
    """Where a server's galleries are, and what its clients may do with them."""

    root: Path  # one folder in it is one gallery; made when there is something to put into it
    builds_demo: bool = False  # the shipped gallery is filled when the server starts
    may_change: bool = False  # clients may add and remove images and galleries
    folders: tuple[Path, ...] = ()  # of this machine: what lies below them may be added by name
    max_galleries: int = 20  # beside the shipped one
    max_images: int = 100_000  # in each


@dataclass(frozen=True, slots=True)
class GalleryStatus:
    """What a gallery holds, and what happens to it."""

    name: str
    images: dict[str, int]  # by model
    job: IndexJob | None  # the last one, since the server started


@dataclass(slots=True)
class _Gallery:
    index: ImageIndex
    job: IndexJob | None = None


class Galleries:
    """Opens each index once; jobs run one after the other. Belongs to one event loop."""

    def __init__(self, options: GalleryOptions, get_engines: GetEngines) -> None:
        """Open nothing yet.

        Args:
            options: where they are, and what is allowed.
            get_engines: returns the running engines of some models.
        """
        self.options = options
        self._get_engines = get_engines
        self._open: dict[str, _Gallery] = {}
        self._turn = asyncio.Semaphore(1)
        self._changing = asyncio.Lock()
        self._folders = threading.Lock()  # opening a gallery that somebody is removing makes it again

    def names(self) -> list[str]:
        """Return the names of all galleries, the shipped one first."""
        found = {
            path.name for path in self.options.root.glob("*") if path.is_dir() and _NAME.fullmatch(path.name)
        }
        return [DEMO, *sorted(found - {DEMO})]

    async def table(self, name: str, spec: ModelSpec) -> ImageTable:
        """Return a gallery's images as one model sees them.

        Raises:
            UnknownIndexError: when there is no such gallery, or it has nothing of that model.
            IndexMismatchError: when it was built with another state of the model.
            IndexStorageError: when it cannot be read.
        """
        gallery = await self._gallery(name)
        return await asyncio.to_thread(gallery.index.table, spec)

    async def status(self, name: str) -> GalleryStatus:
        """Return what a gallery holds, and what happens to it.

        Raises:
            UnknownIndexError: when there is no such gallery.
            IndexStorageError: when it cannot be read.
        """
        gallery = await self._gallery(name)
        return GalleryStatus(name, await asyncio.to_thread(_count, gallery.index), gallery.job)

    async def add(
        self,
        name: str,
        files: ImageFiles,
        models: Sequence[str],
        *,
        remove_missing: bool = False,
        files_folder: Path | None = None,
    ) -> IndexJob:
        """Begin to add images to a gallery, which is made if there is none.

        Args:
            name: of the gallery.
            files: where the images are.
            models: whose embeddings are wanted.
            remove_missing: remove what the gallery has from the same source and the source has no more.
            files_folder: is removed when the job has ended: it holds the uploaded files.

        Raises:
            IndexNotAllowedError: when this server lets nobody change its galleries.
            InvalidInputError: when the name cannot be used, or there are too many images or galleries.
            IndexBusyError: when images are being added to it already.
            IndexStorageError: when it cannot be made.
        """
        clean_up = partial(_clean_up, files_folder)
        try:
            self._check_change(name)
            async with self._changing:  # of two requests at once one has to see the other's job
                await self._check_room(name, files)
                gallery = await self._gallery(name, create=True)
                job = gallery.job = IndexJob(
                    files,
                    gallery.index,
                    models,
                    remove_missing=remove_missing,
                    max_images=self.options.max_images,
                    clean_up=clean_up,
                )
        except BaseException:
            await asyncio.to_thread(clean_up)
            raise
        job.start(self._turn, self._get_engines)
        return job

    async def add_demo(self, models: Sequence[str]) -> IndexJob:
        """Begin to bring the shipped gallery up to date; what is there already costs no embedding."""
        gallery = await self._gallery(DEMO)
        if gallery.job is None or gallery.job.has_ended:
            gallery.job = IndexJob(
                DemoGallery(), gallery.index, models, remove_missing=True, drop_outdated=True
            )
            gallery.job.start(self._turn, self._get_engines)
        return gallery.job

    async def cancel(self, name: str) -> None:
        """Stop adding images; what was committed stays.

        Raises:
            IndexNotAllowedError: when this server lets nobody change its galleries.
            InvalidInputError: when it is the shipped gallery.
            UnknownIndexError: when there is no such gallery.
        """
        self._check_change(name)
        gallery = await self._gallery(name)
        if gallery.job is not None:
            await gallery.job.cancel()

    async def remove(self, name: str, ids: Sequence[str]) -> int:
        """Remove images from a gallery; return how many there were.

        Raises:
            IndexNotAllowedError: when this server lets nobody change its galleries.
            InvalidInputError: when it is the shipped gallery.
            UnknownIndexError: when there is no such gallery, or it has none of these images.
            IndexBusyError: when images are being added to it.
            IndexStorageError: when it cannot be written.
        """
        self._check_change(name)
        async with self._changing:  # writing to a gallery that somebody drops would make it again
            gallery = await self._gallery(name)
            removed = await asyncio.to_thread(_remove, gallery.index, list(ids))
        if not removed:
            raise UnknownIndexError(f"The gallery {name!r} has no image {ids[0][:200]!r}.")
        return removed

    async def drop(self, name: str) -> None:
        """Remove a gallery, and stop what is being added to it.

        Raises:
            IndexNotAllowedError: when this server lets nobody change its galleries.
            InvalidInputError: when it is the shipped gallery.
            UnknownIndexError: when there is no such gallery.
            IndexBusyError: when somebody has begun to add images again.
            IndexStorageError: when it cannot be removed.
        """
        await self.cancel(name)
        async with self._changing:  # of two requests at once the second finds nothing any more
            gallery = await self._gallery(name)
            if gallery.job is not None and not gallery.job.has_ended:
                raise IndexBusyError(
                    f"Images are being added to the gallery {name!r} again; stop that first."
                )
            await asyncio.to_thread(self._remove_folder, name)

    async def close(self) -> None:
        """Stop all jobs; what was committed stays."""
        await asyncio.gather(*(each.job.cancel() for each in self._open.values() if each.job))

    async def _check_room(self, name: str, files: ImageFiles) -> None:
        """Refuse what a gallery, or another gallery, has no room for."""
        names = await asyncio.to_thread(self.names)
        if name not in names and len(names) > self.options.max_galleries:
            raise InvalidInputError(
                f"There are {self.options.max_galleries} galleries already; remove one first."
            )
        status = await self.status(name) if name in names else GalleryStatus(name, {}, None)
        if status.job is not None and not status.job.has_ended:
            raise IndexBusyError(
                f"Images are being added to the gallery {name!r} already; wait until that has ended."
            )
        # Many of them may be there already: whether there is room for the others shows while adding them.
        added = await asyncio.to_thread(files.count)
        if added > self.options.max_images:
            raise InvalidInputError(
                f"A gallery may have {self.options.max_images:,} images, and these are {added:,}."
            )

    async def _gallery(self, name: str, *, create: bool = False) -> _Gallery:
        gallery = self._open.get(name)
        return gallery if gallery else await asyncio.to_thread(self._open_folder, name, create)

    def _open_folder(self, name: str, create: bool) -> _Gallery:
        with self._folders:
            names = self.names()
            if name not in names and not create:
                raise UnknownIndexError(f"There is no gallery {name[:80]!r}; there are {', '.join(names)}.")
            if name not in self._open:  # another request may have been faster
                self._open[name] = _Gallery(ImageIndex(self.options.root / name, create=True))
            return self._open[name]

    def _remove_folder(self, name: str) -> None:
        """Remove a gallery's folder at once, by another name, so that nobody sees half of it."""
        with storage_errors("removed"):
            with self._folders:
                del self._open[name]
                folder = self.options.root / name
                removed = folder.rename(folder.with_name(f".removed-{name}-{time.time_ns()}"))
            shutil.rmtree(removed)

    def _check_change(self, name: str) -> None:
        if not self.options.may_change:
            raise IndexNotAllowedError("This server lets nobody change its galleries.")
        if name == DEMO:
            raise InvalidInputError(f"The gallery {DEMO!r} is shipped with the app and stays as it is.")
        if not _NAME.fullmatch(name):  # it names a folder, too
            raise InvalidInputError(
                f"A gallery cannot be called {name[:80]!r}; use lower-case letters, digits, - and _, at most"
                " 63, and begin with a letter or digit."
            )


def _count(index: ImageIndex) -> dict[str, int]:
    return {model: len(table) for model, table in index.tables().items()}


def _remove(index: ImageIndex, ids: Sequence[str]) -> int:
    removed = 0
    for table in index.tables().values():
        with table.writing():
            removed = max(removed, table.remove(ids))
    return removed


def _clean_up(folder: Path | None) -> None:
    if folder is not None:
        with suppress(FileNotFoundError):  # a sweep of old uploads may have been faster
            shutil.rmtree(folder)
