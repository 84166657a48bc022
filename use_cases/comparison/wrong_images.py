"""Mistakes in the preparation of an image: the resize, the normalisation, the order of the channels."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from engines.base import Pixels
from engines.models import ModelSpec, ResizeMode
from engines.preparation.preprocess import resize_image
from engines.worker.batched_engine import BatchedEngine
from use_cases.comparison.wrongs import Altered, Wrong

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and std, as torchvision documents them
_CROPS = ("crop", "torchvision_crop")


def wrong_images(engine: BatchedEngine, image: Image.Image) -> list[Wrong]:
    """Return the mistakes that can be made with one image.

    Args:
        engine: with the right preprocessor.
        image: decoded, RGB.
    """
    right = engine.preprocessor.prepare_image(image)
    return [
        _resized(engine.spec, image, "crop"),
        _resized(engine.spec, image, "squash"),
        _normalised(engine.spec, right),
        Wrong(
            "bgr",
            "BGR instead of RGB",
            "OpenCV reads images as blue, green, red; the model then sees red things blue.",
            Altered(pixels=engine.preprocessor.prepare_image(_reversed(image))),
        ),
    ]


def _resized(spec: ModelSpec, image: Image.Image, mode: ResizeMode) -> Wrong:
    """Resize in another way than the model was trained with."""
    if mode == "crop":
        text = (
            "centre_crop",
            "Centre crop",
            "The short side is resized and both ends of the long one are cut off, so what they show is lost.",
        )
    else:
        text = (
            "squash",
            "Squash to a square",
            "The aspect ratio is ignored, so shapes are distorted that the model learned undistorted.",
        )
    if spec.resize_mode == mode or (mode == "crop" and spec.resize_mode in _CROPS):
        return Wrong(*text, reason=f"That is how {spec.name} was trained, so it is no mistake here.")
    if image.width == image.height:
        return Wrong(*text, reason="The image is square, so nothing is cut off or squeezed; try a wide one.")
    side = spec.image_size
    if spec.naflex is not None:  # as many patches as fit into a square
        side = math.isqrt(spec.naflex.max_num_patches) * spec.naflex.patch_size
    square = resize_image(image, side, mode, spec.resample)
    return Wrong(*text, Altered(pixels=normalise(square, spec)))


def _normalised(spec: ModelSpec, right: Pixels) -> Wrong:
    text = (
        "imagenet_mean_std",
        "ImageNet's mean and std",
        "Pixels are shifted and scaled as classifiers want them; each model wants the values that it was"
        " trained with.",
    )
    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in _IMAGENET)
    if np.allclose((spec.image_mean, spec.image_std), _IMAGENET, atol=1e-3):
        return Wrong(*text, reason=f"{spec.name} was trained with these values, so it is no mistake here.")
    own_mean, own_std = (
        np.array(values, np.float32).reshape(3, 1, 1) for values in (spec.image_mean, spec.image_std)
    )
    wrong: Pixels = (right * own_std + own_mean - mean) / std
    return Wrong(*text, Altered(pixels=wrong))


def normalise(image: Image.Image, spec: ModelSpec) -> Pixels:
    """Return an image of the final size as pixels [3, height, width], normalised as the model wants them."""
    mean, std = (np.array(values, np.float32) for values in (spec.image_mean, spec.image_std))
    rows = (np.asarray(image, np.float32) / 255 - mean) / std
    pixels: Pixels = np.ascontiguousarray(rows.transpose(2, 0, 1), dtype=np.float32)
    return pixels


def _reversed(image: Image.Image) -> Image.Image:
    red, green, blue = image.split()
    return Image.merge("RGB", (blue, green, red))
