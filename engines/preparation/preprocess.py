"""Prepare images and texts exactly as a model was trained, the same for every runtime."""

from __future__ import annotations

import html
import re
import string

import numpy as np
from PIL import Image

from engines.base import Pixels, Tokens
from engines.models import ModelSpec, Resample, ResizeMode
from engines.preparation.naflex import target_size
from engines.preparation.tokenizer import load_tokenizer

_RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_WHITESPACE = re.compile(r"\s+")
_MAX_ASPECT = 8  # of images that are resized before they are cropped
_GREY = (127, 127, 127)


class Preprocessor:
    """Turns images into pixels and texts into tokens for one model; safe to call from any thread."""

    def __init__(self, spec: ModelSpec) -> None:
        """Load the model's tokenizer.

        Raises:
            BackendUnavailableError: when the tokenizer's library or a tower's package is missing.
            InvalidInputError: when the checkpoint has no usable tokenizer.
        """
        self.spec = spec
        self._tokenizer = load_tokenizer(spec)
        mean, std = (
            np.asarray(values, np.float32).reshape(3, 1, 1) for values in (spec.image_mean, spec.image_std)
        )
        self._scale = 1 / (255 * std)
        self._shift = mean / std

    def prepare_image(self, image: Image.Image) -> Pixels:
        """Resize, crop and normalise one RGB image to [3, image_size, image_size].

        A NaFlex model's image keeps its aspect ratio: [3, height, width] in whole patches.
        """
        spec = self.spec
        if spec.naflex is None:
            resized = resize_image(image, spec.image_size, spec.resize_mode, spec.resample)
        else:
            facts = spec.naflex
            height, width = target_size(image.height, image.width, facts.patch_size, facts.max_num_patches)
            resized = image.resize((width, height), _RESAMPLING[spec.resample])
        # Bytes are turned to channels first, which is four times as fast as doing it with floats.
        channels = np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))
        pixels: Pixels = np.multiply(channels, self._scale, dtype=np.float32)
        pixels -= self._shift
        return pixels

    def prepare_text(self, text: str) -> Tokens:
        """Clean and tokenize one text; SigLIP's are padded to the context, the others are not."""
        return self._tokenizer(clean_text(text, self.spec))

    def knows(self, text: str) -> bool:
        """Tell whether the tokenizer knows all of a text; every model's knows ASCII."""
        return text.isascii() or not self.prepare_text(text).unknown


def resize_image(image: Image.Image, side: int, mode: ResizeMode, resample: Resample) -> Image.Image:
    """Bring an RGB image to side x side pixels.

    "squash" ignores the aspect ratio (SigLIP), "crop" keeps the centre (CLIP; torchvision rounds it
    otherwise than transformers), "pad" keeps everything, and "crop_pad" goes halfway: it gives up at
    most a fifth of the long side and pads the rest, because what a photo shows is seldom at its ends
    and padding makes it small.
    """
    if mode == "squash":
        return image.resize((side, side), _RESAMPLING[resample])
    if mode == "crop":
        return _cut(_resize_short_side(image, side, resample), side)
    if mode == "torchvision_crop":
        return _torchvision_cut(_resize_short_side(image, side, resample), side)
    if mode == "crop_pad":
        image = _cut(image, max(min(image.size), round(0.8 * max(image.size))))
    return _pad(image, side, resample)


def _resize_short_side(image: Image.Image, side: int, resample: Resample) -> Image.Image:
    # The far ends of a ribbon would be thrown away after a costly resize.
    image = _cut(image, _MAX_ASPECT * min(image.size))
    short, long = sorted(image.size)
    length = int(side * long / short)  # rounded as transformers does
    size = (side, length) if image.width <= image.height else (length, side)
    return image.resize(size, _RESAMPLING[resample])


def _torchvision_cut(image: Image.Image, side: int) -> Image.Image:
    """Keep the centre as torchvision's CenterCrop does, which rounds half a pixel to the even side."""
    left, top = (round((length - side) / 2) for length in image.size)
    return image.crop((left, top, left + side, top + side))


def _cut(image: Image.Image, most: int) -> Image.Image:
    """Cut both ends off the long side where it has more pixels than that."""
    width, height = min(image.width, most), min(image.height, most)
    if (width, height) == image.size:
        return image
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _pad(image: Image.Image, side: int, resample: Resample) -> Image.Image:
    """Scale the long side to `side` and centre the image on mid-grey, which normalises to about zero."""
    scale = side / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    canvas = Image.new("RGB", (side, side), _GREY)
    canvas.paste(
        image.resize((width, height), _RESAMPLING[resample]), ((side - width) // 2, (side - height) // 2)
    )
    return canvas


def clean_text(text: str, spec: ModelSpec) -> str:
    """Lower-case and strip punctuation where the model was trained so.

    "canonicalize" is big_vision's prompt_engineering.canonicalize_text with string.punctuation. The
    "ftfy_" kinds are open_clip's, which repairs the text first and takes an underscore for a space.
    """
    cleaning = spec.text_cleaning
    if cleaning.startswith("ftfy_"):
        text = _repair(text)
        if cleaning == "ftfy_canonicalize":
            text = text.replace("_", " ").translate(_NO_PUNCTUATION)
        text = " ".join(text.split())
        return text if cleaning == "ftfy_whitespace" else text.lower()
    if cleaning == "none":
        return text
    text = text.lower()
    if cleaning == "lower":
        return text
    return _WHITESPACE.sub(" ", text.translate(_NO_PUNCTUATION)).strip()


def _repair(text: str) -> str:
    """Undo wrong decoding and HTML escapes, twice escaped ones too, as open_clip does."""
    import ftfy

    return html.unescape(html.unescape(ftfy.fix_text(text)))
