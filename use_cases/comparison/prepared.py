"""Embed what is prepared already, rightly or wrongly, past the cache."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np

from engines.base import Embeddings, Pixels, Tokens
from engines.worker.batched_engine import BatchedEngine
from engines.worker.batcher import MicroBatcher

# By an engine's batcher of texts: held by who has texts of a wrong length in its background.
_text_locks: WeakKeyDictionary[MicroBatcher[Tokens], asyncio.Lock] = WeakKeyDictionary()


async def embed_prepared(
    engine: BatchedEngine, pixels: Sequence[Pixels] = (), tokens: Sequence[Tokens] = ()
) -> tuple[Embeddings, Embeddings]:
    """Embed what is prepared already, past the cache, which must never hold a wrong embedding.

    A call pads its texts to the longest, which would undo a wrong length. So texts go through the lane of
    the background, whose calls the texts of requests do not share, and those of one caller at a time.

    Returns:
        Of the pixels [n, dim] and of the tokens [m, dim].

    Raises:
        OverloadedError: when the queue is full.
        InferenceError: when the engine failed, or cannot take such input.
        EngineClosedError: when it is not running.
    """
    images = await engine.images.submit(pixels)
    async with _text_locks.setdefault(engine.texts, asyncio.Lock()):
        texts = await engine.texts.submit(tokens, background=True)
    empty = np.empty((0, engine.spec.dim), np.float32)
    return (
        np.stack([row.value for row in images]) if images else empty,
        np.stack([row.value for row in texts]) if texts else empty,
    )
