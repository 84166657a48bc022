"""Measure what float32 arithmetic reaches on this machine at best, the yardstick for an engine's blocks.

It is the rate of large matrix products, not of the processor's instructions: what a product leaves of those
is no engine's fault. `engines.machine.int8_rate` has the same for 8 bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.onnx.ort_runtime import session_options

# Rows, inner, columns: a square one, and a base-size layer's with the tokens of several images.
_SHAPES = ((1536, 1536, 1536), (784, 768, 3072), (1568, 3072, 768))
_NUM_WARMUP, _DURATION_S = 2, 0.25


@dataclass(frozen=True, slots=True)
class Float32Peak:
    """The best rate that was found."""

    gflops: float  # 10^9 operations a second; a multiplication and its addition are two
    library: str  # whose product it was


def measure_float32_peak(num_threads: int) -> Float32Peak:
    """Return the best rate of a few products in NumPy and in ONNX Runtime.

    Two libraries, because neither is the faster one on all processors. NumPy's threads are those of the
    process, which its environment sets.
    """
    rng = np.random.default_rng(0)
    peaks = []
    for rows, inner, columns in _SHAPES:
        left = rng.standard_normal((rows, inner), dtype=np.float32)
        right = rng.standard_normal((inner, columns), dtype=np.float32)
        flop = 2 * rows * inner * columns
        for library, product in _PRODUCTS.items():
            seconds = _fastest_s(product(left, right, num_threads))
            peaks.append(Float32Peak(flop / seconds / 1e9, library))
    return max(peaks, key=lambda peak: peak.gflops)


def _numpy_product(
    left: NDArray[np.float32], right: NDArray[np.float32], num_threads: int
) -> Callable[[], object]:
    products = np.empty((left.shape[0], right.shape[1]), np.float32)
    return lambda: np.matmul(left, right, out=products)


def _ort_product(
    left: NDArray[np.float32], right: NDArray[np.float32], num_threads: int
) -> Callable[[], object]:
    """Return a call of a session whose one node multiplies by constant weights, as a layer does."""
    rows, columns = left.shape[0], right.shape[1]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["activations", "weights"], ["products"])],
        "product",
        [helper.make_tensor_value_info("activations", TensorProto.FLOAT, left.shape)],
        [helper.make_tensor_value_info("products", TensorProto.FLOAT, [rows, columns])],
        [numpy_helper.from_array(right, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = ort.InferenceSession(
        model.SerializeToString(), session_options(num_threads), providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"activations": left})


_PRODUCTS = MappingProxyType({"NumPy": _numpy_product, "ONNX Runtime": _ort_product})


def _fastest_s(call: Callable[[], object]) -> float:
    for _ in range(_NUM_WARMUP):
        call()
    fastest_s, end_s = float("inf"), time.perf_counter() + _DURATION_S
    while time.perf_counter() < end_s:
        start_s = time.perf_counter()
        call()
        fastest_s = min(fastest_s, time.perf_counter() - start_s)
    return fastest_s
