"""Image features of every view of every picture, computed once and cached as half-precision arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.bundled.model import FEATURE_DIM, NUM_CLASSES
from engines.bundled.recipe.compose import VIEW_MODE, compose_view, prepare_pixels
from engines.bundled.recipe.cutouts import Picture
from engines.bundled.recipe.towers_onnx import ImageFeaturizer

_BATCH = 16
_NUM_THREADS = 2


@dataclass(frozen=True, slots=True)
class Features:
    """What the image tower saw in one view of all listed pictures."""

    pooled: NDArray[np.float16]  # [n, FEATURE_DIM]
    class_logits: NDArray[np.float16]  # [n, NUM_CLASSES]


def view_features(pictures: Sequence[Picture], view: int, work_dir: Path) -> Features:
    """Return the features of one view of the pictures, from the cache when the same list was seen before."""
    digest = hashlib.sha256("\n".join(picture.item.key for picture in pictures).encode()).hexdigest()[:12]
    path = work_dir / f"view-{digest}-{VIEW_MODE}-{view}.npz"
    if not path.exists():
        pooled, logits = _compute(pictures, view, ImageFeaturizer(work_dir, _NUM_THREADS))
        np.savez(path, pooled=pooled, class_logits=logits)
    with np.load(path) as arrays:
        return Features(arrays["pooled"], arrays["class_logits"])


def _compute(
    pictures: Sequence[Picture], view: int, featurizer: ImageFeaturizer
) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    pooled = np.empty((len(pictures), FEATURE_DIM), np.float16)
    logits = np.empty((len(pictures), NUM_CLASSES), np.float16)

    def pixels(start: int) -> NDArray[np.float32]:
        return np.stack(
            [
                prepare_pixels(compose_view(picture, view).convert("RGB"), VIEW_MODE)
                for picture in pictures[start : start + _BATCH]
            ]
        )

    with ThreadPoolExecutor(1) as pool:  # draws the next batch while the runtime computes this one
        starts = range(0, len(pictures), _BATCH)
        upcoming = pool.submit(pixels, 0)
        for start in starts:
            batch = upcoming.result()
            upcoming = pool.submit(pixels, start + _BATCH) if start + _BATCH < len(pictures) else upcoming
            pooled[start : start + _BATCH], logits[start : start + _BATCH] = featurizer(batch)
    return pooled, logits
