"""The ANN index of a large table: built once, its recall measured against exact search and kept beside it.

Images lie in partitions around centres, with one bit a dimension (Gao and Long, "RaBitQ", 2024). A search
looks through the nearest partitions and compares the best of them in full precision. For a million images
of 512 dimensions that is built in half a minute where a graph (HNSW) took 19, and searched in half the time.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from engines.base import Embeddings, normalize
from use_cases.retrieval.fetching import fetch
from use_cases.retrieval.records import EMBEDDING, to_matrix

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.query import AsyncVectorQuery
    from lancedb.table import LanceTable, Table

OLD_VERSIONS = timedelta(minutes=10)  # are kept for readers that began with them
_METADATA = "siglip-as-server.ann-partitions"
_ROWS_A_PARTITION = 2_000
_BITS_A_BYTE = 8  # of which the codes of one bit a dimension are made
_GOAL = 0.97  # recall@10 of the queries below; others may be a little harder
_GOAL_OF_CODES = 0.98  # the same when all partitions are looked through, so that only the codes lose some
_PROBES = (8, 16, 24, 32, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512)
_QUICK_PROBES = 8
_COMPARED = (100, 200, 400)  # candidates, in full precision: codes of few dimensions tell little
_COMPARED_A_RESULT, _QUICK_COMPARED = 4, 2
_QUERIES = 100  # of each kind
_NEAREST = 10
_SEED = 0


@dataclass(frozen=True, slots=True)
class AnnSettings:
    """How to search by an ANN index, and what that finds."""

    partitions: int
    probes: int  # partitions that a search looks through
    compared: int  # candidates that are compared in full precision
    recall: float  # of the exact 10 nearest, the mean share that is found
    rows: int  # images at that time
    build_s: float
    # The same for images as queries, whose neighbours are much easier to find; None: not told apart.
    probes_images: int | None = None
    recall_images: float | None = None

    def apply(self, search: AsyncVectorQuery, wanted: int) -> AsyncVectorQuery:
        """Return a search that finds the nearest of any query.

        Args:
            search: by the index.
            wanted: how many results.
        """
        return self._apply(search, self.probes, wanted)

    def apply_to_image(self, search: AsyncVectorQuery, wanted: int) -> AsyncVectorQuery:
        """Do what `apply` does for a query that is an image's embedding."""
        return self._apply(search, self.probes_images or self.probes, wanted)

    def apply_quick(self, search: AsyncVectorQuery, wanted: int) -> AsyncVectorQuery:
        """Do what `apply` does for what is much nearer than everything else, which takes less time.

        Of 256 images moved to a cosine of 0.9 it found all among a million, of those at 0.8 all but two.
        """
        return search.nprobes(min(_QUICK_PROBES, self.partitions)).refine_factor(_QUICK_COMPARED)

    def look_further(self, search: AsyncVectorQuery) -> AsyncVectorQuery:
        """Let a search go through all partitions, because a condition may leave few images in the nearest."""
        return search.maximum_nprobes(self.partitions)

    def _apply(self, search: AsyncVectorQuery, probes: int, wanted: int) -> AsyncVectorQuery:
        compared = max(math.ceil(self.compared / wanted), _COMPARED_A_RESULT)
        return search.nprobes(probes).refine_factor(compared)


def nearest_rows(table: Table, query: NDArray[np.float32] | Embeddings) -> AsyncVectorQuery:
    """Return a search for the row ids and distances, 1 - cosine, of the images nearest to a query, [dim].

    With several queries, [n, dim], the rows of all of them come, each with its "query_index". `fetch` runs
    it.
    """
    vectors = query if query.ndim == 1 else list(query)
    search = cast("LanceTable", table)._table.query().nearest_to(vectors).column(EMBEDDING)
    return search.distance_type("cosine").select(["_distance"]).with_row_id()


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
    index: Any = lancedb.index.IvfRq(distance_type="cosine", num_partitions=partitions)
    if table.schema.field(EMBEDDING).type.list_size % _BITS_A_BYTE:  # no published model's
        index = lancedb.index.IvfFlat(distance_type="cosine", num_partitions=partitions)
    table.create_index(EMBEDDING, config=index, replace=True)
    for column in ("id", "content_hash"):  # an ingestion looks up each image by both
        table.create_index(column, config=lancedb.index.BTree(), replace=True)
    return tune(
        table, AnnSettings(partitions, partitions, _COMPARED[0], 0.0, rows, time.perf_counter() - start_s)
    )


def tune(table: Table, settings: AnnSettings) -> AnnSettings:
    """Choose how far to search an ANN index, and keep that with it."""
    images, mixed = (_Trial(table, queries) for queries in _queries(table, settings.rows))
    for compared in _COMPARED:
        settings = replace(settings, compared=compared, probes=settings.partitions)
        if mixed.recall(settings) >= _GOAL_OF_CODES:
            break
    settings, easier = mixed.tuned(settings), images.tuned(settings)
    settings = replace(settings, probes_images=easier.probes, recall_images=easier.recall)
    _keep(table, json.dumps(asdict(settings)))
    return settings


class _Trial:
    """Searches for what is nearest to some queries, and knows what is."""

    def __init__(self, table: Table, queries: Embeddings) -> None:
        self._table, self._queries = table, queries
        searches = [nearest_rows(table, query).bypass_vector_index() for query in queries]
        self._exact = [_rows(fetch(search.limit(_NEAREST))) for search in searches]

    def recall(self, settings: AnnSettings) -> float:
        """Return the mean share that is found."""
        searches = [settings.apply(nearest_rows(self._table, query), _NEAREST) for query in self._queries]
        found = [_rows(fetch(search.limit(_NEAREST))) for search in searches]
        return float(np.mean([len(a & b) / len(a) for a, b in zip(self._exact, found, strict=True)]))

    def tuned(self, settings: AnnSettings) -> AnnSettings:
        """Return the settings with the fewest probes that reach the goal."""
        for probes in (*(each for each in _PROBES if each < settings.partitions), settings.partitions):
            settings = replace(settings, probes=probes)
            settings = replace(settings, recall=self.recall(settings))
            if settings.recall >= _GOAL:
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


def _rows(found: pa.Table) -> set[int]:
    return set(found["_rowid"].to_pylist())
