"""BatchedEngine: one engine on one thread, with an image and a text batcher that share it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray
from PIL import Image

from engines.base import Embeddings, Engine, Pixels, Tokens
from engines.batcher import BatcherLimits, EngineThread, MicroBatcher, Row
from engines.models import ModelSpec
from engines.preprocess import Preprocessor

T = TypeVar("T")
P = TypeVar("P")

TEXT_CACHE_SIZE = 10_000  # texts; about 15 MB at 384 dimensions


@dataclass(frozen=True, slots=True)
class Embedded:
    """Embeddings of one request and how long each of its stages took."""

    embeddings: Embeddings  # [n, dim]
    timings_ms: dict[str, float]  # by stage: preprocess or tokenize, queue, infer
    truncated: tuple[bool, ...] = ()  # per text: longer than the model's context
    num_cached: int = 0  # texts whose embedding was known


@dataclass(frozen=True, slots=True)
class _CachedText:
    embedding: NDArray[np.float32]  # [dim]
    truncated: bool


@dataclass(slots=True)
class BatchedEngine:
    """The only way that requests reach an engine; every door shares the same instance.

    Preparation runs in worker threads before the queue, inference in the engine's one thread.
    Embeddings of texts are cached by text, most recently used first. Belongs to one event loop.
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
        """Prepare and embed RGB images.

        Raises:
            OverloadedError: when the queue is full.
            InferenceError: when the engine failed.
            EngineClosedError: when the engine is not running.
        """
        pixels, preprocess_ms = await _prepare(self.preprocessor.prepare_image, images)
        rows, timings_ms = await _submit(self._images, pixels)
        return Embedded(
            self._stack([row.embedding for row in rows]), {"preprocess": preprocess_ms, **timings_ms}
        )

    async def embed_texts(self, texts: Sequence[str]) -> Embedded:
        """Tokenize and embed texts; those embedded before come from the cache, equal ones are embedded once.

        Raises:
            OverloadedError: when the queue is full.
            InferenceError: when the engine failed.
            EngineClosedError: when the engine is not running.
        """
        known = {text: self._text_cache[text] for text in dict.fromkeys(texts) if text in self._text_cache}
        new = [text for text in dict.fromkeys(texts) if text not in known]
        tokens, tokenize_ms = await _prepare(self.preprocessor.prepare_text, new)
        rows, timings_ms = await _submit(self._texts, tokens)
        for text, token, row in zip(new, tokens, rows, strict=True):
            known[text] = self._text_cache[text] = _CachedText(row.embedding, token.truncated)
        found = [known[text] for text in texts]
        num_cached = len(found) - len(new)
        return Embedded(
            self._stack([text.embedding for text in found]),
            {"tokenize": tokenize_ms, **timings_ms},
            truncated=tuple(text.truncated for text in found),
            num_cached=num_cached,
        )

    def _stack(self, rows: list[NDArray[np.float32]]) -> Embeddings:
        return np.stack(rows) if rows else np.empty((0, self.spec.dim), np.float32)


async def _prepare(prepare: Callable[[T], P], items: Sequence[T]) -> tuple[list[P], float]:
    """Return the prepared items and the milliseconds that it took, off the event loop."""
    start_s = time.perf_counter()
    prepared = await asyncio.to_thread(lambda: [prepare(item) for item in items]) if items else []
    return prepared, (time.perf_counter() - start_s) * 1000


async def _submit(batcher: MicroBatcher[T], items: Sequence[T]) -> tuple[list[Row], dict[str, float]]:
    """Return the rows and the time spent in engine calls and in waiting for them."""
    start_s = time.perf_counter()
    rows = await batcher.submit(items)
    elapsed_ms = (time.perf_counter() - start_s) * 1000
    infer_ms = sum({row.batch_number: row.infer_ms for row in rows}.values())
    return rows, {"queue": max(elapsed_ms - infer_ms, 0.0), "infer": infer_ms}
