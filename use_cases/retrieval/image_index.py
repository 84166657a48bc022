"""ImageIndex: a persistent, searchable collection of images' embeddings, one table a model.

LanceDB keeps it, because it is a library and no server, because a commit is the renaming of one small
file, so that a kill at any moment leaves the index as it was at the last commit, because reading never
waits for writing and an index larger than memory is searched from disk, and because the same calls reach
S3, GCS or Azure when the address says so.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from engines.home import expand_home
from engines.models import ModelSpec
from use_cases.retrieval.errors import IndexMismatchError, UnknownIndexError
from use_cases.retrieval.image_table import ImageTable
from use_cases.retrieval.lance_threads import give_lance_threads
from use_cases.retrieval.records import facts_in, is_same_model, model_facts, table_schema
from use_cases.retrieval.storage import only_writer, storage_errors

if TYPE_CHECKING:
    from lancedb.table import Table

_SECOND_LOOK_S = 1.0  # after which another process's commits are seen
_REMOVED = "Somebody removed these images from the index; add them again."


class ImageIndex:
    """The tables of one folder or object store. Cheap to make; safe to share between threads."""

    def __init__(self, uri: str | Path, *, create: bool = False) -> None:
        """Open an index.

        Args:
            uri: a folder, or an address such as s3://bucket/path.
            create: make the folder if there is none.

        Raises:
            InvalidInputError: when it would be in a home folder that is not known.
            UnknownIndexError: when there is none and none is to be made.
            IndexStorageError: when it cannot be read.
        """
        give_lance_threads()
        import lancedb

        self.uri = str(uri)
        self.folder = None if "://" in self.uri else expand_home(self.uri)
        if self.folder is not None and not create and not self.folder.is_dir():
            raise UnknownIndexError(f"There is no index at {self.uri!r}; build one first.")
        with storage_errors("opened"):
            self._database = lancedb.connect(
                self.folder or self.uri, read_consistency_interval=timedelta(seconds=_SECOND_LOOK_S)
            )
        self._tables: dict[ModelSpec, ImageTable] = {}
        self._opening = threading.Lock()

    @property
    def models(self) -> list[str]:
        """Return the names of the models that it has embeddings of."""
        return sorted(self.tables())

    def tables(self) -> dict[str, ImageTable]:
        """Return all tables by model, even those of models that this machine does not have.

        Raises:
            IndexStorageError: when they cannot be read.
        """
        tables: dict[str, ImageTable] = {}
        for name in self._names():
            with suppress(UnknownIndexError):  # it is being made, or its making was killed
                table = self._wrap(name)
                facts = facts_in(table.schema)
                if facts:
                    tables[str(facts["model"])] = table
        return tables

    def has(self, spec: ModelSpec) -> bool:
        """Tell whether it has embeddings of a model, in whatever state."""
        return self._exists(_table_name(spec))

    def table(self, spec: ModelSpec, *, create: bool = False) -> ImageTable:
        """Return a model's table; the same object until somebody removes it or builds it anew.

        Args:
            spec: the model.
            create: make an empty one if there is none.

        Raises:
            InvalidInputError: when it would be in a home folder that is not known.
            UnknownIndexError: when there is none and none is to be made.
            IndexMismatchError: when it was built with another state of the model.
            IndexBusyError: when somebody else is making it.
            IndexStorageError: when it cannot be read or made.
        """
        with self._opening:
            known = self._tables.pop(spec, None)
            if known is None or not known.is_still_there():  # another process may have built it anew
                known = self._open(spec, create)
            self._tables[spec] = known
            return known

    def drop_outdated(self, spec: ModelSpec) -> None:
        """Remove a model's table if it was built with another state of the model.

        Raises:
            IndexBusyError: when somebody is adding images to it.
            IndexStorageError: when that fails.
        """
        try:
            self.table(spec)
        except UnknownIndexError:
            pass
        except IndexMismatchError:
            self.drop(spec)

    def drop(self, spec: ModelSpec) -> None:
        """Remove a model's table, whatever state it is in.

        Raises:
            IndexBusyError: when somebody is adding images to it.
            IndexStorageError: when that fails.
        """
        name = _table_name(spec)
        with self._opening, only_writer(self._lock_file(name)), storage_errors("removed"):
            self._tables.pop(spec, None)
            if name in self._names():
                self._database.drop_table(name)

    def _open(self, spec: ModelSpec, create: bool) -> ImageTable:
        name = _table_name(spec)
        if not self._exists(name):
            if not create:
                raise UnknownIndexError(self._what_is_missing(spec))
            self._make(name, spec)
        return self._wrap(name, model_facts(spec))

    def _make(self, name: str, spec: ModelSpec) -> None:
        with only_writer(self._lock_file(name)):  # of two that make it at once one overwrites the other's
            if not self._exists(name):
                with storage_errors("made"):
                    self._database.create_table(name, schema=table_schema(spec))

    def _wrap(self, name: str, wanted: Mapping[str, object] | None = None) -> ImageTable:
        """Return a table.

        Args:
            name: of it.
            wanted: the facts that it must have been made with, whenever it is opened; None for any.
        """
        return ImageTable(partial(self._handle, name, wanted), self._lock_file(name))

    def _handle(self, name: str, wanted: Mapping[str, object] | None) -> Table:
        with storage_errors("opened"):
            try:
                table = self._database.open_table(name)
            except ValueError as error:  # so is one that is being made, or whose making was killed
                if "was not found" not in str(error):
                    raise
                raise UnknownIndexError(_REMOVED) from None
            held = facts_in(table.schema)
        if wanted is not None and not is_same_model(held, wanted):
            raise IndexMismatchError(
                f"The index was built with another state of {wanted['model']}, whose embeddings cannot be"
                " compared with today's; remove it and add its images again."
            )
        return table

    def _exists(self, name: str) -> bool:
        try:
            self._handle(name, None)
        except UnknownIndexError:
            return False
        return True

    def _lock_file(self, name: str) -> Path | None:
        return self.folder and self.folder / f"{name}.lock"

    def _what_is_missing(self, spec: ModelSpec) -> str:
        held = ", ".join(self.models)
        if not held:
            return "The index is empty; add images to it first."
        return (
            f"The index has no embeddings of {spec.name}, but of {held}; choose that, or add the images with"
            f" {spec.name}."
        )

    def _names(self) -> list[str]:
        names: list[str] = []
        token: str | None = None
        with storage_errors("read"):
            while True:
                page = self._database.list_tables(page_token=token)
                names += page.tables
                token = page.page_token
                if not token:
                    return names


def _table_name(spec: ModelSpec) -> str:
    """Return a name that may stand for a folder; the digest tells models of the same short form apart."""
    return f"{spec.slug}-{hashlib.sha256(spec.name.encode()).hexdigest()[:8]}"
