"""Embed images and texts in one list, as the embeddings endpoints take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from engines.base import Embeddings, normalize
from engines.errors import InvalidInputError
from engines.pool import PooledEngine
from engines.preparation.source import SourceImage
from engines.worker.shared import Embedded
from use_cases.side_by_side import side_by_side
from use_cases.texts import check_utf8
from use_cases.timings import add_up

T = TypeVar("T")

MAX_TEXT_CHARS = 10_000


@dataclass(frozen=True, slots=True)
class EmbeddedItems:
    """The embeddings of one list of images and texts."""

    embeddings: Embeddings  # [n, dim], in the order of the items
    truncated: tuple[bool, ...]  # per item: a text that is longer than the model's context
    cached: tuple[bool, ...]  # per item: it was known before
    num_tokens: tuple[int, ...]  # per item: that the model read, padding included; 0 for images
    timings_ms: dict[str, float]


def check_text(text: str) -> str:
    """Return a text to embed.

    Raises:
        InvalidInputError: when it is empty or too long, or no UTF-8.
    """
    if not text.strip():
        raise InvalidInputError("The text is empty; send at least one word.")
    if len(text) > MAX_TEXT_CHARS:
        raise InvalidInputError(f"The text has {len(text):,} characters; at most {MAX_TEXT_CHARS:,} may be.")
    check_utf8("text", text)
    return text


async def embed_items(
    pooled: PooledEngine, items: Sequence[str | SourceImage], dimensions: int | None = None
) -> EmbeddedItems:
    """Embed texts and images side by side.

    Args:
        pooled: the running engine.
        items: in any mixture.
        dimensions: keep only so many of each embedding, scaled to length one again. The models were
            not trained for that, so it costs accuracy.

    Raises:
        InvalidInputError: when an image cannot be decoded, or there are fewer dimensions than that.
        EngineError: what `BatchedEngine` raises.
    """
    engine = pooled.engine
    if dimensions is not None and not 1 <= dimensions <= engine.spec.dim:
        raise InvalidInputError(
            f"{engine.spec.name} has {engine.spec.dim} dimensions; `dimensions` must be from 1 to that."
        )
    images = [position for position, item in enumerate(items) if isinstance(item, SourceImage)]
    texts = [position for position, item in enumerate(items) if isinstance(item, str)]
    image_rows, text_rows = await side_by_side(
        engine.embed_images([item for item in items if isinstance(item, SourceImage)]),
        engine.embed_texts([item for item in items if isinstance(item, str)]),
    )
    order = np.argsort([*images, *texts], kind="stable")
    rows = np.concatenate([image_rows.embeddings, text_rows.embeddings])[order]
    decode_ms = sum(item.decode_ms for item in items if isinstance(item, SourceImage))
    return EmbeddedItems(
        rows if dimensions is None else normalize(rows[:, :dimensions]),
        truncated=_ordered(image_rows.truncated, text_rows.truncated, order.tolist()),
        cached=_ordered(image_rows.cached, text_rows.cached, order.tolist()),
        num_tokens=_ordered(image_rows.num_tokens, text_rows.num_tokens, order.tolist()),
        timings_ms=add_up([{"load": pooled.load_ms, "decode": decode_ms}, *_timings(image_rows, text_rows)]),
    )


def _timings(*embedded: Embedded) -> list[dict[str, float]]:
    return [each.timings_ms for each in embedded if len(each.embeddings)]


def _ordered(images: tuple[T, ...], texts: tuple[T, ...], order: list[int]) -> tuple[T, ...]:
    both = (*images, *texts)
    return tuple(both[position] for position in order)
