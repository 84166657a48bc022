"""torch-fp32 and torch-bf16: any model as PyTorch modules.

torch-fp32 is the reference that other engines are compared with. torch-bf16 halves the weights in
memory; it is fast only on processors with bfloat16 instructions (AVX-512 BF16, AMX, ARMv8.6).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from engines.base import Embeddings, PatchFeatures, Pixels, Tokens, normalize
from engines.errors import InferenceError
from engines.models import ModelSpec
from engines.preparation.inputs import Inputs, image_inputs, text_inputs
from engines.pytorch.towers import Towers, load_towers


class TorchEngine:
    """Runs both towers with PyTorch in inference mode."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        name: str,
        towers: Towers,
        dtype: torch.dtype = torch.float32,
        num_threads: int = 0,
        folder: Path | None = None,
    ) -> None:
        """Take loaded towers.

        Args:
            spec: the model.
            name: the engine's name.
            towers: the model's towers, in whatever precision.
            dtype: what the towers take for real numbers; embeddings are float32 all the same.
            num_threads: threads per operator, for the whole process; 0 leaves PyTorch's choice.
            folder: of the files that the towers came from; the checkpoint's when None.
        """
        self.spec = spec
        self.folder = folder or spec.folder
        self.name = name
        if num_threads:
            torch.set_num_threads(num_threads)
        self.towers = towers
        self._dtype = dtype

    def embed_pixels(self, pixels: Sequence[Pixels]) -> Embeddings:
        """Embed prepared images."""
        if not pixels:
            return np.empty((0, self.spec.dim), np.float32)
        embeddings, _ = self._run_image(pixels)
        return normalize(embeddings.float().numpy())

    def embed_patches(self, pixels: Sequence[Pixels]) -> PatchFeatures:
        """Return the image tower's last hidden states."""
        if not pixels:
            return np.empty((0, 0, 0), np.float32)
        _, patches = self._run_image(pixels)
        features: PatchFeatures = patches.float().numpy()
        return features

    def embed_tokens(self, tokens: Sequence[Tokens]) -> Embeddings:
        """Embed tokenized texts."""
        if not tokens:
            return np.empty((0, self.spec.dim), np.float32)
        with torch.inference_mode(), _as_inference_error():
            rows: torch.Tensor = self.towers.text(*self._tensors(text_inputs(self.spec, tokens)))
            return normalize(rows.float().numpy())

    def single_threaded(self) -> None:
        """Return nothing: PyTorch's number of threads belongs to the whole process."""
        return None

    def _run_image(self, pixels: Sequence[Pixels]) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.inference_mode(), _as_inference_error():
            embeddings, patches = self.towers.image(*self._tensors(image_inputs(self.spec, pixels)))
            return embeddings, patches

    def _tensors(self, inputs: Inputs) -> list[torch.Tensor]:
        tensors = [torch.from_numpy(array) for array in inputs.values()]
        return [tensor.to(self._dtype) if tensor.is_floating_point() else tensor for tensor in tensors]


def load_torch_engine(spec: ModelSpec, num_threads: int = 0) -> TorchEngine:
    """Load a model in float32.

    Raises:
        BackendUnavailableError: when a package that the model needs is missing.
        InvalidInputError: when the checkpoint's files are damaged.
    """
    return TorchEngine(spec, name="torch-fp32", towers=load_towers(spec), num_threads=num_threads)


def load_torch_bf16_engine(spec: ModelSpec, num_threads: int = 0) -> TorchEngine:
    """Load a model and keep it in bfloat16.

    Raises:
        BackendUnavailableError: when a package that the model needs is missing.
        InvalidInputError: when the checkpoint's files are damaged.
    """
    towers = load_towers(spec)
    for tower in towers:
        _to_bfloat16(tower)
    return TorchEngine(spec, name="torch-bf16", towers=towers, dtype=torch.bfloat16, num_threads=num_threads)


def _to_bfloat16(tower: nn.Module) -> None:
    """Convert all but convolutions and their batch norms, whose inputs and outputs are cast.

    Without AVX-512 PyTorch convolves bfloat16 in plain loops (a depthwise layer took four times as
    long).
    """
    for module in tower.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda _, inputs: tuple(tensor.float() for tensor in inputs))
            module.register_forward_hook(lambda _, __, output: output.bfloat16())
        else:
            module._apply(lambda own: own.bfloat16() if own.is_floating_point() else own, recurse=False)


@contextmanager
def _as_inference_error() -> Iterator[None]:
    """Turn whatever PyTorch or a model raises on a batch into the one error that callers know."""
    try:
        yield
    except Exception as error:
        raise InferenceError(f"PyTorch failed on a batch: {error}") from error
