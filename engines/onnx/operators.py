"""Which operators ONNX Runtime executes for a graph; it rewrites graphs when it opens them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import onnxruntime as ort

from engines.errors import BackendUnavailableError
from engines.preparation.inputs import Inputs

_INTEGER_KERNELS = {  # any of them shows that the weights are multiplied as integers
    "dynamic": {"DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulInteger"},
    "qdq": {"QLinearMatMul", "MatMulIntegerToFloat", "QGemm", "QLinearConv"},
    "qoperator": {"QLinearMatMul", "MatMulIntegerToFloat", "QGemm", "QLinearConv"},
    "4bit": {"MatMulNBits"},
}


_QUANTIZED = {"MatMulInteger", "QuantizeLinear", "QLinearMatMul", "QLinearConv", "MatMulNBits"}


def is_quantized(model: onnx.ModelProto) -> bool:
    """Tell whether any product of a graph has quantized weights, or all of them had to stay in float."""
    return any(node.op_type in _QUANTIZED for node in model.graph.node)


def executed_operators(path: Path, item: Inputs) -> dict[str, int]:
    """Run a graph once with the profiler on; return how many nodes of each operator ran, the most first."""
    with TemporaryDirectory(prefix="siglip-profile-") as folder:
        options = ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.log_severity_level = 3
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        session.run(None, item)
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    ran = [event for event in events if event.get("cat") == "Node" and "_kernel_time" in event["name"]]
    return dict(Counter(event["args"]["op_name"] for event in ran).most_common())


def check_operators(engine: str, method: str, operators: dict[str, int]) -> None:
    """Make sure that a quantized graph runs on the kernels it was written for.

    Raises:
        BackendUnavailableError: when it does not, for then neither its speed nor its accuracy is known.
    """
    has_weights = {"MatMul", "Conv", "Gemm", "FusedMatMul", "FusedConv"} & operators.keys()
    if has_weights and not _INTEGER_KERNELS[method] & operators.keys():
        raise BackendUnavailableError(
            f"This ONNX Runtime ({ort.__version__}) runs none of the quantized kernels of {engine};"
            f" it ran {', '.join(operators)}. Choose another engine."
        )
    if method != "4bit" and "MatMulNBits" in operators:
        raise BackendUnavailableError(
            f"This ONNX Runtime ({ort.__version__}) turns {engine} into MatMulNBits, which is slower than"
            " float32; choose another engine."
        )
