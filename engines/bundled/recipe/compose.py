"""Turn one picture with transparency into a varied image: background, place, size, mirror, colours."""

from __future__ import annotations

import random
import zlib
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from engines.bundled.model import IMAGE_SIZE
from engines.bundled.recipe.cutouts import Picture, load_cutout
from engines.models import Resample, ResizeMode
from engines.preparation.preprocess import resize_image

MEAN = 127.0  # of pixels in 0..255; the EfficientNet-Lites were trained on (x - 127) / 128
STD = 128.0
VIEW_MODE: ResizeMode = "pad"  # a view is composed with its margins, which shall all stay
PHOTO_MODE: ResizeMode = "crop_pad"  # what ships: whole photographs are wide and show more than one thing
RESAMPLE: Resample = "bicubic"


def compose_view(picture: Picture, view: int) -> Image.Image:
    """Draw one view of a picture; view 0 is plain (white ground, upright), the others are varied."""
    cutout = load_cutout(picture)
    if view == 0:
        return _place(cutout, Image.new("RGB", _canvas_size(cutout, 1.08, 1.08), "white"), 0.5, 0.5)
    rng = random.Random(zlib.crc32(f"{picture.item.key}|{view}".encode()))
    if rng.random() < 0.5:
        cutout = ImageOps.mirror(cutout)
    cutout = cutout.rotate(rng.uniform(-15, 15), Image.Resampling.BICUBIC, expand=True)
    if not picture.item.photo:
        cutout = _restyle(cutout, rng)
    size = _canvas_size(cutout, rng.uniform(1.0, 1.7), rng.uniform(1.0, 1.7))
    ground = Image.new("RGB", size, "white") if rng.random() < 0.35 else _background(size, rng)
    image = _place(cutout, ground, rng.random(), rng.random())
    if rng.random() < 0.4:
        image = _crop(image, rng)
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.8, 1.2))
    image = ImageEnhance.Color(image).enhance(rng.uniform(0.6, 1.4))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2))) if rng.random() < 0.2 else image


def prepare_pixels(image: Image.Image, mode: ResizeMode) -> NDArray[np.float32]:
    """Bring an RGB image to IMAGE_SIZE and normalise it, as the app does: [3, H, W]."""
    square = np.asarray(resize_image(image, IMAGE_SIZE, mode, RESAMPLE), np.float32)
    pixels: NDArray[np.float32] = ((square - MEAN) / STD).transpose(2, 0, 1)
    return pixels


def _canvas_size(cutout: Image.Image, wide: float, high: float) -> tuple[int, int]:
    return max(8, int(cutout.width * wide)), max(8, int(cutout.height * high))


def _place(cutout: Image.Image, ground: Image.Image, x: float, y: float) -> Image.Image:
    offset = (int((ground.width - cutout.width) * x), int((ground.height - cutout.height) * y))
    ground.paste(cutout, offset, cutout)
    return ground


def _restyle(cutout: Image.Image, rng: random.Random) -> Image.Image:
    """Sometimes drop the colours of a drawing, or keep only its lines."""
    style, alpha = rng.random(), cutout.getchannel("A")
    rgb = Image.new("RGB", cutout.size, "white")
    rgb.paste(cutout, (0, 0), cutout)
    if style < 0.12:
        rgb = rgb.convert("L").convert("RGB")
    elif style < 0.24:
        lines = ImageOps.invert(rgb.convert("L").filter(ImageFilter.FIND_EDGES))
        rgb = lines.point(lambda level: 255 if level > 215 else max(0, level - 90)).convert("RGB")
    elif style < 0.34:
        shift = rng.randrange(256)
        hue, saturation, value = rgb.convert("HSV").split()
        rgb = Image.merge("HSV", (hue.point(lambda h: (h + shift) % 256), saturation, value)).convert("RGB")
    else:
        return cutout
    rgb.putalpha(alpha)
    return rgb


@cache
def _spectrum(side: int) -> NDArray[np.float64]:
    """1 / f amplitudes, the statistics of natural scenes: [side, side // 2 + 1]."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    frequency[0, 0] = 1.0
    amplitudes: NDArray[np.float64] = frequency**-1.3
    return amplitudes


def _background(size: tuple[int, int], rng: random.Random) -> Image.Image:
    """Draw a plain colour, a gradient or a cloudy field with the spectrum of natural scenes."""
    kind, colours = rng.random(), [tuple(rng.randrange(256) for _ in range(3)) for _ in range(2)]
    if kind < 0.25:
        return Image.new("RGB", size, colours[0])
    if kind < 0.45:
        blend = Image.linear_gradient("L").rotate(90 * rng.randrange(4)).resize(size)
        return Image.composite(Image.new("RGB", size, colours[0]), Image.new("RGB", size, colours[1]), blend)
    noise = np.random.default_rng(rng.randrange(1 << 32))
    channels = []
    for first, second in zip(*colours, strict=True):
        waves = noise.standard_normal((64, 33)) + 1j * noise.standard_normal((64, 33))
        field = np.fft.irfft2(waves * _spectrum(64), (64, 64))
        share = np.clip(0.5 + 0.25 * field / field.std(), 0, 1)
        channels.append(first * share + second * (1 - share))
    clouds = Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))
    return clouds.resize(size, Image.Resampling.BICUBIC)


def _crop(image: Image.Image, rng: random.Random) -> Image.Image:
    width, height = (max(8, int(length * rng.uniform(0.75, 1.0))) for length in image.size)
    left, top = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    return image.crop((left, top, left + width, top + height))
