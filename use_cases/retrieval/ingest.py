"""Add images to an index: read, decode and embed them side by side, and commit what is done."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count, islice
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engines.errors import InferenceError, InvalidInputError, OverloadedError
from engines.pool import PooledEngine
from engines.preparation.images import image_size
from engines.preparation.source import SourceImage
from use_cases.retrieval.duplicates import NearDuplicates
from use_cases.retrieval.image_index import ImageIndex, ImageTable, Known
from use_cases.retrieval.progress import IngestProgress
from use_cases.retrieval.records import ImageRecord
from use_cases.retrieval.sources import UPLOAD, ImageFile, ImageFiles
from use_cases.retrieval.thumbnails import make_thumbnail
from use_cases.zero_shot import min_image_side

_CHUNK = 16  # images that go through together
_CHUNKS_UNDER_WAY = 4  # so that some are read while others are embedded
_COMMIT_ROWS = 256  # a commit writes a few files, whatever their size
_COMMIT_S = 5.0  # or after so long: what a kill loses at most
_COMMITS_BEFORE_TIDYING = 64
_PAUSE_S = 0.2  # when the engine's queue is full


class _Row(NamedTuple):
    record: ImageRecord
    embedding: NDArray[np.float32]


@dataclass(slots=True)
class _Target:
    """One model's table, what it holds already, and what is to be committed next."""

    pooled: PooledEngine
    table: ImageTable
    known: dict[str, Known]
    duplicates: NearDuplicates
    rows: list[_Row] = field(default_factory=list)


class _Decoded(NamedTuple):
    record: ImageRecord
    image: SourceImage
    targets: list[_Target]  # that do not have it yet


async def add_images(
    files: ImageFiles,
    index: ImageIndex,
    engines: Sequence[PooledEngine],
    progress: IngestProgress | None = None,
    *,
    remove_missing: bool = False,
) -> IngestProgress:
    """Bring an index up to date with a folder, an archive or a list of files.

    What the index holds already, with the same content, is left alone. So a call that was interrupted,
    however hard, goes on when it is repeated. Files that cannot be used are listed with their reason.
    Memory holds a few chunks of images and one commit at a time.

    Args:
        files: where the images are.
        index: where they go; each model gets a table of its own.
        engines: the models, running.
        progress: counts what happens, for somebody who watches.
        remove_missing: remove what the index has from the same source and the source has no more.

    Raises:
        InvalidInputError: when there is no image at all.
        IndexBusyError: when somebody else is adding images.
        IndexMismatchError: when the index was built with another state of a model.
        IndexStorageError: when the index cannot be written; what was committed stays.
        EngineError: when an engine fails for good.
    """
    progress = progress or IngestProgress()
    try:
        with ExitStack() as locks:
            targets = await asyncio.to_thread(_open_targets, index, engines, locks)
            progress.total = await asyncio.to_thread(files.count)
            seen = await _Ingestion(files, targets, progress).run()
            if remove_missing and files.complete:
                await asyncio.to_thread(_remove_missing, targets, files.source, seen, progress)
            await asyncio.to_thread(_tidy, targets)
    finally:
        progress.end()
    return progress


def _open_targets(index: ImageIndex, engines: Sequence[PooledEngine], locks: ExitStack) -> list[_Target]:
    targets: list[_Target] = []
    for pooled in engines:
        table = index.table(pooled.engine.spec, create=True)
        locks.enter_context(table.writing())
        known = table.known()
        hashes = {each.content_hash: id_ for id_, each in reversed(known.items())}
        targets.append(_Target(pooled, table, known, NearDuplicates(table, hashes)))
    return targets


