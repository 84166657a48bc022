"""Quantize an ONNX graph's weights and activations to int8; knows no model and no artifact.

Products with constant weights are quantized and nothing else. Softmax, LayerNorm, GELU, residual
sums and the products of two activations inside attention stay in float: quantizing those is what
turns vision transformers into noise (FQ-ViT, arXiv 2111.13824, table 4).

Weights are int8 by channel and activations uint8: ONNX Runtime's s8s8 kernels are several times
slower than u8s8 on x86. `reduce_range` makes 7-bit weights, which u8s8 products need where they add
two of them in 16 bits and would saturate (AVX2 and AVX-512 without VNNI).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
from onnx import TensorProto
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import QuantizationMode

from engines.onnx.files import copy_graph, load_graph

Ranges: TypeAlias = Mapping[str, tuple[float, float]]  # tensor name -> lowest and highest value
StaticFormat: TypeAlias = Literal["qdq", "qoperator"]


def weight_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes that multiply by constant weights, in the order they run.

    Convolutions are among them only in a convolutional tower: a vision transformer's one patch
    embedding is a hundredth of its work and sees raw pixels.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    num_convolutions = sum(node.op_type == "Conv" for node in model.graph.node)
    kinds = {"MatMul", "Conv"} if num_convolutions > 1 else {"MatMul"}
    return [node for node in model.graph.node if node.op_type in kinds and node.input[1] in constants]


def quantize_dynamically(
    model: onnx.ModelProto, nodes: Collection[str], *, reduce_range: bool
) -> onnx.ModelProto:
    """Return a graph that finds the range of each activation, by tensor, while it runs.

    Args:
        model: a float32 graph; not changed.
        nodes: names of the nodes to quantize. Convolutions among them are left alone, because
            ConvInteger is slower than a float convolution.
        reduce_range: see the module's docstring.
    """
    wanted = [node.name for node in model.graph.node if node.name in nodes and node.op_type == "MatMul"]
    if not wanted:
        return copy_graph(model)
    return _written_by(
        lambda target: quantize_dynamic(
            copy_graph(model),
            target,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=reduce_range,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=wanted,
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": TensorProto.FLOAT},
            use_external_data_format=True,
        )
    )


def quantize_statically(
    model: onnx.ModelProto, nodes: Collection[str], ranges: Ranges, *, form: StaticFormat, reduce_range: bool
) -> onnx.ModelProto:
    """Return a graph whose activations have ranges that were measured before.

    Args:
        model: a float32 graph; not changed.
        nodes: names of the nodes to quantize.
        ranges: of every input and output of those nodes.
        form: "qdq" keeps the operators between pairs of QuantizeLinear and DequantizeLinear, which
            the runtime fuses; "qoperator" writes QLinearMatMul and its kin.
        reduce_range: see the module's docstring.
    """
    if not nodes:
        return copy_graph(model)
    measured = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.items()
    }
    common: tuple[Any, ...] = (
        QuantType.QInt8,
        QuantType.QUInt8,
        TensorsData(CalibrationMethod.MinMax, measured),
        list(nodes),
        [],  # no nodes to exclude
        ["MatMul", "Conv"],
        {"ActivationSymmetric": False, "WeightSymmetric": True, "DefaultTensorType": TensorProto.FLOAT},
    )
    quantizer: Any
    if form == "qoperator":
        mode = QuantizationMode.QLinearOps
        quantizer = ONNXQuantizer(copy_graph(model), True, reduce_range, mode, True, *common)
    else:
        quantizer = QDQQuantizer(copy_graph(model), True, reduce_range, *common)
    quantizer.quantize_model()
    quantized: onnx.ModelProto = quantizer.model.model
    return quantized


def _written_by(quantize: Callable[[str], None]) -> onnx.ModelProto:
    """Return the graph that a function writes to the path it is given."""
    with TemporaryDirectory(prefix="siglip-quantize-") as folder:
        target = Path(folder) / "quantized.onnx"
        quantize(str(target))
        return load_graph(target)
