"""ImageTable: the images of an index as one model sees them; how they are written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from engines.base import Embeddings
from use_cases.retrieval import ann
from use_cases.retrieval.errors import IndexBusyError, IndexStorageError
from use_cases.retrieval.filters import ImageFilter, quoted
from use_cases.retrieval.marks import changed_ids, handed_over, mend, read_marks, write_marks
from use_cases.retrieval.records import (
    EMBEDDING,
    FACTS,
    ImageRecord,
    from_arrow,
    table_id,
    to_arrow,
    to_matrix,
)
from use_cases.retrieval.snapshot import Snapshot, id_in
from use_cases.retrieval.storage import only_writer, storage_errors, table_errors

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.table import LanceTable, Table

_IDS_A_CALL = 500
_OUTGROWN = 0.05  # of the images are not in the ANN index, and each search compares all of these


class TableState(NamedTuple):
    """Which table it is, and how often it was changed: the rows of equal states are equal."""

    table_id: str
    version: int


class ImageTable:
    """One model's images. Cheap to make; safe to share between threads, though one alone may write."""

    def __init__(self, open_table: Callable[[], Table], lock_file: Path | None) -> None:
        """Wrap a table.

        Args:
            open_table: returns a handle on it as it is now, with the columns of `table_schema`; raises an
                EngineError when somebody removed it, or built it anew so that it cannot be used.
            lock_file: keeps other processes from writing; None for an object store, where nothing does.
        """
        self._open = open_table
        self._table = open_table()
        self._first_id = table_id(self._table.schema)
        self._lock_file = lock_file
        self._snapshot: tuple[TableState, Snapshot] | None = None
        self._refreshing = threading.Lock()

    def __len__(self) -> int:
        with self._errors("read"):
            return int(self._table.count_rows())

    @property
    def dim(self) -> int:
        """Return the length of its embeddings."""
        return int(self.schema.field(EMBEDDING).type.list_size)

    @property
    def schema(self) -> pa.Schema:
        """Return its columns."""
        with self._errors("read"):
            return self._table.schema

    @property
    def uri(self) -> str:
        """Return its address, a folder or one of an object store, for another process to open it."""
        with self._errors("read"):
            return str(cast("LanceTable", self._table).uri)

    @property
    def version(self) -> int:
        """Return a number that grows with each change, and begins anew when the table is built anew."""
        return self.state.version

    @property
    def state(self) -> TableState:
        """Return what changes with each change, and when the table is built anew."""
        with self._errors("read"):
            return _state_of(self._table)

    def is_still_there(self) -> bool:
        """Tell whether it is the table that was opened; somebody may have removed it, or built it anew."""
        try:
            with storage_errors("read"):
                return table_id(self._table.schema) == self._first_id
        except IndexStorageError:  # who opens it again learns why
            return False

    def snapshot(self) -> Snapshot:
        """Return the images as they are now: the same object until somebody changes them.

        Raises:
            UnknownIndexError: when somebody removed the table.
            IndexMismatchError: when somebody built it anew with another state of the model.
            IndexStorageError: when it cannot be read.
        """
        with self._refreshing, self._errors("read"):
            if self._snapshot is None or self._snapshot[0] != _state_of(self._table):
                self._check()  # so that it does not lag behind the one that is opened now
                pinned = self._open()
                pinned.checkout(int(pinned.version))
                state = _state_of(pinned)
                check = partial(self._check_id, state.table_id)
                self._snapshot = state, Snapshot(pinned, ann.read_settings(pinned), check)
            return self._snapshot[1]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep all others from writing, in this process and in others on this machine.

        Raises:
            IndexBusyError: when somebody else is writing.
            UnknownIndexError: when somebody removed the table.
            IndexMismatchError: when somebody built it anew with another state of the model.
        """
        with only_writer(self._lock_file):
            self._check()  # only now nobody can remove it any more, or build it anew
            yield

    def lookup(self, ids: Sequence[str]) -> dict[str, ImageRecord]:
        """Return what it holds of some ids, by id, without thumbnails."""
        return {record.id: record for record in self._facts(id_in(ids))} if ids else {}

    def with_content(self, hashes: Sequence[str]) -> dict[str, ImageRecord]:
        """Return the original with each of some contents, by hash, without thumbnails."""
        condition = f"content_hash IN ({', '.join(map(quoted, hashes))}) AND duplicate_of = ''"
        return {record.content_hash: record for record in self._facts(condition)} if hashes else {}

    def ids_from(self, source: str) -> Iterator[str]:
        """Return the ids of all images from one source."""
        with self._errors("read"):
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
        with self._errors("written"):
            self._table.add(to_arrow(records, embeddings, self.schema))

    def replace(self, records: Sequence[ImageRecord], embeddings: Embeddings) -> None:
        """Do what `add` does for images whose ids it holds already. It reads all ids, so it takes longer.

        An image whose file stays the same keeps its mark as a duplicate, whatever its record says; the
        duplicates of one whose file changes are handed over first.
        """
        ids = [record.id for record in records]
        held = self.lookup(ids)
        if changed := changed_ids(records, held):
            with self._errors("written"):
                write_marks(self._table, handed_over(read_marks(self._table), changed))
            held = self.lookup(ids)
        marks = {id_: record.duplicate_of for id_, record in held.items() if id_ not in changed}
        records = [replace(each, duplicate_of=marks.get(each.id, each.duplicate_of)) for each in records]
        with self._errors("written"):
            merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge = merge.use_index(False)  # through one it may leave rows twice
            merge.execute(to_arrow(records, embeddings, self.schema))

    def remove(self, ids: Sequence[str]) -> int:
        """Remove images; return how many there were. Call it within `writing`.

        Raises:
            IndexStorageError: when that fails.
        """
        before = len(self)
        with self._errors("written"):
            marks = read_marks(self._table)
            write_marks(self._table, handed_over(marks, set(ids)))
            ids = sorted(ids, key=lambda id_: id_ not in marks)  # duplicates go before their originals
            for start in range(0, len(ids), _IDS_A_CALL):
                self._table.delete(id_in(ids[start : start + _IDS_A_CALL]))
        return before - len(self)

    def tidy(self) -> None:
        """Merge the small files of many commits, drop old versions.

        Not where there is an ANN index: that would be rewritten too, which for a million images had not ended
        after 18 minutes, and cannot be stopped. Building it anew merges the files.

        Marks that name no original, which older versions of this app left behind, are mended.
        """
        with self._errors("written"):
            mend(self._table)
            if ann.read_settings(self._table) is None:
                self._table.optimize(cleanup_older_than=ann.OLD_VERSIONS)

    def needs_ann(self) -> bool:
        """Tell whether an ANN index would make searching faster, or one that it has is outgrown."""
        self._check()  # another process may have built it in this moment
        snapshot = self.snapshot()
        if snapshot.in_memory:
            return False
        with self._errors("read"):
            return snapshot.ann is None or ann.num_left_out(self._table) >= _OUTGROWN * len(snapshot)

    def stats(self) -> dict[str, object]:
        """Return how much it holds, and how it is searched, for people and programs."""
        snapshot = self.snapshot()
        return {
            "images": len(snapshot),
            "duplicates": snapshot.num_duplicates(),
            "with_caption": snapshot.count(ImageFilter(has_caption=True)),
            "dim": self.dim,
            "ann": asdict(snapshot.ann) if snapshot.ann else None,
            "version": self.version,
        }

    def scan(self, batch_size: int = 10_000) -> Iterator[tuple[list[ImageRecord], Embeddings]]:
        """Go through all images, without thumbnails; memory holds one batch at a time."""
        import pyarrow as pa

        with self._errors("read"):
            for batch in self._table.search().select([*FACTS, EMBEDDING]).to_batches(batch_size):
                rows = pa.Table.from_batches([batch])
                yield from_arrow(rows), to_matrix(rows)

    def _facts(self, condition: str) -> list[ImageRecord]:
        with self._errors("read"):
            return from_arrow(self._table.search().where(condition).select(list(FACTS)).to_arrow())

    def _errors(self, done: str) -> AbstractContextManager[None]:
        return table_errors(done, self._check)

    def _check(self) -> None:
        """Take the table as it is now; say what happened if it is not there, or cannot be used any more."""
        self._table = self._open()

    def _check_id(self, wanted: str) -> None:
        """Do what `_check` does for rows of a table that was built anew since they were found.

        Raises:
            IndexBusyError: when that happened.
        """
        self._check()
        if table_id(self._table.schema) != wanted:
            raise IndexBusyError("The index was built anew in this moment; try again.")


def _state_of(table: Table) -> TableState:
    return TableState(table_id(table.schema), int(table.version))
