"""Decode the image that a request brings, off the event loop, and time it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from PIL import Image

from engines.preparation.images import ImageSource, decode_image


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An RGB image and what decoding it took."""

    image: Image.Image
    decode_ms: float


async def decode(source: ImageSource, min_side: int | None = None) -> DecodedImage:
    """Decode an image file or its bytes in a worker thread; `min_side` as in `decode_image`.

    Raises:
        InvalidInputError: when it is no image of a known format, is damaged or is too large.
    """
    start_s = time.perf_counter()
    image = await asyncio.to_thread(decode_image, source, min_side)
    return DecodedImage(image, (time.perf_counter() - start_s) * 1000)
