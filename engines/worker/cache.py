"""EmbeddingCache: the embeddings that were used last, up to so many bytes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

DEFAULT_BYTES = 64_000_000  # 40,000 embeddings of 384 dimensions
_ENTRY_BYTES = 300  # of a key and the objects around an array
_DIGESTS = 10_000  # of files, whose pixels are known


class CacheKey(NamedTuple):
    """What decides an embedding. A digest of the content, not the content: anyone may send megabytes."""

    engine: str  # model, engine and the version of their preparation
    digest: bytes  # of the text, of the labels and templates, or of the decoded pixels

    @classmethod
    def of_text(cls, engine: str, text: str) -> CacheKey:
        """Return the key of a text."""
        return cls(engine, b"t" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())

    @classmethod
    def of_labels(cls, engine: str, labels: Sequence[str], templates: Sequence[str]) -> CacheKey:
        """Return the key of a whole list of labels, each the mean of its templates."""
        content = repr((tuple(labels), tuple(templates)))  # quotes tell where each text ends
        return cls(engine, b"l" + hashlib.sha256(content.encode("utf-8", "surrogatepass")).digest())

    @property
    def is_image(self) -> bool:
        """Tell an image from a text."""
        return self.digest.startswith(b"i")

    @classmethod
    def of_pixels(cls, engine: str, digest: bytes) -> CacheKey:
        """Return the key of an image."""
        return cls(engine, b"i" + digest)


@dataclass(frozen=True, slots=True)
class CachedRow:
    """An embedding and what else is told about its input."""

    embedding: NDArray[np.float32]  # [dim]; [n_labels, dim] of a list of labels
    truncated: bool = False  # a text that was longer than the model's context
    num_tokens: int = 0  # of a text, padding included


class EmbeddingCache:
    """Least recently used first out; shared by all engines; rows belong to one event loop.

    Also knows which files decode to which pixels, so that a file seen before need not be decoded.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        """Be empty; with 0 bytes nothing is kept."""
        self._rows: LRUCache[CacheKey, CachedRow] = LRUCache(max(max_bytes, 1), getsizeof=_size)
        self._pixels: LRUCache[bytes, bytes] = LRUCache(_DIGESTS if max_bytes else 1)
        self._lock = threading.Lock()  # files are looked up in worker threads, before they are decoded
        self.hits = 0
        self.misses = 0

    @property
    def num_bytes(self) -> int:
        """Return what the embeddings take, about."""
        return int(self._rows.currsize)

    @property
    def max_bytes(self) -> int:
        """Return what they may take."""
        return int(self._rows.maxsize)

    def get(self, key: CacheKey, *, count: bool = True) -> CachedRow | None:
        """Return an embedding if it is known, and count whether it is."""
        row = self._rows.get(key)
        if not count:
            return row
        if row is None:
            self.misses += 1
        else:
            self.hits += 1
        return row

    def get_labels(self, key: CacheKey, num_texts: int) -> NDArray[np.float32] | None:
        """Return what is known of a list of labels; that counts as knowing each text that they stand for."""
        row = self._rows.get(key)
        if row is None:  # its texts may be known, and count when they are looked up
            return None
        self.hits += num_texts
        return row.embedding

    def knows(self, key: CacheKey) -> bool:
        """Tell whether an embedding is known, without counting or using it."""
        return key in self._rows

    def put(self, key: CacheKey, row: CachedRow) -> None:
        """Keep an embedding; one that is larger than the whole cache is not kept."""
        if _size(row) <= self.max_bytes:
            self._rows[key] = row

    def pixels_of(self, file_digest: bytes) -> bytes | None:
        """Return the digest of the pixels that a file decodes to, if it was decoded before."""
        with self._lock:
            return self._pixels.get(file_digest) if file_digest else None

    def note_pixels(self, file_digest: bytes, pixel_digest: bytes) -> None:
        """Remember what a file decoded to; an image without a file has no digest."""
        if file_digest:
            with self._lock:
                self._pixels[file_digest] = pixel_digest


def _size(row: CachedRow) -> int:
    return row.embedding.nbytes + _ENTRY_BYTES
