"""Snapshot: one model's images as they were at one moment, and the search among them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.base import Embeddings
from use_cases.retrieval.ann import AnnSettings, nearest_rows
from use_cases.retrieval.fetching import fetch
from use_cases.retrieval.filters import ImageFilter, quoted
from use_cases.retrieval.records import EMBEDDING, FACTS, ImageRecord, from_arrow, to_matrix
from use_cases.retrieval.storage import table_errors

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.table import Table

# Up to here the embeddings are held in memory, 0.1 GB at 512 dimensions, and all are compared: that takes
# 0.3 ms for 10,000 images, the database's own exact search 10 ms.
MAX_ROWS_IN_MEMORY = 50_000
Effort: TypeAlias = Literal["full", "image", "quick", "exact"]  # of a search by an ANN index


class Neighbours(NamedTuple):
    """The nearest images of one query, best first."""

    rows: NDArray[np.uint64]  # where they are in this snapshot, for `ids`, `records` and `embeddings`
    cosines: NDArray[np.float32]

    @property
    def number(self) -> int:
        """Return how many there are."""
        return len(self.rows)

    def after(self, count: int) -> Neighbours:
        """Return them without the first few."""
        return Neighbours(self.rows[count:], self.cosines[count:])

    def best(self, count: int) -> Neighbours:
        """Return the first few."""
        return Neighbours(self.rows[:count], self.cosines[:count])

    def at(self, places: NDArray[np.intp]) -> Neighbours:
        """Return those at some places, which are in order."""
        return Neighbours(self.rows[places], self.cosines[places])

    @classmethod
    def joined(cls, parts: Sequence[Neighbours]) -> Neighbours:
        """Return those of several queries one after the other."""
        return cls(*(np.concatenate(each) for each in zip(*parts, strict=True)))


class _InMemory(NamedTuple):
    rows: NDArray[np.uint64]  # ascending
    embeddings: Embeddings  # [n, dim]


class Snapshot:
    """Reads one version of a table, whatever is written meanwhile; safe to share between threads."""

    def __init__(self, table: Table, ann: AnnSettings | None, check: Callable[[], None]) -> None:
        """Take a table that is checked out at one version.

        Args:
            table: it.
            ann: how to search by its ANN index, if it has one.
            check: raises an EngineError when somebody removed the table, or built it anew.
        """
        self._table = table
        self.ann = ann
        self._check = check
        self._count: int | None = None
        self._held: _InMemory | None = None
        self._loading = threading.Lock()

    def __len__(self) -> int:
        if self._count is None:
            with self._errors():
                self._count = int(self._table.count_rows())
        return self._count

    def count(self, where: ImageFilter) -> int:
        """Return the number of images that meet a condition."""
        with self._errors():
            return int(self._table.count_rows(where.to_sql()))

    def num_duplicates(self) -> int:
        """Return the number of images that are marked as the same as another, or nearly."""
        with self._errors():
            return int(self._table.count_rows("duplicate_of != ''"))

    @property
    def in_memory(self) -> bool:
        """Tell whether the images are few enough to be compared in memory, all of them."""
        return len(self) <= MAX_ROWS_IN_MEMORY

    @property
    def is_exact(self) -> bool:
        """Tell whether every image is compared with a query; if not, the nearest may be missed."""
        return self.in_memory or self.ann is None

    def nearest(
        self,
        queries: Embeddings,
        count: int,
        where: ImageFilter | None = None,
        *,
        effort: Effort = "full",
    ) -> list[Neighbours]:
        """Return the images with the largest cosines, for each query.

        Args:
            queries: [n, dim], of unit length.
            count: how many for each.
            where: which images to look at.
            effort: "image" does for queries that are images' embeddings; "exact" goes without the ANN
                index; "quick" finds little but what is very near.

        Raises:
            InvalidInputError: when the condition cannot be used.
            IndexStorageError: when the index cannot be read.
        """
        condition = where.to_sql() if where else None
        if self.in_memory:
            return self._nearest_in_memory(queries, count, condition)
        return self._nearest_on_disk(queries, count, condition, effort)

    def ids(self, neighbours: Neighbours) -> list[str]:
        """Return the ids of images, in their order."""
        ids: list[str] = self._take(neighbours, ["id"])["id"].to_pylist()
        return ids

    def originals(self, neighbours: Neighbours) -> list[str]:
        """Return of each image the id of that which it is a duplicate of; its own when it is none."""
        rows = self._take(neighbours, ["id", "duplicate_of"]).to_pylist()
        return [row["duplicate_of"] or row["id"] for row in rows]

    def records(self, neighbours: Neighbours) -> list[ImageRecord]:
        """Return what is kept of images, in their order, with their thumbnails."""
        return from_arrow(self._take(neighbours, [*FACTS, "thumbnail"]))

    def facts(self, neighbours: Neighbours) -> list[ImageRecord]:
        """Do what `records` does, without thumbnails."""
        return from_arrow(self._take(neighbours, list(FACTS)))

    def embeddings(self, neighbours: Neighbours) -> Embeddings:
        """Return the embeddings of images, [n, dim], in their order."""
        if self._held is not None:
            chosen: Embeddings = self._held.embeddings[np.searchsorted(self._held.rows, neighbours.rows)]
            return chosen
        return to_matrix(self._take(neighbours, [EMBEDDING]))

    def find(self, ids: Sequence[str]) -> tuple[list[ImageRecord], Embeddings]:
        """Return the records and the embeddings, [n, dim], of images by id; unknown ids are left out."""
        with self._errors():
            columns = [*FACTS, "thumbnail", EMBEDDING]
            rows = self._table.search().where(id_in(ids)).select(columns).to_arrow()
        rows = _in_order(rows, "id", [id_ for id_ in ids if id_ in set(rows["id"].to_pylist())])
        return from_arrow(rows), to_matrix(rows)

    def page(self, start: int, count: int, where: ImageFilter | None = None) -> list[ImageRecord]:
        """Return some images, in the table's order, with their thumbnails."""
        with self._errors():
            query = self._table.search().select([*FACTS, "thumbnail"]).offset(start).limit(count)
            if where and (condition := where.to_sql()):
                query = query.where(condition)
            return from_arrow(query.to_arrow())

    def _errors(self) -> AbstractContextManager[None]:
        return table_errors("read", self._check)

    def _nearest_in_memory(self, queries: Embeddings, count: int, condition: str | None) -> list[Neighbours]:
        held = self._hold()
        among = np.arange(len(held.rows)) if condition is None else self._places(held, condition)
        cosines = queries @ (held.embeddings if condition is None else held.embeddings[among]).T
        return [_best(held, among, row, count) for row in cosines]

    def _places(self, held: _InMemory, condition: str) -> NDArray[np.intp]:
        with self._errors():
            found = self._table.search().where(condition).select(["id"]).with_row_id(True).to_arrow()
        places: NDArray[np.intp] = np.searchsorted(held.rows, np.sort(found["_rowid"].to_numpy()))
        return places

    def _hold(self) -> _InMemory:
        with self._loading:
            if self._held is None:
                with self._errors():
                    columns = self._table.search().select([EMBEDDING]).with_row_id(True).to_arrow()
                columns = columns.sort_by("_rowid")
                self._held = _InMemory(columns["_rowid"].to_numpy(), to_matrix(columns))
            return self._held

    def _nearest_on_disk(
        self, queries: Embeddings, count: int, condition: str | None, effort: Effort
    ) -> list[Neighbours]:
        several = len(queries) > 1  # a call for each would take four times as long
        with self._errors():
            search = nearest_rows(self._table, queries if several else queries[0])
            search = search.limit(count)
            if condition:
                search = search.where(condition)
            if effort == "exact" or self.ann is None:
                search = search.bypass_vector_index()
            else:
                ways = {"image": self.ann.apply_to_image, "quick": self.ann.apply_quick}
                search = ways.get(effort, self.ann.apply)(search, count)
                if condition:
                    search = self.ann.look_further(search)
            found = fetch(search)
        of_query = found["query_index"].to_numpy() if several else np.zeros(len(found), int)
        return [_neighbours(found.take(np.flatnonzero(of_query == n))) for n in range(len(queries))]

    def _take(self, neighbours: Neighbours, columns: list[str]) -> pa.Table:
        if not neighbours.number:
            return self._table.schema.empty_table().select(columns)
        rows = neighbours.rows.tolist()
        with self._errors():
            found = self._table.take_row_ids(rows).select(columns).with_row_id().to_arrow()
        return _in_order(found, "_rowid", rows)  # it returns them in the order that suits the disk


def id_in(ids: Sequence[str]) -> str:
    """Return the condition that an image is one of some."""
    return f"id IN ({', '.join(map(quoted, ids))})"


def _best(held: _InMemory, among: NDArray[np.intp], cosines: NDArray[np.float32], count: int) -> Neighbours:
    if count < len(cosines):
        least = np.partition(cosines, len(cosines) - count)[len(cosines) - count]
        chosen = np.flatnonzero(cosines >= least)  # all that tie, so that the next page goes on from here
        chosen = chosen[np.lexsort((chosen, -cosines[chosen]))][:count]
    else:
        chosen = np.argsort(-cosines, kind="stable")
    places = among[chosen]
    return Neighbours(held.rows[places], cosines[chosen])


def _neighbours(found: pa.Table) -> Neighbours:
    cosines = 1 - found["_distance"].to_numpy().astype(np.float32)
    best = np.argsort(-cosines, kind="stable")
    return Neighbours(found["_rowid"].to_numpy()[best], cosines[best])


def _in_order(rows: pa.Table, column: str, wanted: Sequence[object]) -> pa.Table:
    places = {value: place for place, value in enumerate(rows[column].to_pylist())}
    return rows.take(np.array([places[value] for value in wanted], np.int64))
