"""TextStore: text embeddings on disk, so that the labels of yesterday are known after a restart."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from engines.errors import BackendUnavailableError
from engines.worker.cache import CachedRow, CacheKey

MAX_ROWS = 200_000  # about 0.4 GB at 384 dimensions; the oldest go first
_VARIABLES = 500  # of one SQL statement; SQLite takes 999 at least
_SCHEMA = """
CREATE TABLE IF NOT EXISTS texts (
    engine TEXT, digest BLOB, truncated INTEGER, num_tokens INTEGER, embedding BLOB,
    PRIMARY KEY (engine, digest)
)
"""
_SELECT = (
    "SELECT digest, truncated, num_tokens, embedding FROM texts WHERE engine = ? AND digest IN ({marks})"
)

logger = logging.getLogger(__name__)


class TextStore:
    """A table in an SQLite file; holds digests and embeddings, not the texts. For any thread.

    A file that turns out to be damaged is left alone and not asked again: it only saves time.
    """

    def __init__(self, path: Path, max_rows: int = MAX_ROWS) -> None:
        """Open or make the file.

        Raises:
            BackendUnavailableError: when it is no database or cannot be written.
        """
        self._max_rows = max_rows
        self._lock = threading.Lock()
        self._usable = True
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode=WAL")  # readers of other processes do not wait
            self._database.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise BackendUnavailableError(
                f"Cannot keep text embeddings in {path} ({error}); delete it or choose another file."
            ) from error

    def get(self, keys: Sequence[CacheKey]) -> dict[CacheKey, CachedRow]:
        """Return those that are known; all keys are of one engine."""
        found: dict[CacheKey, CachedRow] = {}
        for start in range(0, len(keys), _VARIABLES):
            chunk = keys[start : start + _VARIABLES]
            engine, digests = chunk[0].engine, [key.digest for key in chunk]
            query = _SELECT.format(marks=",".join("?" * len(chunk)))
            for digest, truncated, num_tokens, embedding in self._run(query, [(engine, *digests)]):
                row = np.frombuffer(embedding, "<f4").astype(np.float32)
                found[CacheKey(engine, digest)] = CachedRow(row, bool(truncated), num_tokens)
        return found

    def put(self, rows: Mapping[CacheKey, CachedRow]) -> None:
        """Keep embeddings."""
        self._run(
            "INSERT OR REPLACE INTO texts VALUES (?, ?, ?, ?, ?)",
            [
                (key.engine, key.digest, row.truncated, row.num_tokens, row.embedding.astype("<f4").tobytes())
                for key, row in rows.items()
            ],
        )
        self._run("DELETE FROM texts WHERE rowid <= (SELECT max(rowid) FROM texts) - ?", [(self._max_rows,)])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._usable = False
            self._database.close()

    def _run(self, statement: str, rows: Sequence[tuple[object, ...]]) -> list[tuple[bytes, int, int, bytes]]:
        with self._lock:
            if not self._usable:
                return []
            try:
                with self._database:
                    if statement.startswith("SELECT"):
                        return self._database.execute(statement, rows[0]).fetchall()
                    self._database.executemany(statement, rows)
            except sqlite3.Error as error:
                self._usable = False
                logger.error("Text embeddings are no longer kept on disk: %s", error)
            return []
