"""ImageTable: the images of an index as one model sees them; how they are written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from engines.base import Embeddings
from use_cases.retrieval import ann
from use_cases.retrieval.filters import ImageFilter, quoted
from use_cases.retrieval.records import (
    EMBEDDING,
    FACTS,
    ImageRecord,
    from_arrow,
    to_arrow,
    to_matrix,
)
from use_cases.retrieval.snapshot import Snapshot, id_in
from use_cases.retrieval.storage import only_writer, storage_errors

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.table import Table

_OLD_VERSIONS = timedelta(minutes=10)  # are kept for readers that began with them
_IDS_A_CALL = 500
_OUTGROWN = 2  # times as many images as an ANN index was tuned for


class ImageTable:
    """One model's images. Cheap to make; safe to share between threads, though one alone may write."""

    def __init__(self, open_table: Callable[[], Table], lock_file: Path | None) -> None:
        """Wrap a table.

        Args:
            open_table: returns a handle on it, with the columns of `table_schema`.
            lock_file: keeps other processes from writing; None for an object store, where nothing does.
        """
        self._open = open_table
        self._table = open_table()
        self._lock_file = lock_file
        self._snapshot: tuple[int, Snapshot] | None = None
        self._refreshing = threading.Lock()

    def __len__(self) -> int:
        with storage_errors("read"):
            return int(self._table.count_rows())

    @property
    def dim(self) -> int:
        """Return the length of its embeddings."""
        return int(self.schema.field(EMBEDDING).type.list_size)

    @property
    def schema(self) -> pa.Schema:
        """Return its columns."""
        return self._table.schema

    @property
    def version(self) -> int:
        """Return a number that grows with each change."""
        with storage_errors("read"):
            return int(self._table.version)

    def snapshot(self) -> Snapshot:
        """Return the images as they are now: the same object until somebody changes them."""
        with self._refreshing, storage_errors("read"):
            version = int(self._table.version)
            if self._snapshot is None or self._snapshot[0] != version:
                pinned = self._open()
                pinned.checkout(version)
                self._snapshot = version, Snapshot(pinned, ann.read_settings(pinned))
            return self._snapshot[1]

    def writing(self) -> AbstractContextManager[None]:
        """Keep all others from writing, in this process and in others on this machine.

        Raises:
            IndexBusyError: when somebody else is writing.
        """
        return only_writer(self._lock_file)

    def lookup(self, ids: Sequence[str]) -> dict[str, ImageRecord]:
        """Return what it holds of some ids, by id, without thumbnails."""
        return {record.id: record for record in self._facts(id_in(ids))} if ids else {}

    def with_content(self, hashes: Sequence[str]) -> dict[str, ImageRecord]:
        """Return the original with each of some contents, by hash, without thumbnails."""
        condition = f"content_hash IN ({', '.join(map(quoted, hashes))}) AND duplicate_of = ''"
        return {record.content_hash: record for record in self._facts(condition)} if hashes else {}

    def ids_from(self, source: str) -> Iterator[str]:
        """Return the ids of all images from one source."""
        with storage_errors("read"):
            for batch in self._table.search().where(f"source = {quoted(source)}").select(["id"]).to_batches():
                yield from batch["id"].to_pylist()

    def add(self, records: Sequence[ImageRecord], embeddings: Embeddings) -> None:
        """Append images whose ids are new; all of them or none. Call it within `writing`.

        Args:
            records: one an image.
            embeddings: [n, dim], in their order.

        Raises:
            IndexStorageError: when that fails; nothing is added then.
        """
        with storage_errors("written"):
            self._table.add(to_arrow(records, embeddings, self.schema))

    def replace(self, records: Sequence[ImageRecord], embeddings: Embeddings) -> None:
        """Do what `add` does for images whose ids it holds already. It reads all ids, so it takes longer."""
        with storage_errors("written"):
            merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge = merge.use_index(False)  # through one it may leave rows twice
            merge.execute(to_arrow(records, embeddings, self.schema))
        self._promote([record.id for record in records])

    def remove(self, ids: Sequence[str]) -> int:
        """Remove images; return how many there were. Call it within `writing`.

        Raises:
            IndexStorageError: when that fails.
        """
        before = len(self)
        with storage_errors("written"):
            for start in range(0, len(ids), _IDS_A_CALL):
                self._table.delete(id_in(ids[start : start + _IDS_A_CALL]))
        self._promote(ids)
        return before - len(self)

    def tidy(self) -> None:
        """Merge the small files of many commits, bring the ANN index up to date, drop old versions."""
        with storage_errors("written"):
            self._table.optimize(cleanup_older_than=_OLD_VERSIONS)

    def needs_ann(self) -> bool:
        """Tell whether an ANN index would make searching faster, or one that it has is outgrown."""
        snapshot = self.snapshot()
        settings = ann.read_settings(self._table)
        outgrown = settings is None or len(snapshot) > _OUTGROWN * settings.rows
        return outgrown and not snapshot.in_memory

    def build_ann(self) -> ann.AnnSettings:
        """Make the ANN index, or make it anew, and measure what it finds. Call it within `writing`.

        Raises:
            IndexStorageError: when that fails; the images can still be searched.
        """
        with storage_errors("written"):
            return ann.build(self._table)

    def stats(self) -> dict[str, object]:
        """Return how much it holds, and how it is searched, for people and programs."""
        snapshot = self.snapshot()
        settings = ann.read_settings(self._table)
        return {
            "images": len(snapshot),
            "duplicates": len(snapshot) - snapshot.count(ImageFilter(hide_duplicates=True)),
            "with_caption": snapshot.count(ImageFilter(has_caption=True)),
            "dim": self.dim,
            "ann": asdict(settings) if settings else None,
            "version": self.version,
        }

    def scan(self, batch_size: int = 10_000) -> Iterator[tuple[list[ImageRecord], Embeddings]]:
        """Go through all images, without thumbnails; memory holds one batch at a time."""
        import pyarrow as pa

        with storage_errors("read"):
            for batch in self._table.search().select([*FACTS, EMBEDDING]).to_batches(batch_size):
                rows = pa.Table.from_batches([batch])
                yield from_arrow(rows), to_matrix(rows)

    def _facts(self, condition: str) -> list[ImageRecord]:
        with storage_errors("read"):
            return from_arrow(self._table.search().where(condition).select(list(FACTS)).to_arrow())

    def _promote(self, gone: Sequence[str]) -> None:
        """Make the first duplicate of each image that is gone, or was replaced, an original."""
        for start in range(0, len(gone), _IDS_A_CALL):
            owners = ", ".join(map(quoted, gone[start : start + _IDS_A_CALL]))
            heirs: dict[str, str] = {}
            for record in self._facts(f"duplicate_of IN ({owners})"):
                heirs.setdefault(record.duplicate_of, record.id)
            for owner, heir in heirs.items():
                with storage_errors("written"):
                    duplicates = f"duplicate_of = {quoted(owner)}"
                    self._table.update(where=duplicates, values={"duplicate_of": heir})
                    self._table.update(where=f"id = {quoted(heir)}", values={"duplicate_of": ""})
