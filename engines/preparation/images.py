"""Decode an image file of any common format into an upright RGB image, refusing what would hurt."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from engines.errors import FileAccessError, InvalidInputError

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes"

MAX_IMAGE_BYTES = 50_000_000
MAX_IMAGE_PIXELS = 64_000_000  # a phone's 50-megapixel photo fits; decoding one takes up to 0.9 GB
# An allow list: Pillow knows some fifty formats more, EPS among them, which runs Ghostscript.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_ORIENTATION = 0x0112  # the EXIF tag
_UPRIGHT = MappingProxyType(
    {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
)
_TURNED = (5, 6, 7, 8)  # orientations of images that lie on a side
_DECODERS = threading.BoundedSemaphore(2)  # decodes at a time, so that large images cannot add up
_FORMATS_TEXT = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"


def read_image_file(source: ImageSource) -> tuple[bytes, str]:
    """Return an image file's bytes, and the name that errors give it.

    Raises:
        InvalidInputError: when the file is empty or too large; FileAccessError when it cannot be read.
    """
    name = "the image" if isinstance(source, bytes) else repr(Path(source).name)
    data = source if isinstance(source, bytes) else _read_file(Path(source))
    if not data:
        raise InvalidInputError(f"{_sentence(name)} is empty; send a {_FORMATS_TEXT} file.")
    if len(data) > MAX_IMAGE_BYTES:
        raise InvalidInputError(
            f"{_sentence(name)} has {len(data) / 1e6:.0f} MB; at most {MAX_IMAGE_BYTES // 10**6} MB are read."
        )
    return data, name


def decode_image(source: ImageSource, min_side: int | None = None, *, name: str | None = None) -> Image.Image:
    """Read an image file or its bytes: first frame, EXIF orientation applied, alpha on white, RGB.

    With `min_side` (pixels) a larger image comes back at a whole fraction of its size, with no side
    shorter than that: it takes less memory and, a JPEG, a fraction of the time. Pixels after a
    later resize differ a little from those of the full image.

    Args:
        source: a path, or the bytes of a file.
        min_side: as said above; None for the full size.
        name: what errors call it; the file's own name, if there is one.

    Raises:
        InvalidInputError: when it is no image of a known format, is damaged or is too large.
    """
    data, own_name = read_image_file(source)
    name = name or own_name
    try:
        with _DECODERS:
            image = _to_rgb(_open(data, name, min_side))
            return image if min_side is None else _shrink(image, min_side)
    except InvalidInputError:
        raise
    except Exception as error:  # damaged bytes make decoders raise OSError, SyntaxError, struct.error...
        raise InvalidInputError(
            f"{_sentence(name)} is damaged or incomplete and cannot be decoded ({error})."
        ) from error


def image_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) of an upright image from its header alone.

    Raises:
        InvalidInputError: when it is no image of a known format, or is too large.
    """
    image = _open(data, "the image", None)
    turned = image.format != "TIFF" and _orientation(image) in _TURNED  # Pillow turns TIFF's size itself
    return (image.height, image.width) if turned else image.size


def colour_ramps(side: int) -> Image.Image:
    """Return a square of colour ramps: an image that is the same everywhere and unlike a blank one."""
    ramp = np.arange(side) * 255 // max(side - 1, 1)
    across, down = np.broadcast_to(ramp, (side, side)), np.broadcast_to(ramp[:, None], (side, side))
    return Image.fromarray(np.stack([across, down, 255 - across], axis=-1).astype(np.uint8))


def _open(data: bytes, name: str, min_side: int | None) -> Image.Image:
    """Read the header, check it, and set the decoder to a cheap size; no pixel is decoded yet."""
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise InvalidInputError(f"{_sentence(name)} is not a {_FORMATS_TEXT} image.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InvalidInputError(_too_many_pixels(name, "far more")) from None
    pixels = image.width * image.height
    if pixels > MAX_IMAGE_PIXELS:
        raise InvalidInputError(_too_many_pixels(name, f"{pixels / 1e6:.0f} million"))
    if min_side is not None:
        image.draft(None, (min_side, min_side))
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    image.load()
    if (turn := _UPRIGHT.get(_orientation(image))) is not None:
        image = image.transpose(turn)
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        canvas = Image.new("RGB", image.size, "white")
        canvas.paste(image, mask=image.getchannel("A"))
        return canvas
    return image if image.mode == "RGB" else image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1, upright, where the EXIF data are damaged, for the pixels are not."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged bytes make the parser raise SyntaxError, struct.error, TypeError...
        return 1


def _shrink(image: Image.Image, min_side: int) -> Image.Image:
    factor = min(image.size) // min_side
    return image.reduce(factor) if factor > 1 else image


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey by its range and float grey by its finite values; Pillow would clip both to white."""
    values: NDArray[np.floating] = np.asarray(image, dtype=np.float32)
    if image.mode == "F":
        known = values[np.isfinite(values)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
        values = np.nan_to_num((values - low) * (255 / max(high - low, 1e-12)), posinf=255, neginf=0)
    else:
        values = values / 257  # 65535 / 255
    return Image.fromarray(np.clip(values + 0.5, 0, 255).astype(np.uint8))


def _read_file(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_IMAGE_BYTES:
            raise InvalidInputError(
                f"{path.name!r} is larger than {MAX_IMAGE_BYTES // 10**6} MB, the most that is read."
            )
        return path.read_bytes()
    except OSError as error:
        raise FileAccessError(f"Cannot read the image {path.name!r}: {error.strerror}.") from None


def _too_many_pixels(name: str, count: str) -> str:
    limit = MAX_IMAGE_PIXELS // 10**6
    return f"{_sentence(name)} has {count} pixels; at most {limit} million are accepted, so shrink it first."


def _sentence(name: str) -> str:
    return name[0].upper() + name[1:]
