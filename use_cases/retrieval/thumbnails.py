"""What an index keeps of an image's pixels: a thumbnail to show, and a hash to tell copies by."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

THUMBNAIL_SIDE = 256  # pixels, of the longer side
_QUALITY = 80
_HASH_SIDE = 8


def shrink(image: Image.Image) -> Image.Image:
    """Return an RGB image that is no larger than a thumbnail."""
    if max(image.size) <= THUMBNAIL_SIDE:
        return image
    scale = THUMBNAIL_SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    # A gap of 1 takes whole pixels together first, which is as good for a thumbnail and twice as fast.
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0)


def encode_thumbnail(image: Image.Image) -> bytes:
    """Return a small RGB image as a JPEG."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


def difference_hash(image: Image.Image) -> str:
    """Return 64 bits as hexadecimal digits: whether a small image gets brighter from each place to the right.

    It stays nearly the same when the image is scaled or compressed anew (dHash, Neal Krawetz, "Kind of Like
    That", 2013).
    """
    grey = image.convert("L").resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.LANCZOS)
    pixels = np.asarray(grey, np.int16)
    return np.packbits(pixels[:, 1:] > pixels[:, :-1]).tobytes().hex()


def different_bits(first: str, second: str) -> int:
    """Return in how many of 64 bits two hashes differ."""
    return (int(first, 16) ^ int(second, 16)).bit_count()
