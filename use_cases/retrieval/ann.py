"""The ANN index of a large table: built once, its recall measured against exact search and kept beside it."""

from __future__ import annotations

import json
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
_ROWS_A_PARTITION = 8_192
_EF = 50
_GOAL = 0.97  # recall@10 of the queries below; others may be a little harder
_NPROBES = (1, 2, 4, 8, 16, 32, 64, 128)
_QUERIES = 64
_NEAREST = 10
_SEED = 0


@dataclass(frozen=True, slots=True)
class AnnSettings:
    """How to search by an ANN index, and what that finds."""

    nprobes: int  # partitions that are looked at
    ef: int  # candidates that are kept in each partition; more where more results are wanted
    recall: float  # of the exact 10 nearest, the mean share that is found
    rows: int  # images at that time
    build_s: float

    def apply(self, search: LanceVectorQueryBuilder, wanted: int) -> LanceVectorQueryBuilder:
        """Return a search with these settings; one whose filter leaves little looks at more partitions.

        Args:
            search: by the index.
            wanted: how many results.
        """
        return (
            search.minimum_nprobes(self.nprobes)
            .maximum_nprobes(0)
            .ef(max(self.ef, 2 * wanted))
            .refine_factor(1)
        )


def nearest_ids(table: Table, query: NDArray[np.float32]) -> LanceVectorQueryBuilder:
    """Return a search for the ids and distances, 1 - cosine, of the images nearest to a query, [dim]."""
    search = cast("LanceVectorQueryBuilder", table.search(query, vector_column_name=EMBEDDING))
    return search.distance_type("cosine").select(["id", "_distance"])


def read_settings(table: Table) -> AnnSettings | None:
    """Return how to search a table; None when it has no ANN index."""
    kept = (table.schema.field(EMBEDDING).metadata or {}).get(_METADATA.encode())
    return AnnSettings(**json.loads(kept)) if kept else None


def build(table: Table) -> AnnSettings:
    """Build a table's ANN index, choose the fewest partitions that find enough, and keep that with it."""
    import lancedb.index

    start_s = time.perf_counter()
    rows = int(table.count_rows())
    index = lancedb.index.HnswSq(distance_type="cosine", num_partitions=max(1, rows // _ROWS_A_PARTITION))
    table.create_index(EMBEDDING, config=index, replace=True)
    build_s = time.perf_counter() - start_s
    queries = _queries(table, rows)
    exact = [_ids(_search(table, query).bypass_vector_index()) for query in queries]
    for nprobes in _NPROBES:
        settings = AnnSettings(nprobes, _EF, 0.0, rows, build_s)
        found = [_ids(settings.apply(_search(table, query), _NEAREST)) for query in queries]
        recall = float(np.mean([len(a & b) / len(a) for a, b in zip(exact, found, strict=True)]))
        if recall >= _GOAL:
            break
    settings = replace(settings, recall=recall)
    table.update_field_metadata({"path": EMBEDDING, "metadata": {_METADATA: json.dumps(asdict(settings))}})
    return settings


def _queries(table: Table, rows: int) -> Embeddings:
    """Return queries like a user's: images, and mixtures of two, for texts lie between images."""
    places = np.random.default_rng(_SEED).integers(0, rows, 2 * _QUERIES)
    images = to_matrix(table.take_offsets(places.tolist()).select([EMBEDDING]).to_arrow())
    half = len(images) // 2
    mixed = normalize(images[:half] + images[half : 2 * half])
    return np.concatenate([images[: half // 2], mixed[half // 2 :]])


def _search(table: Table, query: NDArray[np.float32]) -> LanceVectorQueryBuilder:
    return nearest_ids(table, query).limit(_NEAREST)


def _ids(search: LanceVectorQueryBuilder) -> set[str]:
    return set(search.to_arrow()["id"].to_pylist())
