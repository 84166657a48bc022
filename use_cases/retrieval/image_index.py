"""ImageIndex: a persistent, searchable collection of images' embeddings, one table a model.

LanceDB keeps it, because it is a library and no server, because a commit is the renaming of one small file, so
that a kill at any moment leaves the index as it was at the last commit, because reading never waits for
writing and an index larger than memory is searched from disk, and because the same calls reach S3, GCS or
Azure when the address says so.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from engines.base import Embeddings
from engines.errors import EngineError
from engines.models import ModelSpec
from use_cases.retrieval.errors import (
    IndexBusyError,
    IndexMismatchError,
    IndexStorageError,
    UnknownIndexError,
)
from use_cases.retrieval.filters import ImageFilter, quoted
from use_cases.retrieval.records import (
    EMBEDDING,
    FACTS,
    ImageRecord,
    facts_in,
    from_arrow,
    model_facts,
    table_schema,
    to_arrow,
)

if TYPE_CHECKING:
    import lancedb
    import pyarrow as pa

logger = logging.getLogger(__name__)

_SECOND_LOOK_S = 1.0  # after which another process's commits are seen
_OLD_VERSIONS = timedelta(minutes=10)  # are kept for readers that began with them
_IDS_A_CALL = 500


class Known(NamedTuple):
    """What an index holds of one image, as ingestion needs it."""

    content_hash: str
    source: str


class Neighbours(NamedTuple):
    """The nearest images of one query, best first."""

    rows: list[int]  # where they are in the table, for `records`
    ids: list[str]
    cosines: NDArray[np.float32]


class ImageIndex:
    """The tables of one folder or object store. Cheap to make; safe to share between threads."""

    def __init__(self, uri: str | Path, *, create: bool = False) -> None:
        """Open an index.

        Args:
            uri: a folder, or an address such as s3://bucket/path.
            create: make the folder if there is none.

        Raises:
            UnknownIndexError: when there is none and none is to be made.
            IndexStorageError: when it cannot be read.
        """
        import lancedb

        self.uri = str(uri)
        self.folder = None if "://" in self.uri else Path(self.uri).expanduser()
        if self.folder is not None and not create and not self.folder.is_dir():
            raise UnknownIndexError(f"There is no index at {self.uri!r}; build one first.")
        with storage_errors("opened"):
            self._database = lancedb.connect(
                self.folder or self.uri, read_consistency_interval=timedelta(seconds=_SECOND_LOOK_S)
            )

    @property
    def models(self) -> list[str]:
        """Return the names of the models that it has embeddings of."""
        with storage_errors("read"):
            facts = [facts_in(self._database.open_table(name).schema) for name in self._names()]
        return sorted(str(each["model"]) for each in facts if each)

    def has(self, spec: ModelSpec) -> bool:
        """Tell whether it has embeddings of a model."""
        with storage_errors("read"):
            return _table_name(spec) in self._names()

    def table(self, spec: ModelSpec, *, create: bool = False) -> ImageTable:
        """Return a model's table.

        Args:
            spec: the model.
            create: make an empty one if there is none.

        Raises:
            UnknownIndexError: when there is none and none is to be made.
            IndexMismatchError: when it was built with another state of the model.
            IndexStorageError: when it cannot be read or made.
        """
        name = _table_name(spec)
        with storage_errors("opened"):
            exists = name in self._names()
            if exists:
                table = self._database.open_table(name)
            elif create:
                table = self._database.create_table(name, schema=table_schema(spec), exist_ok=True)
        if not exists and not create:
            held = ", ".join(self.models)
            raise UnknownIndexError(
                f"The index has no embeddings of {spec.name}"
                + (
                    f", but of {held}; choose that, or add the images with {spec.name}."
                    if held
                    else "; add images to it first."
                )
            )
        if facts_in(table.schema) != model_facts(spec):
            raise IndexMismatchError(
                f"The index was built with another state of {spec.name}, whose embeddings cannot be compared"
                " with today's; build it again."
            )
        return ImageTable(spec, table, self.folder and self.folder / f"{name}.lock")

    def drop(self, spec: ModelSpec) -> None:
        """Remove a model's table, whatever state it is in.

        Raises:
            IndexStorageError: when that fails.
        """
        with storage_errors("removed"):
            if _table_name(spec) in self._names():
                self._database.drop_table(_table_name(spec))

    def _names(self) -> list[str]:
        names: list[str] = []
        while page := self._database.list_tables(page_token=names[-1] if names else None).tables:
            names += page
        return names


class ImageTable:
    """The images of an index as one model sees them."""

    def __init__(self, spec: ModelSpec, table: lancedb.table.Table, lock_file: Path | None) -> None:
        """Wrap a table.

        Args:
            spec: the model.
            table: with the columns of `table_schema`.
            lock_file: keeps other processes from writing; None for an object store, where nothing does.
        """
        self.spec = spec
        self._table = table
        self._lock_file = lock_file

    def __len__(self) -> int:
        with storage_errors("read"):
            return int(self._table.count_rows())

    def count(self, where: ImageFilter) -> int:
        """Return the number of images that meet a condition."""
        with storage_errors("read"):
            return int(self._table.count_rows(where.to_sql()))

    @property
    def version(self) -> int:
        """Return a number that grows with each change."""
        with storage_errors("read"):
            return int(self._table.version)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep all others from writing, in this process and in others on this machine.

        Raises:
            IndexBusyError: when somebody else is writing.
        """
        if self._lock_file is None:
            yield
            return
        lock = FileLock(self._lock_file, thread_local=False)  # a job moves from thread to thread
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise IndexBusyError(
                "Somebody else is adding images to this index; try again when that has ended."
            ) from None
        except OSError as error:
            raise IndexStorageError(f"The index cannot be written ({error.strerror}).") from error
        try:
            yield
        finally:
            lock.release()

    def known(self) -> dict[str, Known]:
        """Return what it holds, by id."""
        with storage_errors("read"):
            rows = self._table.search().select(["id", "content_hash", "source"]).to_arrow()
        columns = (rows[name].to_pylist() for name in ("id", "content_hash", "source"))
        return {id_: Known(content_hash, source) for id_, content_hash, source in zip(*columns, strict=True)}

    def add(self, records: Sequence[ImageRecord], embeddings: Embeddings) -> None:
        """Append images whose ids are new; all of them or none. Call it within `writing`.

        Args:
            records: one an image.
            embeddings: [n, dim], in their order.

        Raises:
            IndexStorageError: when that fails; nothing is added then.
        """
        with storage_errors("written"):
            self._table.add(to_arrow(records, embeddings, self._table.schema))

    def replace(self, records: Sequence[ImageRecord], embeddings: Embeddings) -> None:
        """Do what `add` does for images whose ids it holds already. It reads all ids, so it takes longer."""
        with storage_errors("written"):
            merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(to_arrow(records, embeddings, self._table.schema))

    def remove(self, ids: Sequence[str]) -> int:
        """Remove images; return how many there were. Call it within `writing`.

        Raises:
            IndexStorageError: when that fails.
        """
        removed = 0
        with storage_errors("written"):
            for start in range(0, len(ids), _IDS_A_CALL):
                result = self._table.delete(_id_in(ids[start : start + _IDS_A_CALL]))
                removed += int(result.num_deleted_rows)
        return removed

    def tidy(self) -> None:
        """Merge the small files of many commits, bring the ANN index up to date, drop old versions."""
        with storage_errors("written"):
            self._table.optimize(cleanup_older_than=_OLD_VERSIONS)

    def nearest(
        self,
        queries: Embeddings,
        count: int,
        where: ImageFilter | None = None,
    ) -> list[Neighbours]:
        """Return the images with the largest cosines, for each query.

        Args:
            queries: [n, dim], of any length but zero.
            count: how many for each.
            where: which images to look at.

        Raises:
            InvalidInputError: when the condition cannot be used.
            IndexStorageError: when the index cannot be read.
        """
        condition = where.to_sql() if where else None
        return [self._nearest(query, count, condition) for query in queries]

    def _nearest(self, query: NDArray[np.float32], count: int, condition: str | None) -> Neighbours:
        with storage_errors("read"):
            search = self._table.search(query, vector_column_name=EMBEDDING).distance_type("cosine")
            search = search.select(["id", "_distance"]).with_row_id(True).limit(count)
            if condition:
                search = search.where(condition, prefilter=True)
            rows = search.to_arrow()
        cosines = 1 - rows["_distance"].to_numpy().astype(np.float32)
        return Neighbours(rows["_rowid"].to_pylist(), rows["id"].to_pylist(), cosines)

    def records(self, rows: Sequence[int]) -> list[ImageRecord]:
        """Return what is kept of the images at some places, in their order, with their thumbnails."""
        if not rows:
            return []
        with storage_errors("read"):
            found = self._table.take_row_ids(list(rows)).select([*FACTS, "thumbnail"]).to_arrow()
        return from_arrow(found)

    def embeddings(self, rows: Sequence[int]) -> Embeddings:
        """Return the embeddings of the images at some places, [n, dim], in their order."""
        if not rows:
            return np.empty((0, self.spec.dim), np.float32)
        with storage_errors("read"):
            found = self._table.take_row_ids(list(rows)).select([EMBEDDING]).to_arrow()
        return _matrix(found)

    def find(self, ids: Sequence[str]) -> tuple[list[ImageRecord], Embeddings]:
        """Return the records and the embeddings of images by id, in the table's order.

        It looks through all ids, so it takes longer than `records`. Ids that are not known are left out.
        """
        with storage_errors("read"):
            columns = [*FACTS, "thumbnail", EMBEDDING]
            found = self._table.search().where(_id_in(ids)).select(columns).to_arrow()
        return from_arrow(found), _matrix(found)

    def page(self, start: int, count: int, where: ImageFilter | None = None) -> list[ImageRecord]:
        """Return some images, in the table's order, with their thumbnails."""
        with storage_errors("read"):
            query = self._table.search().select([*FACTS, "thumbnail"]).offset(start).limit(count)
            if where and (condition := where.to_sql()):
                query = query.where(condition)
            return from_arrow(query.to_arrow())

    def scan(self, batch_size: int = 10_000) -> Iterator[tuple[list[ImageRecord], Embeddings]]:
        """Go through all images, without thumbnails; memory holds one batch at a time."""
        import pyarrow as pa

        with storage_errors("read"):
            for batch in self._table.search().select([*FACTS, EMBEDDING]).to_batches(batch_size):
                rows = pa.Table.from_batches([batch])
                yield from_arrow(rows), _matrix(rows)


