"""Compare every image with every text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engines.pool import PooledEngine
from engines.preparation.source import SourceImage
from engines.tracing import span
from use_cases.side_by_side import side_by_side
from use_cases.timings import add_up
from use_cases.zero_shot import Scores, scores_from_cosines


@dataclass(frozen=True, slots=True)
class Similarity:
    """How well texts fit images, in rows of images and columns of texts."""

    cosines: Scores
    logits: Scores
    scores: Scores  # probabilities: sigmoid, or softmax over the texts
    truncated: tuple[bool, ...]  # per text
    images_cached: tuple[bool, ...]
    texts_cached: tuple[bool, ...]
    timings_ms: dict[str, float]


async def compare(pooled: PooledEngine, images: Sequence[SourceImage], texts: Sequence[str]) -> Similarity:
    """Score every text for every image, as it stands: without a prompt template.

    Raises:
        InvalidInputError: when an image cannot be decoded.
        EngineError: what `BatchedEngine` raises.
    """
    engine = pooled.engine
    image_rows, text_rows = await side_by_side(engine.embed_images(images), engine.embed_texts(texts))
    with span("post", *engine.names) as post:
        cosines = image_rows.embeddings @ text_rows.embeddings.T
        logits, scores = scores_from_cosines(cosines, engine.spec)
    own_ms = {
        "load": pooled.load_ms,
        "decode": sum(image.decode_ms for image in images),
        "post": post.ms,
    }
    return Similarity(
        cosines=cosines,
        logits=logits,
        scores=scores,
        truncated=text_rows.truncated,
        images_cached=image_rows.cached,
        texts_cached=text_rows.cached,
        timings_ms=add_up([own_ms, image_rows.timings_ms, text_rows.timings_ms]),
    )
