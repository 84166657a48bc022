"""What an index keeps of an image's pixels: a thumbnail to show, and a hash to tell copies by."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

THUMBNAIL_SIDE = 256  # pixels, of the longer side
_QUALITY = 80
_HASH_SIDE = 8


def make_thumbnail(image: Image.Image) -> bytes:
    """Return a small JPEG of an RGB image."""
    small = image.copy() if max(image.size) <= THUMBNAIL_SIDE else _shrunk(image)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


def difference_hash(image: Image.Image) -> str:
    """Return 64 bits as hexadecimal digits: whether the image gets brighter from each place to the right.

    It stays nearly the same when an image is scaled or compressed anew (dHash, Neal Krawetz, "Kind of Like
    That", 2013).
    """
    grey = image.convert("L").resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    pixels = np.asarray(grey, np.int16)
    return np.packbits(pixels[:, 1:] > pixels[:, :-1]).tobytes().hex()


def different_bits(first: str, second: str) -> int:
    """Return in how many of 64 bits two hashes differ."""
    return (int(first, 16) ^ int(second, 16)).bit_count()


def _shrunk(image: Image.Image) -> Image.Image:
    scale = THUMBNAIL_SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
