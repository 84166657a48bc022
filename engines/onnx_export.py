"""Export a bundled model's towers to ONNX: one graph for images, one for texts.

Run as `python -m engines.onnx_export MODEL FOLDER`; the ONNX engine does so in a process of its
own, because the server itself never imports torch.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from engines.bundled.model import BundledModel, load_bundled_model
from engines.models import get_bundled_model
from engines.onnx_engine import IMAGE_GRAPH, OPSET, TEXT_GRAPH


class _ImageTower(torch.nn.Module):
    def __init__(self, model: BundledModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model.embed_pixels(pixel_values)


class _TextTower(torch.nn.Module):
    def __init__(self, model: BundledModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.model.embed_tokens(input_ids, attention_mask)


def export_bundled_model(name: str, folder: Path) -> None:
    """Write both graphs of a bundled model into a folder; batch size and text length stay dynamic.

    Raises:
        UnknownModelError: when no bundled model has that name.
        BackendUnavailableError: when a package that carries a tower is missing.
    """
    spec = get_bundled_model(name)
    model = load_bundled_model(name)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=spec.context_length)
    pixels = torch.zeros(2, 3, spec.image_size, spec.image_size)
    ids = torch.ones(2, 16, dtype=torch.int64)
    _export(folder / IMAGE_GRAPH, _ImageTower(model), {"pixel_values": pixels}, [{0: batch}])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    _export(folder / TEXT_GRAPH, _TextTower(model), inputs, [{0: batch, 1: length}] * 2)


def _export(path: Path, tower: torch.nn.Module, inputs: dict[str, torch.Tensor], shapes: list[Any]) -> None:
    torch.onnx.export(
        tower.eval(),
        tuple(inputs.values()),
        path,
        input_names=list(inputs),
        output_names=["embeddings"],
        dynamic_shapes=tuple(shapes),
        opset_version=OPSET,
        external_data=False,
        dynamo=True,
        verbose=False,
    )


if __name__ == "__main__":
    export_bundled_model(sys.argv[1], Path(sys.argv[2]))
