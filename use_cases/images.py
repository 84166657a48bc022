"""Take the images that a request brings, off the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from engines.errors import InvalidInputError
from engines.preparation.images import MAX_IMAGE_PIXELS, ImageSource
from engines.preparation.source import SourceImage
from engines.worker.cache import EmbeddingCache

MAX_REQUEST_PIXELS = 2 * MAX_IMAGE_PIXELS  # that are kept at once: 0.4 GB


class PixelBudget:
    """What the images of one request may hold in memory together, once they are decoded; for any thread."""

    def __init__(self, most: int = MAX_REQUEST_PIXELS) -> None:
        self._most = self._left = most
        self._lock = threading.Lock()

    def take(self, pixels: int) -> None:
        """Count an image.

        Raises:
            InvalidInputError: when it is too much with those before it; it does not count then.
        """
        with self._lock:
            if pixels > self._left:
                raise InvalidInputError(
                    f"The images of one request may have {self._most // 10**6} million pixels together;"
                    " send fewer or smaller ones."
                )
            self._left -= pixels


async def read_image(
    source: ImageSource | Callable[[], bytes],
    min_side: int | None,
    cache: EmbeddingCache,
    budget: PixelBudget | None = None,
) -> SourceImage:
    """Read an image file, or take its bytes, and decode it unless the same file was decoded before.

    Args:
        source: a path, the bytes, or a function that makes the bytes out of something else.
        min_side: as in `decode_image`.
        cache: knows which files were decoded.
        budget: of the request.

    Raises:
        InvalidInputError: when it cannot be read, is no image of a known format, is damaged or too large.
    """
    return await asyncio.to_thread(_read, source, min_side, cache, budget or PixelBudget())


def _read(
    source: ImageSource | Callable[[], bytes],
    min_side: int | None,
    cache: EmbeddingCache,
    budget: PixelBudget,
) -> SourceImage:
    image = SourceImage.read(source() if callable(source) else source, min_side)
    if cache.pixels_of(image.file_digest) is None:
        decoded = image.decode()
        budget.take(decoded.width * decoded.height)
        image.pixel_digest()
    return image
