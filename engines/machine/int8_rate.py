"""Measure this machine's int8 arithmetic, the yardstick for towers: of instructions and of products.

The peak is that of the multiply-accumulate instructions in registers (int8_peak.c, compiled for this
CPU). The rate is the best of a few MatMulInteger products (unsigned by signed 8 bits) in ONNX Runtime,
of shapes as in base-size towers: what attention, normalisation and activation leave of it is a tower's.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from engines.machine.cpu import read_cpu

_SHAPES = ((196, 768, 3072), (784, 3072, 768), (1568, 3072, 768))  # rows, inner, columns
_NUM_WARMUP, _DURATION_S = 3, 0.5
_PEAK_SOURCE = Path(__file__).parent / "int8_peak.c"


def measure_int8_peak_gops(num_threads: int) -> float | None:
    """Return the instructions' peak in 10^9 operations a second.

    None where it is not known: there is no C compiler, or the CPU's best int8 instructions are none that
    int8_peak.c, the compiler and the system let a program use.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    with TemporaryDirectory(prefix="siglip-int8-peak-") as folder:
        program = str(Path(folder) / "int8_peak")
        # An old compiler's "native" leaves out what it does not know; with less the peak would be too low.
        has = [f"-DHAS_{name.upper()}" for name in sorted(read_cpu().instructions)]
        build = [compiler, "-O2", "-march=native", "-pthread", *has, str(_PEAK_SOURCE), "-o", program]
        if subprocess.run(build, capture_output=True, check=False).returncode:
            return None
        run = subprocess.run([program, str(num_threads)], capture_output=True, text=True, check=False)
        return None if run.returncode else float(run.stdout)


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
