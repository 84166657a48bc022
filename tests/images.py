"""Image files that no camera makes."""

import struct
import zlib


def png_header(width, height):
    """Return a PNG that claims a size and has no pixels."""

    def chunk(body):
        return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR" + header) + chunk(b"IDAT") + chunk(b"IEND")
