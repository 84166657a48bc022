"""Photographs that other packages carry, never trained on: what a visitor of the demo would try."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from engines.bundled.recipe.compose import PHOTO_MODE, prepare_pixels
from engines.bundled.recipe.cutouts import LOOKALIKE_BITS, Picture, difference_hash
from engines.bundled.recipe.towers_onnx import ImageFeaturizer

ORDINARY_LABELS = (
    "cat", "dog", "lion", "cheetah", "horse", "bird", "fish", "bus", "car", "train", "motorcycle", "bicycle",
    "airplane", "rocket", "tower", "house", "bridge", "tree", "flower", "mountain", "cup of coffee", "pizza",
    "apple", "chair", "table", "lamp", "book", "computer", "guitar", "ball", "shoe", "hat", "clock",
    "astronaut", "coins",
)  # fmt: skip
NAMED_PHOTOS = {  # (package, file) -> the label that is right among ORDINARY_LABELS
    ("skimage", "data/chelsea.png"): "cat",
    ("gradio", "media_assets/images/lion.jpg"): "lion",
    ("gradio", "media_assets/images/bus.png"): "bus",
    ("gradio", "media_assets/images/cheetah1.jpg"): "cheetah",
    ("gradio", "media_assets/images/cheetah.jpg"): "cheetah",
    ("gradio", "media_assets/images/tower.jpg"): "tower",
    ("skimage", "data/coffee.png"): "cup of coffee",
    ("skimage", "data/rocket.jpg"): "rocket",
    ("skimage", "data/astronaut.png"): "astronaut",
    ("skimage", "data/motorcycle_left.png"): "motorcycle",
    ("skimage", "data/coins.png"): "coins",
}
NONE_OF_THESE = tuple(
    ("skimage", f"data/{name}.png")
    for name in (
        "brick",
        "grass",
        "gravel",
        "page",
        "text",
        "cell",
        "ihc",
        "microaneurysms",
        "phantom",
        "chessboard_GRAY",
    )
)


def without_lookalikes(pictures: Sequence[Picture]) -> list[Picture]:
    """Leave out every picture that looks like one of the photographs, whatever its concept."""
    hashes = []
    for package, file in (*NAMED_PHOTOS, *NONE_OF_THESE):
        with Image.open(_locate(package, file)) as image:
            hashes.append(difference_hash(image.convert("RGB")))
            hashes.append(difference_hash(_trimmed(image.convert("RGB"))))
    return [p for p in pictures if all((p.dhash ^ seen).bit_count() > LOOKALIKE_BITS for seen in hashes)]


def _trimmed(image: Image.Image) -> Image.Image:
    """Cut off a white margin, as the cut-outs have none."""
    box = image.convert("L").point(lambda level: 255 * (level < 250)).getbbox()
    return image.crop(box) if box else image


def _locate(package: str, file: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"The evaluation needs the pictures of {package}; pip install it.")
    return Path(spec.origin).parent / file


def photo_features(photos: tuple[tuple[str, str], ...], featurizer: ImageFeaturizer) -> tuple[Tensor, Tensor]:
    """Return features and class logits of the photographs, resized as the app does."""
    pixels = []
    for package, file in photos:
        with Image.open(_locate(package, file)) as image:
            pixels.append(prepare_pixels(image.convert("RGB"), PHOTO_MODE))
    features, logits = featurizer(np.stack(pixels))
    return torch.from_numpy(features), torch.from_numpy(logits)
