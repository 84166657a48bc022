"""Commits: the rows of an ingestion on their way into the tables."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engines.errors import InvalidInputError
from engines.pool import PooledEngine
from engines.worker.background import in_background, in_background_to_the_end
from use_cases.retrieval.ann_process import build_ann
from use_cases.retrieval.duplicates import find_duplicates
from use_cases.retrieval.errors import IndexStorageError
from use_cases.retrieval.image_table import ImageTable
from use_cases.retrieval.progress import IngestProgress
from use_cases.retrieval.records import ImageRecord

_COMMIT_ROWS = 256  # a commit writes a few files, whatever their size
_COMMIT_S = 5.0  # or after so long: what a kill loses at most
_COMMITS_BEFORE_TIDYING = 64

logger = logging.getLogger(__name__)


class Row(NamedTuple):
    """An image that is ready to be committed."""

    record: ImageRecord
    embedding: NDArray[np.float32]
    replaces: bool  # a row of the same id


@dataclass(slots=True, eq=False)
class Target:
    """One model's table, and what is to be committed to it next."""

    pooled: PooledEngine
    table: ImageTable
    rows: list[Row] = field(default_factory=list)


class Commits:
    """Writes the targets' rows now and then, and counts them; belongs to one event loop."""

    def __init__(
        self, targets: Sequence[Target], progress: IngestProgress, max_images: int | None = None
    ) -> None:
        """Begin with nothing to write.

        Args:
            targets: the tables.
            progress: counts what is committed.
            max_images: that a table may have; None for any number.
        """
        self._targets = targets
        self._progress = progress
        self._max_images = max_images
        self._committed_s = time.monotonic()
        self._commits = 0
        self._exact: list[Target] = []  # whose ANN index cannot be built

    async def write_if_due(self) -> None:
        """Commit when there is much, or when the last time is long ago."""
        late = time.monotonic() - self._committed_s > _COMMIT_S
        if late or any(len(target.rows) >= _COMMIT_ROWS for target in self._targets):
            await self.write()

    async def write(self) -> None:
        """Commit all rows; a caller that is cancelled meanwhile waits until they are written.

        Raises:
            InvalidInputError: when a table had no room for some new ones; the others are written.
            IndexStorageError: when that fails.
        """
        due = [(target, target.rows) for target in self._targets if target.rows]
        refused = await in_background(_leave_out, due, self._max_images)
        duplicates: set[str] = set()
        for target, rows in due:
            target.rows = []
            if rows:
                duplicates.update(await in_background_to_the_end(_write, target.table, rows))
        self._count(due, duplicates)
        if refused:
            raise InvalidInputError(
                f"There is no room for more than {self._max_images:,} images, so some were not added; those"
                " that were added stay."
            )
        self._commits += bool(due)
        if due and not self._commits % _COMMITS_BEFORE_TIDYING:
            await self.tidy()
        self._committed_s = time.monotonic()

    async def tidy(self) -> None:
        """Merge the small files that commits left behind, and make the ANN index of large tables.

        A table that has just become large must not wait for the end of an ingestion: without the index each
        further commit would look for its duplicates among all images.
        """
        for target in self._targets:
            await in_background_to_the_end(target.table.tidy)
            if target not in self._exact and await in_background(target.table.needs_ann):
                await self._build_ann(target)

    async def _build_ann(self, target: Target) -> None:
        self._progress.is_indexing = True
        try:
            await build_ann(target.table)
        except IndexStorageError as error:  # the images can be searched all the same, so adding goes on
            logger.warning("%s", error)
            self._exact.append(target)
            self._progress.notes.append(str(error))
        finally:
            self._progress.is_indexing = False

    def _count(self, committed: Sequence[tuple[Target, list[Row]]], duplicates: set[str]) -> None:
        """Count what was committed, an image once, for however many models it was embedded."""
        replaces: dict[str, bool] = {}
        for _, rows in committed:
            for row in rows:
                replaces[row.record.id] = replaces.get(row.record.id, False) or row.replaces
        self._progress.replaced += sum(replaces.values())
        self._progress.added += len(replaces) - sum(replaces.values())
        self._progress.duplicates += sum(not replaces[id_] for id_ in duplicates)


def _leave_out(due: Sequence[tuple[Target, list[Row]]], max_images: int | None) -> bool:
    """Take from the rows the new ones that there is no room for; return whether there were any."""
    if max_images is None:
        return False
    before = sum(len(rows) for _, rows in due)
    for target, rows in due:
        room = max(max_images - len(target.table), 0)
        new = [row for row in rows if not row.replaces]
        rows[:] = [*new[:room], *(row for row in rows if row.replaces)]
    return sum(len(rows) for _, rows in due) < before


def _write(table: ImageTable, rows: Sequence[Row]) -> list[str]:
    """Commit rows, the new ones at once, then those that take the place of others; return the duplicates."""
    records = [row.record for row in rows]
    embeddings = np.stack([row.embedding for row in rows])
    duplicates = find_duplicates(table, records, embeddings)
    records = [replace(record, duplicate_of=id_) for record, id_ in zip(records, duplicates, strict=True)]
    replaces = np.array([row.replaces for row in rows])
    for write, chosen in ((table.add, ~replaces), (table.replace, replaces)):
        if chosen.any():
            places = np.flatnonzero(chosen)
            write([records[place] for place in places], embeddings[places])
    return [record.id for record in records if record.duplicate_of]
