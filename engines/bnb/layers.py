"""bitsandbytes' number formats: configuration, layers, and the tensors that are stored of them."""

from __future__ import annotations

import bitsandbytes as bnb
import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig

from engines.pytorch.layers import FLOAT_LAYERS

STORED_TOWERS = ("image.safetensors", "text.safetensors")
# What bitsandbytes' kernel for AVX-512 BF16 divides a 4-bit weight [out, in] into; other shapes it refuses.
_PACKED_OUT, _PACKED_IN = 32, 64
_OUTLIER = 6.0  # activations beyond it are multiplied in float32, as LLM.int8() has it (arXiv 2208.07339)


def make_config(number_format: str) -> BitsAndBytesConfig:
    """Return the configuration for int8, nf4 or fp4 that computes in float32."""
    kept = [f".*{name}" for name in FLOAT_LAYERS]
    if number_format == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=_OUTLIER, llm_int8_skip_modules=kept)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=number_format,
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=kept,
    )


def empty_layer(layer: nn.Linear, number_format: str) -> nn.Module:
    """Return a quantized layer of the same shape, without weights."""
    sizes = (layer.in_features, layer.out_features, layer.bias is not None)
    if number_format == "int8":
        empty: nn.Module = bnb.nn.Linear8bitLt(
            *sizes, has_fp16_weights=False, threshold=_OUTLIER, device="meta"
        )
    else:
        empty = bnb.nn.Linear4bit(
            *sizes, compute_dtype=torch.float32, quant_type=number_format, device="meta"
        )
    return empty


def keep_odd_layers_unpacked(tower: nn.Module) -> None:
    """Keep bitsandbytes from packing 4-bit weights of shapes that its AVX-512 kernel cannot take.

    SigLIP so400m has such layers: its MLP is 4,304 wide. They run as on other processors.
    """
    for layer in tower.modules():
        if isinstance(layer, bnb.nn.Linear4bit):
            divides = layer.out_features % _PACKED_OUT == 0 and layer.in_features % _PACKED_IN == 0
            layer.support_avx512bf16_for_cpu &= divides


def stored_tensors(tower: nn.Module) -> dict[str, Tensor]:
    """Return all of a tower's tensors by name: those that state_dict() leaves out as well."""
    tensors = {name: buffer for name, buffer in tower.named_buffers()} | tower.state_dict()
    return {name: tensor.contiguous().clone() for name, tensor in tensors.items()}


def fill_tower(tower: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Give an empty tower, its quantized layers in place, the tensors that were stored of it."""
    for path, module in tower.named_modules():
        prefix = f"{path}." if path else ""
        for name, _ in list(module.named_parameters(recurse=False)):
            module.register_parameter(name, _parameter(module, name, prefix, tensors))
        for name, _ in list(module.named_buffers(recurse=False)):
            module._buffers[name] = tensors[prefix + name]


def _parameter(module: nn.Module, name: str, prefix: str, tensors: dict[str, Tensor]) -> nn.Parameter:
    tensor = tensors[prefix + name]
    parameter: nn.Parameter
    if name == "weight" and isinstance(module, bnb.nn.Linear8bitLt):
        scales = tensors[f"{prefix}SCB"]
        parameter = bnb.nn.Int8Params(
            tensor, requires_grad=False, has_fp16_weights=False, CB=tensor, SCB=scales
        )
    elif name == "weight" and isinstance(module, bnb.nn.Linear4bit):
        begin = f"{prefix}weight."
        stats = {key: value for key, value in tensors.items() if key.startswith(begin)}
        parameter = bnb.nn.Params4bit.from_prequantized(
            tensor, stats, requires_grad=False, device="cpu", module=module
        )
    else:
        parameter = nn.Parameter(tensor, requires_grad=False)
    return parameter
