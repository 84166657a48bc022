"""The ANN index of a large table: built once, its recall measured against exact search and kept beside it."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from engines.base import Embeddings, normalize
from use_cases.retrieval.records import EMBEDDING, to_matrix

if TYPE_CHECKING:
    from lancedb.query import LanceVectorQueryBuilder
    from lancedb.table import Table

_METADATA = "siglip-as-server.ann"
# A search goes through all partitions, so few are best; a graph of more than this takes hours to build.
_ROWS_A_PARTITION = 250_000
_GOAL = 0.97  # recall@10 of the queries below; others may be a little harder
_EFS = (50, 75, 100, 150, 200, 300, 400)
_QUICK_EF = 4  # candidates for each result wanted, where only the very near ones matter
_REFINE = 2  # times the results wanted are compared in full precision: the index itself has 8 bits a number
_QUERIES = 100
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

    def apply(self, search: LanceVectorQueryBuilder, wanted: int) -> LanceVectorQueryBuilder:
        """Return a search with these settings.

        Args:
            search: by the index.
            wanted: how many results.
        """
        ef = max(self.ef, 2 * _REFINE * wanted)
        return search.nprobes(self.partitions).ef(ef).refine_factor(_REFINE)

    def apply_quick(self, search: LanceVectorQueryBuilder, wanted: int) -> LanceVectorQueryBuilder:
        """Do what `apply` does for what is much nearer than everything else, which takes much less time."""
        return search.nprobes(self.partitions).ef(_QUICK_EF * wanted)


def nearest_ids(table: Table, query: NDArray[np.float32] | Embeddings) -> LanceVectorQueryBuilder:
    """Return a search for the ids and distances, 1 - cosine, of the images nearest to a query, [dim].

    With several queries, [n, dim], the rows of all of them come, each with its "query_index".
    """
    vectors = query if query.ndim == 1 else list(query)
    search = cast("LanceVectorQueryBuilder", table.search(vectors, vector_column_name=EMBEDDING))
    return search.distance_type("cosine").select(["id", "_distance"])


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
    rows = int(table.count_rows())
    partitions = math.ceil(rows / _ROWS_A_PARTITION)
    if read_settings(table):
        _keep(table, "")
    index = lancedb.index.HnswSq(distance_type="cosine", num_partitions=partitions)
    table.create_index(EMBEDDING, config=index, replace=True)
    for column in ("id", "content_hash"):  # an ingestion looks up each image by both
        table.create_index(column, config=lancedb.index.BTree(), replace=True)
    settings = AnnSettings(partitions, _EFS[0], 0.0, rows, time.perf_counter() - start_s)
    queries = _queries(table, rows)
    exact = [_ids(nearest_ids(table, query).bypass_vector_index()) for query in queries]
    for ef in _EFS:
        settings = replace(settings, ef=ef)
        found = [_ids(settings.apply(nearest_ids(table, query), _NEAREST)) for query in queries]
        recall = float(np.mean([len(a & b) / len(a) for a, b in zip(exact, found, strict=True)]))
        settings = replace(settings, recall=recall)
        if recall >= _GOAL:
            break
    _keep(table, json.dumps(asdict(settings)))
    return settings


def _keep(table: Table, settings: str) -> None:
    table.update_field_metadata({"path": EMBEDDING, "metadata": {_METADATA: settings}})


def _queries(table: Table, rows: int) -> Embeddings:
    """Return queries like a user's: images, and mixtures of two, for texts lie between images."""
    places = np.random.default_rng(_SEED).integers(0, rows, 2 * _QUERIES)
    images = to_matrix(table.take_offsets(places.tolist()).select([EMBEDDING]).to_arrow())
    half = len(images) // 2
    mixed = normalize(images[:half] + images[half : 2 * half])
    return np.concatenate([images[: half // 2], mixed[half // 2 :]])


def _ids(search: LanceVectorQueryBuilder) -> set[str]:
    return set(search.limit(_NEAREST).to_arrow()["id"].to_pylist())
