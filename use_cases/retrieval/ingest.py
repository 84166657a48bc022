"""Add images to an index: read, decode and embed them side by side, and commit what is done."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from itertools import islice
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.errors import InferenceError, InvalidInputError, OverloadedError
from engines.pool import PooledEngine
from engines.preparation.images import image_size
from engines.preparation.source import SourceImage
from engines.worker.background import in_background, in_background_to_the_end
from use_cases.retrieval.commits import Commits, Row, Target
from use_cases.retrieval.image_ids import ImageIds, Known
from use_cases.retrieval.image_index import ImageIndex
from use_cases.retrieval.progress import IngestProgress
from use_cases.retrieval.records import ImageRecord
from use_cases.retrieval.sources import ImageFile, ImageFiles
from use_cases.retrieval.thumbnails import THUMBNAIL_SIDE, difference_hash, encode_thumbnail, shrink
from use_cases.zero_shot import min_image_side

_CHUNK = 64  # files whose names are looked up together
_UNDER_WAY = 48  # images on their way, so that some are read while others are embedded
_FILES_AT_ONCE = 4  # whose bytes are in memory
# JPEGs are decoded at a fraction of their size; what is larger than this otherwise takes much memory, so few
# of them are under way at once.
_HEAVY_PIXELS = 4_000_000
_HEAVY_AT_ONCE = 2
_JPEG = b"\xff\xd8"
_PAUSE_S = 0.2  # when the engine's queue is full

_NewRows: TypeAlias = list[tuple[Target, Row]]


async def add_images(
    files: ImageFiles,
    index: ImageIndex,
    engines: Sequence[PooledEngine],
    progress: IngestProgress | None = None,
    *,
    remove_missing: bool = False,
    max_images: int | None = None,
) -> IngestProgress:
    """Bring an index up to date with a folder, an archive or a list of files.

    What the index holds already, with the same content and caption, is left alone. So a call that was
    interrupted, however hard, goes on when it is repeated. Files that cannot be used are listed with their
    reason. Memory holds a few dozen images and one commit at a time. Engines serve others first.

    Args:
        files: where the images are.
        index: where they go; each model gets a table of its own.
        engines: the models, running.
        progress: counts what happens, for somebody who watches.
        remove_missing: remove what the index has from the same source and the source has no more.
        max_images: that a table may have; None for any number.

    Raises:
        InvalidInputError: when there is no image at all, or no room for more.
        IndexBusyError: when somebody else is adding images.
        IndexMismatchError: when the index was built with another state of a model.
        IndexStorageError: when the index cannot be written; what was committed stays.
        EngineError: when an engine fails for good.
    """
    progress = progress or IngestProgress()
    progress.begin()
    try:
        with ExitStack() as held:
            for pooled in engines:
                held.enter_context(pooled.engine.keeping())
            progress.total = await in_background(files.count)
            targets = await in_background_to_the_end(_open_targets, index, engines, held)
            commits = Commits(targets, progress, max_images)
            ingestion = _Ingestion(files, targets, commits, progress, remove_missing=remove_missing)
            await ingestion.run()
            if remove_missing and files.complete:
                await in_background_to_the_end(ingestion.remove_missing)
            await commits.tidy()
    finally:
        progress.end()
    return progress


def _open_targets(index: ImageIndex, engines: Sequence[PooledEngine], locks: ExitStack) -> list[Target]:
    targets = [Target(pooled, index.table(pooled.engine.spec, create=True)) for pooled in engines]
    for target in targets:
        locks.enter_context(target.table.writing())
    return targets


class _Read(NamedTuple):
    record: ImageRecord
    image: SourceImage
    wanted: list[tuple[Target, bool]]  # the tables that need it, and whether it takes a row's place there


class _Ingestion:
    """The pipeline: files are read and embedded side by side, and committed in their order."""

    def __init__(
        self,
        files: ImageFiles,
        targets: Sequence[Target],
        commits: Commits,
        progress: IngestProgress,
        *,
        remove_missing: bool,
    ) -> None:
        self._commits = commits
        self._files = files
        self._targets = targets
        self._progress = progress
        specs = [target.pooled.engine.spec for target in targets]
        self._min_side = max(min_image_side(specs), THUMBNAIL_SIDE)
        self._ids = ImageIds(files.source, self._lookup, replaces=remove_missing)
        self._unusable: set[str] = set()  # files that are there, so nothing of them is missing
        self._reading = asyncio.Semaphore(_FILES_AT_ONCE)
        self._heavy = asyncio.Semaphore(_HEAVY_AT_ONCE)

    async def run(self) -> None:
        """Add everything."""
        under_way: deque[asyncio.Task[_NewRows]] = deque()
        files = iter(self._files)
        try:
            while chunk := await in_background(_take, files):
                known = await in_background(self._lookup, [file.id for file in chunk])
                for file in chunk:
                    under_way.append(asyncio.get_running_loop().create_task(self._process(file, known)))
                    if len(under_way) >= _UNDER_WAY:
                        await self._finish(under_way.popleft())
            while under_way:
                await self._finish(under_way.popleft())
            await self._commits.write()
        finally:  # after an error or a cancellation nobody waits for the others
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    def remove_missing(self) -> None:
        """Remove what the source has no more; call it after `run`."""
        gone: set[str] = set()
        for target in self._targets:
            held = target.table.ids_from(self._files.source)
            missing = [id_ for id_ in held if id_ not in self._ids and not self._is_unusable(id_)]
            target.table.remove(missing)
            gone.update(missing)
        self._progress.removed = len(gone)

    def _is_unusable(self, id_: str) -> bool:
        """Tell whether an image's file is there but cannot be used; see `ImageIds` for its other names."""
        return id_ in self._unusable or id_.partition("/")[2] in self._unusable

    async def _finish(self, task: asyncio.Task[_NewRows]) -> None:
        for target, row in await task:
            target.rows.append(row)
        self._progress.advance(1)
        await self._commits.write_if_due()

    async def _process(self, file: ImageFile, known: Known) -> _NewRows:
        """Return what is to be committed of a file: nothing when it is known, or cannot be used."""
        try:
            async with AsyncExitStack() as heavy:
                read = await self._read(file, known, heavy)
                if read is None:
                    self._progress.unchanged += 1
                    return []
                record, image, wanted = read
                return [
                    (target, Row(record, await _embed(target, image), replaces))
                    for target, replaces in wanted
                ]
        except (InvalidInputError, InferenceError) as error:
            self._unusable.add(file.id)
            self._progress.fail(file.id, str(error))
            return []

    async def _read(self, file: ImageFile, known: Known, heavy: AsyncExitStack) -> _Read | None:
        """Return an image that is to be embedded; None when all tables have it.

        Args:
            file: of the image.
            known: what each table holds of its name.
            heavy: keeps the turn of a large image until it is embedded.
        """
        async with self._reading:
            image, caption = await in_background(_read_file, file, self._min_side)
            content_hash = image.content_hash
            given = await self._ids.give(file.id, content_hash, known)
            if given is None:
                return None
            id_, known = given
            wanted = [
                (target, id_ in table)
                for target, table in zip(self._targets, known, strict=True)
                if not _is_current(table.get(id_), content_hash, caption)
            ]
            if not wanted:
                return None
            width, height = image_size(image.data)
            if width * height > _HEAVY_PIXELS and not image.data.startswith(_JPEG):
                await heavy.enter_async_context(self._heavy)
            looks, thumbnail = await in_background(_look_at, image)
        record = ImageRecord(
            id=id_,
            source=self._files.source,
            content_hash=content_hash,
            difference_hash=looks,
            width=width,
            height=height,
            caption=caption,
            thumbnail=thumbnail,
        )
        return _Read(record, image, wanted)

    def _lookup(self, ids: Sequence[str]) -> Known:
        return [target.table.lookup(ids) for target in self._targets]


def _take(files: Iterator[ImageFile]) -> list[ImageFile]:
    return list(islice(files, _CHUNK))


def _read_file(file: ImageFile, min_side: int) -> tuple[SourceImage, str]:
    return SourceImage.read(file.read(), min_side), file.read_caption()


def _is_current(known: ImageRecord | None, content_hash: str, caption: str) -> bool:
    return known is not None and known.content_hash == content_hash and known.caption == caption


def _look_at(image: SourceImage) -> tuple[str, bytes]:
    small = shrink(image.decode())
    return difference_hash(small), encode_thumbnail(small)


async def _embed(target: Target, image: SourceImage) -> NDArray[np.float32]:
    while True:
        try:
            embedded = await target.pooled.engine.embed_images([image], background=True)
        except OverloadedError:
            await asyncio.sleep(_PAUSE_S)
        else:
            embedding: NDArray[np.float32] = embedded.embeddings[0]
            return embedding
