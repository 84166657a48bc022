"""Export a model's towers to ONNX: one graph for images, one for texts.

Run as `python -m engines.onnx.export MODEL FOLDER`; the ONNX engine does so in a process of its
own, because the server itself never imports torch.
"""

from __future__ import annotations

import sys
from ast import literal_eval
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engines.artifacts.builders import builder_main
from engines.base import Tokens
from engines.factory import resolve_for_builder
from engines.models import ModelSpec
from engines.onnx.files import save_graph, simplify
from engines.onnx.graphs import EMBEDDINGS, IMAGE_GRAPH, OPSET, PATCHES, TEXT_GRAPH
from engines.preparation.inputs import Inputs, image_inputs, text_inputs
from engines.pytorch.towers import load_towers


def export_model(spec: ModelSpec, folder: Path) -> None:
    """Write both graphs of a model into a folder; batch size and text length stay dynamic.

    Raises:
        BackendUnavailableError: when a package that the model needs is missing.
        InvalidInputError: when the checkpoint's files are damaged.
    """
    towers = load_towers(spec)
    batch = torch.export.Dim("batch")
    pixels = np.zeros((3, spec.image_size, spec.image_size), np.float32)
    images = image_inputs(spec, [pixels, pixels])
    shapes = [{0: batch} for _ in images]
    _export(folder / IMAGE_GRAPH, towers.image, images, [EMBEDDINGS, PATCHES], shapes)
    length = spec.context_length if spec.pad_to_context else 16
    texts = text_inputs(spec, [Tokens((1,) * length, truncated=False)] * 2)
    axes = (
        {0: batch}
        if spec.pad_to_context
        else {0: batch, 1: torch.export.Dim("length", max=spec.context_length)}
    )
    _export(folder / TEXT_GRAPH, towers.text, texts, [EMBEDDINGS], [axes for _ in texts])


def _export(
    path: Path, tower: torch.nn.Module, inputs: Inputs, outputs: list[str], shapes: list[Any]
) -> None:
    program: Any = torch.onnx.export(
        tower,
        tuple(torch.from_numpy(array) for array in inputs.values()),
        input_names=list(inputs),
        output_names=outputs,
        dynamic_shapes=tuple(shapes),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    _name_nodes(program.model)
    model = program.model_proto
    simplify(model)
    save_graph(model, path)


def _name_nodes(model: Any) -> None:
    """Name each node after the module it came from, so that a block can be found in any graph made of it."""
    for index, node in enumerate(model.graph):
        scopes = literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "['']"))
        module = next((scope for scope in reversed(scopes[:-1]) if scope), "")
        node.name = f"{module}/{node.op_type}_{index}"
        node.metadata_props.clear()  # stack traces; half of the graph file


if __name__ == "__main__":
    raise SystemExit(builder_main(lambda: export_model(resolve_for_builder(sys.argv[1]), Path(sys.argv[2]))))