class _Ingestion:
    """The pipeline: chunks of files are read and embedded side by side, and committed in their order."""

    def __init__(self, files: ImageFiles, targets: Sequence[_Target], progress: IngestProgress) -> None:
        self._files = files
        self._targets = targets
        self._progress = progress
        self._min_side = min_image_side([target.pooled.engine.spec for target in targets])
        self._owners = {id_: each for target in targets for id_, each in target.known.items()}
        self._seen: set[str] = set()
        self._committed_s = time.monotonic()
        self._commits = 0

    async def run(self) -> set[str]:
        """Add everything; return the ids of what is in the source."""
        under_way: deque[asyncio.Task[list[tuple[_Target, _Row]]]] = deque()
        files = iter(self._files)
        try:
            while True:
                while len(under_way) < _CHUNKS_UNDER_WAY and (chunk := await asyncio.to_thread(_take, files)):
                    under_way.append(asyncio.get_running_loop().create_task(self._embed(chunk)))
                if not under_way:
                    break
                for target, row in await under_way.popleft():
                    target.rows.append(row)
                await self._commit_if_due()
            await self._commit()
        finally:  # after an error or a cancellation nobody waits for the others
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
        return self._seen

    async def _embed(self, chunk: Sequence[ImageFile]) -> list[tuple[_Target, _Row]]:
        """Return what is to be added of some files."""
        read = await asyncio.gather(*(self._read(file) for file in chunk))
        decoded = [each for each in read if each is not None]
        rows: list[tuple[_Target, _Row]] = []
        for target in self._targets:
            wanted = [each for each in decoded if target in each.targets]
            embeddings = await self._embeddings(target, [each.image for each in wanted])
            for each, embedding in zip(wanted, embeddings, strict=True):
                if embedding is None:
                    self._progress.fail(each.record.id, "The engine failed on it.")
                else:
                    rows.append((target, _Row(each.record, embedding)))
        self._progress.advance(len(chunk))
        return rows

    async def _read(self, file: ImageFile) -> _Decoded | None:
        """Return an image that is to be embedded; None when it is known, or cannot be used."""
        try:
            data = await asyncio.to_thread(file.read)
            content_hash = hashlib.sha256(data).hexdigest()
            id_ = self._own_id(file.id, content_hash)
            targets = [each for each in self._targets if not _is_current(each.known.get(id_), content_hash)]
            if not targets:
                self._progress.unchanged += 1
                return None
            decode = partial(_decode, file, data, id_, self._files.source, content_hash, self._min_side)
            record, image = await asyncio.to_thread(decode)
        except InvalidInputError as error:
            self._progress.fail(file.id, str(error))
            return None
        return _Decoded(record, image, targets)

    def _own_id(self, name: str, content_hash: str) -> str:
        """Return the id of an image: its name, unless another source, or another upload, has taken it."""
        source = self._files.source
        for id_ in _possible_ids(name, source, content_hash):
            owner = self._owners.setdefault(id_, Known(content_hash, source))
            if owner.source == source and (source != UPLOAD or owner.content_hash == content_hash):
                self._seen.add(id_)
                return id_
        raise AssertionError("the possible ids do not end")

    async def _embeddings(
        self, target: _Target, images: Sequence[SourceImage]
    ) -> list[NDArray[np.float32] | None]:
        """Return the embeddings of images; None for those that the engine fails on."""
        if not images:
            return []
        while True:
            try:
                embedded = await target.pooled.engine.embed_images(images)
                return list(embedded.embeddings)
            except OverloadedError:
                await asyncio.sleep(_PAUSE_S)
            except InferenceError:
                if len(images) == 1:
                    return [None]
                alone = [await self._embeddings(target, [image]) for image in images]
                return [embedding for (embedding,) in alone]

    async def _commit_if_due(self) -> None:
        late = time.monotonic() - self._committed_s > _COMMIT_S
        if late or any(len(target.rows) >= _COMMIT_ROWS for target in self._targets):
            await self._commit()

    async def _commit(self) -> None:
        due = [(target, target.rows) for target in self._targets if target.rows]
        for target, rows in due:
            target.rows = []
            await _to_the_end(asyncio.to_thread(_write, target, rows))
        self._count(due)
        self._commits += bool(due)
        if due and not self._commits % _COMMITS_BEFORE_TIDYING:
            await _to_the_end(asyncio.to_thread(_tidy, self._targets))
        self._committed_s = time.monotonic()

    def _count(self, committed: Sequence[tuple[_Target, list[_Row]]]) -> None:
        """Count what was committed, an image once, for however many models it was embedded."""
        ids = {row.record.id: row.record for _, rows in committed for row in rows}
        for id_ in ids:
            if any(id_ in target.known for target in self._targets):
                self._progress.replaced += 1
            else:
                self._progress.added += 1


def _take(files: Iterator[ImageFile]) -> list[ImageFile]:
    return list(islice(files, _CHUNK))


def _is_current(known: Known | None, content_hash: str) -> bool:
    return known is not None and known.content_hash == content_hash


def _possible_ids(name: str, source: str, content_hash: str) -> Iterator[str]:
    """Return what an image may be called, the name itself first; the same each time."""
    yield name
    path = PurePosixPath(name)
    if source == UPLOAD:
        yield str(path.with_name(f"{path.stem}-{content_hash[:8]}{path.suffix}"))
        yield str(path.with_name(f"{path.stem}-{content_hash}{path.suffix}"))
        return
    place = PurePosixPath(source).name or "images"
    yield f"{place}/{name}"
    for number in count(2):
        yield f"{place}-{number}/{name}"


def _decode(
    file: ImageFile, data: bytes, id_: str, source: str, content_hash: str, min_side: int
) -> tuple[ImageRecord, SourceImage]:
    width, height = image_size(data)
    image = SourceImage.read(data, min_side)
    record = ImageRecord(
        id=id_,
        source=source,
        content_hash=content_hash,
        width=width,
        height=height,
        caption=file.read_caption(),
        thumbnail=make_thumbnail(image.decode()),
    )
    return record, image


def _write(target: _Target, rows: Sequence[_Row]) -> None:
    """Commit rows: the new ones at once, then those that take the place of others."""
    records = [row.record for row in rows]
    embeddings = np.stack([row.embedding for row in rows])
    duplicates = target.duplicates.find(records, embeddings)
    records = [replace(record, duplicate_of=id_) for record, id_ in zip(records, duplicates, strict=True)]
    is_new = np.array([record.id not in target.known for record in records])
    for write, chosen in ((target.table.add, is_new), (target.table.replace, ~is_new)):
        if chosen.any():
            write(
                [record for record, wanted in zip(records, chosen, strict=True) if wanted], embeddings[chosen]
            )


def _remove_missing(
    targets: Sequence[_Target], source: str, seen: set[str], progress: IngestProgress
) -> None:
    gone = {
        id_
        for target in targets
        for id_, known in target.known.items()
        if known.source == source and id_ not in seen
    }
    for target in targets:
        target.table.remove([id_ for id_ in gone if id_ in target.known])
    progress.removed = len(gone)


def _tidy(targets: Sequence[_Target]) -> None:
    for target in targets:
        target.table.tidy()


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await work that must not be left half done, or go on alone, when its caller is cancelled."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