@contextmanager
def storage_errors(done: str) -> Iterator[None]:
    """Turn the database's errors into one sentence.

    Args:
        done: what the index could not be: opened, read, written.
    """
    try:
        yield
    except EngineError:
        raise
    except Exception as error:  # it raises OSError, RuntimeError, ValueError and its own kinds
        logger.warning("The image index cannot be %s", done, exc_info=error)
        raise IndexStorageError(f"The index cannot be {done}: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    """Return the part of the database's message that helps: it goes on about its own source."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error)
    for known in ("No space left on device", "Permission denied", "Read-only file system"):
        if known in text:
            return known
    return (text.splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def _table_name(spec: ModelSpec) -> str:
    """Return a name that may stand for a folder; the digest tells models of the same short form apart."""
    return f"{spec.slug}-{hashlib.sha256(spec.name.encode()).hexdigest()[:8]}"


def _id_in(ids: Sequence[str]) -> str:
    return f"id IN ({', '.join(map(quoted, ids))})"


def _matrix(rows: pa.Table) -> Embeddings:
    """Return the column of embeddings as [n, dim]."""
    column = rows[EMBEDDING].combine_chunks()
    flat: Embeddings = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return flat.reshape(len(rows), rows.schema.field(EMBEDDING).type.list_size)
