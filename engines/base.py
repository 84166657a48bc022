"""The engine contract: what every runtime must offer, in arrays alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.models import ModelSpec

# [3, height, width], normalised as the model was trained; image_size squared, except NaFlex models'
Pixels: TypeAlias = NDArray[np.float32]
Embeddings: TypeAlias = NDArray[np.float32]  # [n, dim], rows L2-normalised
# [n, tokens, hidden], the image tower's last hidden states: what a LLaVA-style projector takes
PatchFeatures: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text as token ids, special tokens included; padded only where the model demands it."""

    ids: tuple[int, ...]
    truncated: bool  # the text was longer than the model's context
    unknown: bool = False  # part of the text is nothing that the tokenizer knows


class Engine(Protocol):
    """A loaded dual encoder that turns prepared images and texts into embeddings.

    Row i belongs to input i and, up to rounding, does not depend on what else is in the batch;
    no input gives an array of shape [0, dim]. An engine knows no queue and no threads: the
    batcher calls it from one thread at a time.

    All methods raise InferenceError when the runtime fails.
    """

    spec: ModelSpec
    name: str  # backend and precision, such as "onnx-fp32"

    def embed_pixels(self, pixels: Sequence[Pixels]) -> Embeddings:
        """Embed images that `Preprocessor.prepare_image` made."""
        ...

    def embed_patches(self, pixels: Sequence[Pixels]) -> PatchFeatures:
        """Return the image tower's last hidden states; a NaFlex model's rows of padding are zero."""
        ...

    def embed_tokens(self, tokens: Sequence[Tokens]) -> Embeddings:
        """Embed texts that `Preprocessor.prepare_text` made."""
        ...

    def single_threaded(self) -> Engine | None:
        """Return a twin that computes on its caller's thread alone and takes calls from several at once.

        None where the runtime cannot do that. The twin needs memory of its own.
        """
        ...


def normalize(rows: NDArray[np.float32]) -> Embeddings:
    """Scale each row to length one; a zero row stays zero instead of turning into NaN."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    unit: Embeddings = (rows / np.maximum(lengths, 1e-12)).astype(np.float32, copy=False)
    return unit
