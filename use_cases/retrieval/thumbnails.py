"""Thumbnails: what an index shows of an image whose file it does not keep."""

from __future__ import annotations

import io

from PIL import Image

THUMBNAIL_SIDE = 256  # pixels, of the longer side
_QUALITY = 80


def make_thumbnail(image: Image.Image) -> bytes:
    """Return a small JPEG of an RGB image."""
    small = image.copy() if max(image.size) <= THUMBNAIL_SIDE else _shrunk(image)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


def _shrunk(image: Image.Image) -> Image.Image:
    scale = THUMBNAIL_SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
