"""NaFlex, SigLIP 2's native aspect ratio: which size an image gets, and its patches in one shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engines.base import Pixels

_PRECISION = 1e-5  # of the binary search for the scale; transformers' value decides between two sizes


def target_size(height: int, width: int, patch_size: int, max_num_patches: int) -> tuple[int, int]:
    """Return the (height, width) that keep the aspect ratio as well as whole patches can.

    The largest size of at most max_num_patches patches, found by the same binary search as in
    transformers' Siglip2ImageProcessor: its rounding decides at the border.
    """
    low, high = _PRECISION / 10, 100.0
    while high - low >= _PRECISION:
        scale = (low + high) / 2
        rows, columns = (_num_patches(length, scale, patch_size) for length in (height, width))
        low, high = (scale, high) if rows * columns <= max_num_patches else (low, scale)
    rows, columns = (_num_patches(length, low, patch_size) for length in (height, width))
    return rows * patch_size, columns * patch_size


def _num_patches(length: int, scale: float, patch_size: int) -> int:
    return max(1, math.ceil(length * scale / patch_size))


def stack_patches(
    images: Sequence[Pixels], patch_size: int, max_num_patches: int, grid: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Cut images of any size into patches and pad them to one number of patches.

    Args:
        images: sides are multiples of the patch size.
        patch_size: pixels, square.
        max_num_patches: P below.
        grid: rows and columns of the model's table of position embeddings.

    Returns:
        Patches [n, P, patch_size * patch_size * 3], their mask [n, P], and for every patch the
        weights of the table's entries in its position embedding [n, P, grid * grid].

    Raises:
        ValueError: when an image cannot be cut so.
    """
    count = len(images)
    patches = np.zeros((count, max_num_patches, patch_size * patch_size * 3), np.float32)
    mask = np.zeros((count, max_num_patches), np.int64)
    weights = np.zeros((count, max_num_patches, grid * grid), np.float32)
    for row, pixels in enumerate(images):
        channels, height, width = pixels.shape
        rows, columns = height // patch_size, width // patch_size
        cut = pixels.reshape(channels, rows, patch_size, columns, patch_size).transpose(1, 3, 2, 4, 0)
        used = rows * columns
        patches[row, :used] = cut.reshape(used, patch_size * patch_size * channels)
        mask[row, :used] = 1
        weights[row, :used] = position_weights(rows, columns, grid)
    return patches, mask, weights


@lru_cache(maxsize=64)  # a quarter of a megabyte each
def position_weights(rows: int, columns: int, grid: int) -> NDArray[np.float32]:
    """Return the matrix [rows * columns, grid * grid] that resizes a table of position embeddings.

    The same as torch's `interpolate(mode="bilinear", antialias=True, align_corners=False)`. That
    function needs the target size, which differs from image to image and which a graph with a
    dynamic batch cannot hold; a matrix product needs nothing. One difference: torch 2.13's CPU kernel
    goes wrong at a single column, which images taller than about max_num_patches times their width get.
    """
    weights = np.kron(_axis_weights(grid, rows), _axis_weights(grid, columns)).astype(np.float32)
    weights.setflags(write=False)  # callers share it
    return weights


def _axis_weights(source: int, target: int) -> NDArray[np.float64]:
    """Return the matrix [target, source] of a triangle filter, widened where it has to shrink."""
    scale = source / target
    support = max(scale, 1.0)
    centers = scale * (np.arange(target) + 0.5)
    first = np.maximum((centers - support + 0.5).astype(int), 0)
    last = np.minimum((centers + support + 0.5).astype(int), source)
    positions = np.arange(source)
    distances = np.abs(positions + 0.5 - centers[:, None]) / support
    inside = (positions >= first[:, None]) & (positions < last[:, None])
    weights = np.where(inside, np.maximum(1 - distances, 0), 0)
    normalised: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normalised
