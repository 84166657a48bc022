"""Measure the int8 arithmetic that matrix products reach on this machine, as a yardstick for towers.

This is no instruction peak, which only hand-written register loops reach: it is the best of a few
MatMulInteger products (unsigned by signed 8 bits) in ONNX Runtime, of shapes as in base-size towers. A
tower's share of it says what attention, normalisation and activation leave of the products' speed.
"""

from __future__ import annotations

import time

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

_SHAPES = ((196, 768, 3072), (784, 3072, 768), (1568, 3072, 768))  # rows, inner, columns
_NUM_WARMUP, _DURATION_S = 3, 0.5


def measure_int8_gops(num_threads: int) -> float:
    """Return the best rate in 10^9 operations a second; a multiplication and its addition are two."""
    return max(_gops(shape, num_threads) for shape in _SHAPES)


def _gops(shape: tuple[int, int, int], num_threads: int) -> float:
    rows, inner, columns = shape
    rng = np.random.default_rng(0)
    weights = rng.integers(-63, 64, (inner, columns), dtype=np.int8)  # 7 bits, which cannot saturate AVX2
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["activations", "weights"], ["products"])],
        "product",
        [helper.make_tensor_value_info("activations", TensorProto.UINT8, [rows, inner])],
        [helper.make_tensor_value_info("products", TensorProto.INT32, [rows, columns])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {"activations": rng.integers(0, 256, (rows, inner), dtype=np.uint8)}
    for _ in range(_NUM_WARMUP):
        session.run(None, feed)
    fastest_s, start_s = float("inf"), time.perf_counter()
    while time.perf_counter() - start_s < _DURATION_S:
        call_start_s = time.perf_counter()
        session.run(None, feed)
        fastest_s = min(fastest_s, time.perf_counter() - call_start_s)
    return 2 * rows * inner * columns / fastest_s / 1e9
