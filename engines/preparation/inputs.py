"""Stack prepared images and texts into the named arrays that a tower takes, the same for every runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.base import Pixels, Tokens
from engines.models import ModelSpec
from engines.preparation.naflex import stack_patches

Inputs: TypeAlias = dict[str, NDArray[np.generic]]  # in the order of the tower's arguments


def image_inputs(spec: ModelSpec, pixels: Sequence[Pixels]) -> Inputs:
    """Return {"pixel_values": [n, 3, height, width]} for images of the model's size.

    A NaFlex model gets {"pixel_values", "pixel_attention_mask", "position_weights"} as
    `stack_patches` makes them.

    Raises:
        ValueError: when the images do not have the same shape, or cannot be cut into patches.
    """
    if spec.naflex is None:
        return {"pixel_values": np.stack(pixels)}
    facts = spec.naflex
    stacked = stack_patches(pixels, facts.patch_size, facts.max_num_patches, facts.position_grid)
    return dict(zip(("pixel_values", "pixel_attention_mask", "position_weights"), stacked, strict=True))


def text_inputs(spec: ModelSpec, tokens: Sequence[Tokens]) -> Inputs:
    """Return {"input_ids", "attention_mask"}, both [n, length]."""
    ids, mask = pad_tokens(tokens, spec.context_length)
    return {"input_ids": ids, "attention_mask": mask}


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
