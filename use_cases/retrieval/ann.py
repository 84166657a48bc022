"""The ANN index of a large table: built once, its recall measured against exact search and kept beside it."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from engines.base import Embeddings, normalize
from use_cases.retrieval.records import EMBEDDING, to_matrix

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.query import AsyncVectorQuery
    from lancedb.table import LanceTable, Table

OLD_VERSIONS = timedelta(minutes=10)  # are kept for readers that began with them
_METADATA = "siglip-as-server.ann"
# A search goes through all partitions, so few are best; a graph of more than this takes hours to build.
_ROWS_A_PARTITION = 250_000
_GOAL = 0.96  # recall@10 of the queries below; others may be a little harder
_EFS = (50, 75, 100, 150, 200, 300, 400)
_QUICK_EF = 4  # candidates for each result wanted, where only the very near ones matter
_REFINE = 2  # times the results wanted are compared in full precision: the index itself has 8 bits a number
_QUERIES = 50  # of each kind
_NEAREST = 10
_SEED = 0


@dataclass(frozen=True, slots=True)
class AnnSettings:
    """How to search by an ANN index, and what that finds."""

    partitions: int
    ef: int  # candidates that are kept in each partition
    recall: float  # of the exact 10 nearest, the mean share that is found
    rows: int  # images at that time
    build_s: float
    # The same for images as queries, whose neighbours are much easier to find; None: not told apart.
    ef_images: int | None = None
    recall_images: float | None = None

    def apply(self, search: AsyncVectorQuery, wanted: int) -> AsyncVectorQuery:
        """Return a search that finds the nearest of any query.

        Args:
            search: by the index.
            wanted: how many results.
        """
        return self._apply(search, self.ef, wanted)

    def apply_to_image(self, search: AsyncVectorQuery, wanted: int) -> AsyncVectorQuery:
        """Do what `apply` does for a query that is an image's embedding."""
        return self._apply(search, self.ef_images or self.ef, wanted)

    def apply_quick(self, search: AsyncVectorQuery, wanted: int) -> AsyncVectorQuery:
        """Do what `apply` does for what is much nearer than everything else, which takes much less time.

        It looks at two partitions: of 500 near duplicates among a million images, two more found one more.
        """
        return search.nprobes(2).ef(_QUICK_EF * wanted)

    def _apply(self, search: AsyncVectorQuery, ef: int, wanted: int) -> AsyncVectorQuery:
        ef = max(ef, 2 * _REFINE * wanted)
        return search.nprobes(self.partitions).ef(ef).refine_factor(_REFINE)


def nearest_rows(table: Table, query: NDArray[np.float32] | Embeddings) -> AsyncVectorQuery:
    """Return a search for the row ids and distances, 1 - cosine, of the images nearest to a query, [dim].

    With several queries, [n, dim], the rows of all of them come, each with its "query_index". `fetch` runs
    it.
    """
    vectors = query if query.ndim == 1 else list(query)
    search = cast("LanceTable", table)._table.query().nearest_to(vectors).column(EMBEDDING)
    return search.distance_type("cosine").select(["_distance"]).with_row_id()


def fetch(search: AsyncVectorQuery) -> pa.Table:
    """Return the rows that a search finds; for worker threads.

    The database's synchronous search hands each of its steps to another thread: that took 2 of 10 ms.
    """
    return _of_thread.own.loop.run_until_complete(search.to_arrow())


def read_settings(table: Table) -> AnnSettings | None:
    """Return how to search a table; None when it has no ANN index."""
    kept = (table.schema.field(EMBEDDING).metadata or {}).get(_METADATA.encode())
    return AnnSettings(**json.loads(kept)) if kept else None


def num_left_out(table: Table) -> int:
    """Return how many images are not in a table's ANN index; all of them when there is none."""
    rows = int(table.count_rows())
    for index in table.list_indices():
        if EMBEDDING in index.columns and (stats := table.index_stats(index.name)):
            return int(stats.num_unindexed_rows)
    return rows


def build(table: Table) -> AnnSettings:
    """Build a table's ANN index, choose how far to search it, and keep that with it.

    Until the end the table is searched exactly: settings of an older index would not suit the new one.
    """
    import lancedb.index

    start_s = time.perf_counter()
    if read_settings(table):
        _keep(table, "")
    for old in table.list_indices():  # with them, merging files would take as long as building
        table.drop_index(old.name)
    table.optimize(cleanup_older_than=OLD_VERSIONS)
    rows = int(table.count_rows())
    partitions = math.ceil(rows / _ROWS_A_PARTITION)
    index = lancedb.index.HnswSq(distance_type="cosine", num_partitions=partitions)
    table.create_index(EMBEDDING, config=index, replace=True)
    for column in ("id", "content_hash"):  # an ingestion looks up each image by both
        table.create_index(column, config=lancedb.index.BTree(), replace=True)
    return tune(table, AnnSettings(partitions, _EFS[0], 0.0, rows, time.perf_counter() - start_s))


def tune(table: Table, settings: AnnSettings) -> AnnSettings:
    """Choose how far to search an ANN index, and keep that with it."""
    images, mixed = _queries(table, settings.rows)
    settings, easier = _tuned(table, settings, mixed), _tuned(table, settings, images)
    settings = replace(settings, ef_images=easier.ef, recall_images=easier.recall)
    _keep(table, json.dumps(asdict(settings)))
    return settings


def _tuned(table: Table, settings: AnnSettings, queries: Embeddings) -> AnnSettings:
    """Return the settings with the least effort that reaches the goal for some queries."""
    exact = [_rows(nearest_rows(table, query).bypass_vector_index()) for query in queries]
    for ef in _EFS:
        settings = replace(settings, ef=ef)
        found = [_rows(settings.apply(nearest_rows(table, query), _NEAREST)) for query in queries]
        recall = float(np.mean([len(a & b) / len(a) for a, b in zip(exact, found, strict=True)]))
        settings = replace(settings, recall=recall)
        if recall >= _GOAL:
            break
    return settings


def _keep(table: Table, settings: str) -> None:
    table.update_field_metadata({"path": EMBEDDING, "metadata": {_METADATA: settings}})


def _queries(table: Table, rows: int) -> tuple[Embeddings, Embeddings]:
    """Return queries like a user's, [n, dim] each: images, and what lies between two, as texts do."""
    places = np.random.default_rng(_SEED).integers(0, rows, 2 * _QUERIES)
    images = to_matrix(table.take_offsets(places.tolist()).select([EMBEDDING]).to_arrow())
    half = len(images) // 2
    return images[:half], between(images[:half], images[half : 2 * half])


def between(some: Embeddings, others: Embeddings) -> Embeddings:
    """Return what lies in the middle between images, [n, dim], as a text lies between those that fit it."""
    return normalize(some + others)


def _rows(search: AsyncVectorQuery) -> set[int]:
    return set(fetch(search.limit(_NEAREST))["_rowid"].to_pylist())


class _Loop:
    """An event loop that is closed with the thread that it belongs to."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def __del__(self) -> None:
        self.loop.close()


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.own = _Loop()  # for each thread that asks for one


_of_thread = _OfThread()
