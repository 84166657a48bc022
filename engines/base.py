"""The engine contract: what every runtime must offer, in arrays alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.models import ModelSpec

Pixels: TypeAlias = NDArray[np.float32]  # [3, image_size, image_size], normalised as the model was trained
Embeddings: TypeAlias = NDArray[np.float32]  # [n, dim], rows L2-normalised


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text as token ids, special tokens included; padded only where the model demands it."""

    ids: tuple[int, ...]
    truncated: bool  # the text was longer than the model's context


class Engine(Protocol):
    """A loaded dual encoder that turns prepared images and texts into embeddings.

    Row i belongs to input i and, up to rounding, does not depend on what else is in the batch;
    no input gives an array of shape [0, dim]. An engine knows no queue and no threads: the
    batcher calls it from one thread only.

    Both methods raise InferenceError when the runtime fails.
    """

    spec: ModelSpec
    name: str  # backend and precision, such as "onnx-fp32"

    def embed_pixels(self, pixels: Sequence[Pixels]) -> Embeddings:
        """Embed images that `Preprocessor.prepare_image` made."""
        ...

    def embed_tokens(self, tokens: Sequence[Tokens]) -> Embeddings:
        """Embed texts that `Preprocessor.prepare_text` made."""
        ...


def normalize(rows: NDArray[np.float32]) -> Embeddings:
    """Scale each row to length one; a zero row stays zero instead of turning into NaN."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    unit: Embeddings = (rows / np.maximum(lengths, 1e-12)).astype(np.float32, copy=False)
    return unit


def pad_tokens(tokens: Sequence[Tokens], context_length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stack texts to (ids, mask), each [n, length] and padded on the right.

    The length is rounded up to a multiple of eight, as far as the context allows, so that a runtime
    sees few shapes and its memory pool stays small. The filler's id does not matter: models that
    look at padding get their texts already padded by the Preprocessor, the others get the mask.
    """
    longest = max(len(text.ids) for text in tokens)
    length = max(longest, min(-(-longest // 8) * 8, context_length))
    ids = np.zeros((len(tokens), length), np.int64)
    mask = np.zeros((len(tokens), length), np.int64)
    for row, text in enumerate(tokens):
        ids[row, : len(text.ids)] = text.ids
        mask[row, : len(text.ids)] = 1
    return ids, mask
