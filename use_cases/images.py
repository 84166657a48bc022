"""Take the image that a request brings, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from engines.preparation.images import ImageSource
from engines.preparation.source import SourceImage
from engines.worker.cache import EmbeddingCache


async def read_image(
    source: ImageSource | Callable[[], bytes], min_side: int | None, cache: EmbeddingCache
) -> SourceImage:
    """Read an image file, or take its bytes, and decode it unless the same file was decoded before.

    Args:
        source: a path, the bytes, or a function that makes the bytes out of something else.
        min_side: as in `decode_image`.
        cache: knows which files were decoded.

    Raises:
        InvalidInputError: when it cannot be read, is no image of a known format, is damaged or too large.
    """
    return await asyncio.to_thread(_read, source, min_side, cache)


def _read(
    source: ImageSource | Callable[[], bytes], min_side: int | None, cache: EmbeddingCache
) -> SourceImage:
    image = SourceImage.read(source() if callable(source) else source, min_side)
    if cache.pixels_of(image.file_digest) is None:
        image.pixel_digest()
    return image
