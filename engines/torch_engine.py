"""torch-fp32: the bundled models and transformers checkpoints as PyTorch modules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch

from engines.base import Embeddings, Pixels, Tokens, normalize, pad_tokens
from engines.errors import InferenceError, InvalidInputError
from engines.models import ModelSpec
from engines.torchvision_ops import ensure_torchvision_operators


class _Towers(Protocol):
    """Both towers of a model as functions of tensors; rows need not be normalised."""

    def images(self, pixel_values: torch.Tensor) -> torch.Tensor: ...

    def texts(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor: ...


class _BundledTowers:
    def __init__(self, spec: ModelSpec) -> None:
        from engines.bundled.model import load_bundled_model

        self._model = load_bundled_model(spec.name)

    def images(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self._model.embed_pixels(pixel_values)

    def texts(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self._model.embed_tokens(input_ids, attention_mask)


class _TransformersTowers:
    def __init__(self, spec: ModelSpec) -> None:
        ensure_torchvision_operators()  # transformers imports torchvision wherever it is installed
        from transformers import CLIPModel, SiglipModel

        model_class = SiglipModel if spec.family == "siglip" else CLIPModel
        try:
            loaded: Any = model_class.from_pretrained(
                spec.folder,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise InvalidInputError(f"Cannot load the checkpoint {str(spec.folder)!r}: {error}") from error
        self._model, report = loaded
        if missing := sorted(report["missing_keys"]):
            raise InvalidInputError(
                f"The checkpoint {str(spec.folder)!r} lacks {len(missing)} weights, {missing[0]} first."
            )
        self._model.eval()
        self._masked = spec.family != "siglip"

    def images(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return _pooled(self._model.get_image_features(pixel_values=pixel_values))

    def texts(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        # SigLIP was trained without a mask: its padding takes part in attention.
        mask = {"attention_mask": attention_mask} if self._masked else {}
        return _pooled(self._model.get_text_features(input_ids=input_ids, **mask))


class TorchEngine:
    """Runs a model in float32 with PyTorch; the reference that other engines are compared with."""

    name = "torch-fp32"

    def __init__(self, spec: ModelSpec, *, num_threads: int = 0) -> None:
        """Load the weights.

        Args:
            spec: the model.
            num_threads: threads per operator, for the whole process; 0 leaves PyTorch's choice.

        Raises:
            BackendUnavailableError: when a package that carries a tower is missing.
            InvalidInputError: when the checkpoint's files are damaged.
        """
        self.spec = spec
        if num_threads:
            torch.set_num_threads(num_threads)
        self._towers: _Towers = (
            _BundledTowers(spec) if spec.family == "bundled" else _TransformersTowers(spec)
        )

    def embed_pixels(self, pixels: Sequence[Pixels]) -> Embeddings:
        """Embed prepared images."""
        if not pixels:
            return np.empty((0, self.spec.dim), np.float32)
        batch = torch.from_numpy(np.stack(pixels))  # [n, 3, image_size, image_size]
        with torch.inference_mode(), _as_inference_error():
            return normalize(self._towers.images(batch).numpy())

    def embed_tokens(self, tokens: Sequence[Tokens]) -> Embeddings:
        """Embed tokenized texts."""
        if not tokens:
            return np.empty((0, self.spec.dim), np.float32)
        ids, mask = (torch.from_numpy(array) for array in pad_tokens(tokens, self.spec.context_length))
        with torch.inference_mode(), _as_inference_error():
            return normalize(self._towers.texts(ids, mask).numpy())


@contextmanager
def _as_inference_error() -> Iterator[None]:
    """Turn whatever PyTorch or a model raises on a batch into the one error that callers know."""
    try:
        yield
    except Exception as error:
        raise InferenceError(f"PyTorch failed on a batch: {error}") from error


def _pooled(output: object) -> torch.Tensor:
    """Return the embeddings; transformers 5 wraps them in an output object, 4 does not."""
    pooled = output if isinstance(output, torch.Tensor) else output.pooler_output  # type: ignore[attr-defined]
    assert isinstance(pooled, torch.Tensor)
    return pooled
