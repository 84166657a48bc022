"""SourceImage: an image file of a request, decoded when an engine has to see it."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass, field

import xxhash
from PIL import Image

from engines.preparation.images import ImageSource, decode_image, read_image_file
from engines.tracing import Span, current_trace

# XXH3 is ten times as fast as SHA-256, which would take longer than half of a JPEG's decoding; the
# secret seed keeps strangers from making two images with the same digest.
_SEED = secrets.randbits(64)
_SHA256_BYTES = 32


@dataclass(slots=True, eq=False)
class SourceImage:
    """The bytes of an image file, then its pixels; not for several threads at once."""

    data: bytes
    name: str  # as errors call it
    min_side: int | None = None  # below which the decoder must not shrink it, see `decode_image`
    decode_ms: float = 0.0  # reading, hashing and decoding, so far
    _image: Image.Image | None = field(default=None, repr=False)
    _file_digest: bytes = b""
    _pixel_digest: bytes = b""

    @classmethod
    def read(cls, source: ImageSource, min_side: int | None = None) -> SourceImage:
        """Take the bytes of an image, or read them from a file.

        Raises:
            InvalidInputError: when the file cannot be read, is empty or is too large.
        """
        start_s = time.perf_counter()
        data, name = read_image_file(source)
        image = cls(data, name, min_side)
        image._file_digest = hashlib.sha256(data).digest() + str(min_side).encode()
        image._add_time(start_s)
        return image

    @classmethod
    def of_image(cls, image: Image.Image) -> SourceImage:
        """Wrap an RGB image that exists already."""
        source = cls(b"", "the image")
        source._image = image
        return source

    @property
    def file_digest(self) -> bytes:
        """Return what tells this file, decoded this way, from others; empty for an image without a file."""
        return self._file_digest

    @property
    def content_hash(self) -> str:
        """Return the file's SHA-256 as hexadecimal digits; empty for an image without a file."""
        return self._file_digest[:_SHA256_BYTES].hex()

    def decode(self) -> Image.Image:
        """Return the RGB image; the work is done once, and the file's bytes are let go.

        Raises:
            InvalidInputError: when it is no image of a known format, is damaged or is too large.
        """
        if self._image is None:
            start_s = time.perf_counter()
            self._image = decode_image(self.data, self.min_side, name=self.name)
            self.data = b""
            self._add_time(start_s)
        return self._image

    @property
    def has_pixel_digest(self) -> bool:
        """Tell whether `pixel_digest` returns at once."""
        return bool(self._pixel_digest)

    def pixel_digest(self) -> bytes:
        """Return what tells the decoded image's size and pixels from others', in this process alone."""
        if not self._pixel_digest:
            image = self.decode()
            start_s = time.perf_counter()
            size = f"{image.width}x{image.height}".encode()
            self._pixel_digest = size + xxhash.xxh3_128_digest(image.tobytes(), seed=_SEED)
            self._add_time(start_s)
        return self._pixel_digest

    def _add_time(self, start_s: float) -> None:
        end_s = time.perf_counter()
        self.decode_ms += (end_s - start_s) * 1000
        if trace := current_trace():
            trace.add(Span("decode", start_s, end_s))
