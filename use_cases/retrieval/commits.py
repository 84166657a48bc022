"""Commits: the rows of an ingestion on their way into the tables."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engines.pool import PooledEngine
from engines.worker.background import in_background
from use_cases.retrieval.duplicates import find_duplicates
from use_cases.retrieval.image_table import ImageTable
from use_cases.retrieval.progress import IngestProgress
from use_cases.retrieval.records import ImageRecord

_COMMIT_ROWS = 256  # a commit writes a few files, whatever their size
_COMMIT_S = 5.0  # or after so long: what a kill loses at most
_COMMITS_BEFORE_TIDYING = 64


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

    def __init__(self, targets: Sequence[Target], progress: IngestProgress) -> None:
        self._targets = targets
        self._progress = progress
        self._committed_s = time.monotonic()
        self._commits = 0

    async def write_if_due(self) -> None:
        """Commit when there is much, or when the last time is long ago."""
        late = time.monotonic() - self._committed_s > _COMMIT_S
        if late or any(len(target.rows) >= _COMMIT_ROWS for target in self._targets):
            await self.write()

    async def write(self) -> None:
        """Commit all rows; a caller that is cancelled meanwhile waits until they are written."""
        due = [(target, target.rows) for target in self._targets if target.rows]
        for target, rows in due:
            target.rows = []
            await _to_the_end(in_background(_write, target.table, rows, self._progress))
        self._count(due)
        self._commits += bool(due)
        if due and not self._commits % _COMMITS_BEFORE_TIDYING:
            await self.tidy()
        self._committed_s = time.monotonic()

    async def tidy(self) -> None:
        """Merge the small files that commits left behind."""
        for target in self._targets:
            await _to_the_end(in_background(target.table.tidy))

    async def build_ann(self) -> None:
        """Make the ANN index of the tables that have become large."""
        for target in self._targets:
            if await in_background(target.table.needs_ann):
                await _to_the_end(in_background(target.table.build_ann))

    def _count(self, committed: Sequence[tuple[Target, list[Row]]]) -> None:
        """Count what was committed, an image once, for however many models it was embedded."""
        replaces: dict[str, bool] = {}
        for _, rows in committed:
            for row in rows:
                replaces[row.record.id] = replaces.get(row.record.id, False) or row.replaces
        self._progress.replaced += sum(replaces.values())
        self._progress.added += len(replaces) - sum(replaces.values())


def _write(table: ImageTable, rows: Sequence[Row], progress: IngestProgress) -> None:
    """Commit rows: the new ones at once, then those that take the place of others."""
    records = [row.record for row in rows]
    embeddings = np.stack([row.embedding for row in rows])
    duplicates = find_duplicates(table, records, embeddings)
    progress.duplicates += sum(map(bool, duplicates))
    records = [replace(record, duplicate_of=id_) for record, id_ in zip(records, duplicates, strict=True)]
    replaces = np.array([row.replaces for row in rows])
    for write, chosen in ((table.add, ~replaces), (table.replace, replaces)):
        if chosen.any():
            places = np.flatnonzero(chosen)
            write([records[place] for place in places], embeddings[places])


async def _to_the_end(work: Coroutine[Any, Any, object]) -> None:
    """Await work that must not be left half done, or go on alone, when its caller is cancelled."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
