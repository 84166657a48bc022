"""Prepare images and texts exactly as a model was trained, the same for every runtime."""

from __future__ import annotations

import re
import string

import numpy as np
from PIL import Image

from engines.base import Pixels, Tokens
from engines.models import ModelSpec
from engines.tokenizer import load_tokenizer

_RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_WHITESPACE = re.compile(r"\s+")
_MAX_ASPECT = 8  # beyond it, "crop" would first resize a ribbon to millions of pixels


class Preprocessor:
    """Turns images into pixels and texts into tokens for one model; safe to call from any thread."""

    def __init__(self, spec: ModelSpec) -> None:
        """Load the model's tokenizer.

        Raises:
            BackendUnavailableError: when the tokenizer's files or library are missing.
        """
        self.spec = spec
        self._tokenizer = load_tokenizer(spec)
        mean, std = (
            np.asarray(values, np.float32).reshape(3, 1, 1) for values in (spec.image_mean, spec.image_std)
        )
        self._scale = 1 / (255 * std)
        self._shift = mean / std

    def prepare_image(self, image: Image.Image) -> Pixels:
        """Resize, crop and normalise one RGB image to [3, image_size, image_size]."""
        resized = resize_image(image, self.spec)
        channels = np.asarray(resized, np.float32).transpose(2, 0, 1)
        pixels: Pixels = np.ascontiguousarray(channels * self._scale - self._shift)
        return pixels

    def prepare_text(self, text: str) -> Tokens:
        """Clean and tokenize one text; SigLIP's are padded to the context, the others are not."""
        return self._tokenizer(clean_text(text, self.spec))


def resize_image(image: Image.Image, spec: ModelSpec) -> Image.Image:
    """Bring an RGB image to image_size x image_size: squash it, crop its centre or pad it to a square."""
    side, resample = spec.image_size, _RESAMPLING[spec.resample]
    if spec.resize_mode == "squash":
        return image.resize((side, side), resample)
    if spec.resize_mode == "pad":
        return _pad(image, spec)
    image = _shorten(image)
    short, long = sorted(image.size)
    length = int(side * long / short)  # rounded as transformers does
    resized = image.resize((side, length) if image.width <= image.height else (length, side), resample)
    left, top = (resized.width - side) // 2, (resized.height - side) // 2
    return resized.crop((left, top, left + side, top + side))


def _shorten(image: Image.Image) -> Image.Image:
    """Cut the far ends off a ribbon; the centre crop would throw them away after a costly resize."""
    most = _MAX_ASPECT * min(image.size)
    if max(image.size) <= most:
        return image
    width, height = min(image.width, most), min(image.height, most)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _pad(image: Image.Image, spec: ModelSpec) -> Image.Image:
    """Scale the long side to image_size and centre the image on the model's mean colour."""
    side = spec.image_size
    scale = side / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    red, green, blue = (round(255 * value) for value in spec.image_mean)
    canvas = Image.new("RGB", (side, side), (red, green, blue))
    canvas.paste(
        image.resize((width, height), _RESAMPLING[spec.resample]), ((side - width) // 2, (side - height) // 2)
    )
    return canvas


def clean_text(text: str, spec: ModelSpec) -> str:
    """Lower-case and strip punctuation where the model was trained so.

    "canonicalize" is big_vision's prompt_engineering.canonicalize_text with string.punctuation.
    """
    if spec.text_cleaning == "none":
        return text
    text = text.lower()
    if spec.text_cleaning == "lower":
        return text
    return _WHITESPACE.sub(" ", text.translate(_NO_PUNCTUATION)).strip()
