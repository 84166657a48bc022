"""BatchedEngine: one engine on one thread, with an image and a text batcher that share it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray
from PIL import Image

from engines.base import Embeddings, Engine, Pixels, Tokens
from engines.batcher import BatcherLimits, EngineThread, MicroBatcher
from engines.models import ModelSpec
from engines.preparation.preprocess import Preprocessor

T = TypeVar("T")
P = TypeVar("P")

TEXT_CACHE_SIZE = 10_000  # texts; about 15 MB at 384 dimensions


@dataclass(frozen=True, slots=True)
class Embedded:
    """Embeddings of one request and how long each of its stages took."""

    embeddings: Embeddings  # [n, dim]
    timings_ms: dict[str, float]  # by stage: preprocess or tokenize, queue, infer
    truncated: tuple[bool, ...] = ()  # per text: longer than the model's context
    num_cached: int = 0  # texts whose embedding was known before this request


@dataclass(frozen=True, slots=True)
class _CachedText:
    embedding: NDArray[np.float32]  # [dim]
    truncated: bool


@dataclass(slots=True)
class BatchedEngine:
    """The only way that requests reach an engine; every door shares the same instance.

    Preparation runs in worker threads before the queue, inference in the engine's one thread.
    The embeddings of the texts used last are kept. Belongs to one event loop.
    """

    engine: Engine
    preprocessor: Preprocessor
    limits: BatcherLimits = field(default_factory=BatcherLimits)
    _thread: EngineThread = field(init=False)
    _images: MicroBatcher[Pixels] = field(init=False)
    _texts: MicroBatcher[Tokens] = field(init=False)
    _text_cache: LRUCache[str, _CachedText] = field(init=False)

    def __post_init__(self) -> None:
        self._thread = EngineThread(f"{self.spec.name}/{self.engine.name}")
        self._images = MicroBatcher(self.engine.embed_pixels, self._thread, self.limits)
        self._texts = MicroBatcher(self.engine.embed_tokens, self._thread, self.limits)
        self._text_cache = LRUCache(TEXT_CACHE_SIZE)

    @property
    def spec(self) -> ModelSpec:
        """Return the facts of the model that the engine runs."""
        return self.engine.spec

    async def __aenter__(self) -> BatchedEngine:
        self._images.start()
        self._texts.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Settle all waiting requests with EngineClosedError and stop the thread."""
        await self._images.close()
        await self._texts.close()
        await asyncio.to_thread(self._thread.close)

    async def embed_images(self, images: Sequence[Image.Image]) -> Embedded:
        """Prepare and embed RGB images; only one batch of pixels exists at a time.

        Raises:
            OverloadedError: when the queue is full.
            InferenceError: when the engine failed.
            EngineClosedError: when the engine is not running.
        """
        rows: list[NDArray[np.float32]] = []
        timings_ms = dict.fromkeys(("preprocess", "queue", "infer"), 0.0)
        for chunk in self._chunks(images):
            pixels = await _prepare(self.preprocessor.prepare_image, chunk, timings_ms, "preprocess")
            rows += await _submit(self._images, pixels, timings_ms)
        return Embedded(self._stack(rows), timings_ms)

    async def embed_texts(self, texts: Sequence[str]) -> Embedded:
        """Tokenize and embed texts; those embedded before come from the cache, equal ones are embedded once.

        Raises:
            OverloadedError: when the queue is full; what was embedded by then stays in the cache.
            InferenceError: when the engine failed.
            EngineClosedError: when the engine is not running.
        """
        known = {text: self._text_cache[text] for text in dict.fromkeys(texts) if text in self._text_cache}
        num_cached = sum(text in known for text in texts)
        timings_ms = dict.fromkeys(("tokenize", "queue", "infer"), 0.0)
        for chunk in self._chunks([text for text in dict.fromkeys(texts) if text not in known]):
            tokens = await _prepare(self.preprocessor.prepare_text, chunk, timings_ms, "tokenize")
            rows = await _submit(self._texts, tokens, timings_ms)
            for text, token, row in zip(chunk, tokens, rows, strict=True):
                known[text] = self._text_cache[text] = _CachedText(row, token.truncated)
        found = [known[text] for text in texts]
        return Embedded(
            self._stack([text.embedding for text in found]),
            timings_ms,
            truncated=tuple(text.truncated for text in found),
            num_cached=num_cached,
        )

    def _chunks(self, items: Sequence[T]) -> Iterator[Sequence[T]]:
        size = self.limits.max_batch_size
        return (items[start : start + size] for start in range(0, len(items), size))

    def _stack(self, rows: list[NDArray[np.float32]]) -> Embeddings:
        return np.stack(rows) if rows else np.empty((0, self.spec.dim), np.float32)


async def _prepare(
    prepare: Callable[[T], P], items: Sequence[T], timings_ms: dict[str, float], stage: str
) -> list[P]:
    """Prepare items off the event loop and add the time to its stage."""
    start_s = time.perf_counter()
    prepared = await asyncio.to_thread(lambda: [prepare(item) for item in items])
    timings_ms[stage] += (time.perf_counter() - start_s) * 1000
    return prepared


async def _submit(
    batcher: MicroBatcher[T], items: Sequence[T], timings_ms: dict[str, float]
) -> list[NDArray[np.float32]]:
    """Return the items' embeddings; add the time in engine calls to "infer" and the rest to "queue"."""
    start_s = time.perf_counter()
    rows = await batcher.submit(items)
    elapsed_ms = (time.perf_counter() - start_s) * 1000
    infer_ms = sum({row.batch_number: row.infer_ms for row in rows}.values())
    timings_ms["infer"] += infer_ms
    timings_ms["queue"] += max(elapsed_ms - infer_ms, 0.0)
    return [row.embedding for row in rows]
