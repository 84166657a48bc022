"""Quantize a model with bitsandbytes and write what an engine later loads.

Run as `python -m engines.bnb.build FORMAT MODEL FOLDER`; the engine does so in a process of
its own, because quantizing needs the float32 weights, which the server is to be spared.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import bitsandbytes as bnb
from safetensors.torch import save_file
from torch import nn

from engines.artifacts.builders import builder_main
from engines.bnb.layers import STORED_TOWERS, empty_layer, make_config, stored_tensors
from engines.factory import resolve_for_builder
from engines.models import ModelSpec
from engines.pytorch.layers import replace_linear
from engines.pytorch.towers import load_towers, load_transformers_model, uses_transformers


def build(spec: ModelSpec, number_format: str, folder: Path) -> None:
    """Write a model's quantized weights into a folder.

    Raises:
        BackendUnavailableError: when a package that the model needs is missing.
        InvalidInputError: when the checkpoint's files are damaged.
    """
    if uses_transformers(spec):
        config = make_config(number_format)
        model = load_transformers_model(spec, quantization_config=config, device_map={"": "cpu"})
        model.save_pretrained(folder)
        return
    for name, tower in zip(STORED_TOWERS, load_towers(spec), strict=True):
        replace_linear(tower, partial(_quantize, number_format=number_format))
        save_file(stored_tensors(tower), folder / name)


def _quantize(layer: nn.Linear, number_format: str) -> nn.Module:
    quantized = empty_layer(layer, number_format)
    weight = layer.weight.detach()
    if isinstance(quantized, bnb.nn.Linear8bitLt):
        quantized.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False).to("cpu")
    else:
        options = {"quant_type": number_format, "requires_grad": False, "module": quantized}
        quantized.weight = bnb.nn.Params4bit(weight, **options).to("cpu")
    if layer.bias is not None:
        quantized.bias = nn.Parameter(layer.bias.detach(), requires_grad=False)
    return quantized


if __name__ == "__main__":
    number_format, model, folder = sys.argv[1:]
    raise SystemExit(builder_main(lambda: build(resolve_for_builder(model), number_format, Path(folder))))
