"""Image files that no camera makes, and a way to see that two images look alike."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def png_header(width, height):
    """Return a PNG that claims a size and has no pixels."""

    def chunk(body):
        return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR" + header) + chunk(b"IDAT") + chunk(b"IEND")


def perceptual_hash(image):
    """Return 256 bits that stay as they are when an image is resized or compressed again."""
    pixels = np.asarray(image.convert("L").resize((17, 16), Image.Resampling.LANCZOS), dtype=int)
    return (pixels[:, 1:] > pixels[:, :-1]).ravel()


def encode(image, file_format):
    """Return an image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, file_format)
    return buffer.getvalue()
