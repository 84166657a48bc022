"""How much arithmetic an operator does, by the shapes that a runtime's profile tells.

Products and convolutions are counted, a multiplication and its addition as two operations, as
`torch.utils.flop_counter` counts them; all else counts as nothing. Channels that ONNX Runtime adds to fill
its blocks (NCHWc) are computed, so they count: a convolutional tower's operators do a little more than its
model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

Shape: TypeAlias = Sequence[int]  # [] for a scalar, and for what is no tensor

_ORT_PRODUCT = re.compile(r"MatMul|Gemm")  # DynamicQuantizeMatMul, QGemm, MatMulNBits, ...
_ORT_CONVOLUTION = re.compile(r"Conv")  # FusedConv, QLinearConv, ConvInteger, ...
# Whose weights are packed, so that no profile tells how many they are; the second one may only call others.
_TORCH_PACKED = re.compile(r"quantized::(?:linear|conv)|bitsandbytes::gemm_4bit$")


def ort_flop(operator: str, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int | None:
    """Return the operations of a node of ONNX Runtime; None when its shapes do not tell.

    Args:
        operator: its kind.
        inputs: their shapes; packed weights may be missing, but never the activations, which come first.
        outputs: their shapes.
    """
    is_convolution = bool(_ORT_CONVOLUTION.search(operator))
    if not is_convolution and not _ORT_PRODUCT.search(operator):
        return 0
    if not inputs or not inputs[0] or not outputs:
        return None
    if not is_convolution:
        return 2 * math.prod(outputs[0]) * _inner_size(inputs[0], outputs[0])
    weights = [shape for shape in inputs[1:] if len(shape) == len(inputs[0])]
    return 2 * math.prod(outputs[0]) * math.prod(weights[0][1:]) if weights else None


def _inner_size(first: Shape, output: Shape) -> int:
    """Return over how many values a product adds up; its first factor may be transposed."""
    is_matrix = min(len(first), len(output)) >= 2
    transposed = is_matrix and output[-2] != first[-2] and output[-2] == first[-1]
    return first[-2] if transposed else first[-1]


def torch_flop(operator: str, inputs: Sequence[Shape], values: Sequence[Any]) -> int | None:
    """Return the operations of an operator of PyTorch; None when the profile does not tell.

    Args:
        operator: its name.
        inputs: their shapes.
        values: of those inputs that are no tensors, None for tensors.
    """
    if count := _TORCH.get(operator):
        return count(inputs, values)
    return None if _TORCH_PACKED.match(operator) else 0


def _product(inputs: Sequence[Shape], _: Sequence[Any]) -> int:
    return 2 * math.prod(inputs[0]) * inputs[1][-1]


def _added_product(inputs: Sequence[Shape], _: Sequence[Any]) -> int:
    return 2 * math.prod(inputs[1]) * inputs[2][-1]


def _product_of_4_bits(inputs: Sequence[Shape], values: Sequence[Any]) -> int:
    num_outputs: int = values[2][0]  # of the weights' shape before they were packed
    return 2 * math.prod(inputs[0]) * num_outputs


def _attention(inputs: Sequence[Shape], _: Sequence[Any]) -> int:
    queries, keys = inputs[:2]  # [batch, heads, length, dim]
    return 4 * math.prod(queries) * keys[-2]


def _convolution(inputs: Sequence[Shape], values: Sequence[Any]) -> int:
    return _convolved(inputs, strides=values[4], paddings=values[3], dilations=values[5])


def _slow_convolution(inputs: Sequence[Shape], values: Sequence[Any]) -> int:
    dilations = values[6] if len(values) > 6 else [1] * len(values[4])
    return _convolved(inputs, strides=values[4], paddings=values[5], dilations=dilations)


def _convolved(
    inputs: Sequence[Shape], *, strides: Sequence[int], paddings: Sequence[int], dilations: Sequence[int]
) -> int:
    images, weights = inputs[:2]
    places = [
        (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for size, kernel, padding, stride, dilation in zip(
            images[2:], weights[2:], paddings, strides, dilations, strict=True
        )
    ]
    return 2 * images[0] * math.prod([*places, *weights])


_TORCH: Mapping[str, Callable[[Sequence[Shape], Sequence[Any]], int]] = MappingProxyType(
    {
        "aten::mm": _product,
        "aten::bmm": _product,
        "aten::_int_mm": _product,
        "aten::addmm": _added_product,
        "aten::baddbmm": _added_product,
        "bitsandbytes::gemv_4bit": _product_of_4_bits,
        "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
        # input, weight, bias, padding, stride, dilation, groups
        "aten::mkldnn_convolution": _convolution,
        # input, weight, kernel size, bias, stride, padding, and the second one's dilation
        "aten::_slow_conv2d_forward": _slow_convolution,
        "aten::slow_conv_dilated2d": _slow_convolution,
    }
)
