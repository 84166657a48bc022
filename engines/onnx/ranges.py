"""Measure the ranges of activations that static quantization needs, by three rules in one pass."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import onnxruntime as ort
from onnx import TensorProto, helper
from onnxruntime.quantization.calibrate import HistogramCollector, TensorsData

from engines.onnx.entropy import EntropyCollector
from engines.onnx.files import copy_graph, save_graph
from engines.onnx.quantize import Ranges
from engines.preparation.inputs import Inputs

_BINS, _QUANTIZED_BINS = 256, 128  # of a histogram, as many as uint8 has; of what entropy compares it with
_PERCENTILES = (99.999, 99.99)


def measure_ranges(
    model: onnx.ModelProto, nodes: Collection[str], items: Iterable[Inputs]
) -> dict[str, Ranges]:
    """Return, for each rule, the ranges of the inputs and outputs of some nodes.

    "minmax" keeps every value that was seen, outliers too; "percentile-P" clips the rarest; "entropy"
    clips where the histogram keeps most of its information (Migacz, "8-bit Inference with TensorRT").

    Args:
        model: a float32 graph.
        nodes: names of the nodes that will be quantized.
        items: inputs of the graph, one item each.
    """
    collector = _collector("entropy")
    with TemporaryDirectory(prefix="siglip-calibrate-") as folder:
        path = Path(folder) / "observed.onnx"
        names, inputs = _save_observed(model, nodes, path)
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        for item in items:
            values = dict(zip(names, session.run(names, item), strict=True))
            collector.collect(values | {name: item[name] for name in item if name in inputs})
    histograms = collector.get_histogram_dict()
    rules: dict[str, Ranges] = {
        "minmax": {name: (float(values[2]), float(values[3])) for name, values in histograms.items()}
    }
    for percentile in _PERCENTILES:
        rules[f"percentile-{percentile}"] = _clipped(_collector("percentile", percentile), histograms)
    rules["entropy"] = _clipped(collector, histograms)
    return rules


def _save_observed(
    model: onnx.ModelProto, nodes: Collection[str], path: Path
) -> tuple[list[str], Collection[str]]:
    """Write the graph with what the nodes read and write as further outputs.

    Returns the names of those tensors, and of the graph's own inputs among what the nodes read.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name for value in model.graph.input}
    outputs = {value.name for value in model.graph.output}
    observed = copy_graph(model)
    names: dict[str, None] = {}  # an ordered set
    for node in model.graph.node:
        if node.name in nodes:
            names |= dict.fromkeys(name for name in (*node.input, *node.output) if name not in constants)
    for name in names:
        if name not in inputs | outputs:
            observed.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    save_graph(observed, path)
    return [name for name in names if name not in inputs], inputs & names.keys()


def _collector(method: str, percentile: float = 0.0) -> HistogramCollector:
    return EntropyCollector(method, False, _BINS, _QUANTIZED_BINS, percentile, "same")


def _clipped(collector: HistogramCollector, histograms: dict[str, object]) -> Ranges:
    collector.histogram_dict = histograms
    found: TensorsData | dict[str, object] = collector.compute_collection_result()
    return {name: _bounds(value) for name, value in found.items()}


def _bounds(value: object) -> tuple[float, float]:
    low, high = value[:2] if isinstance(value, tuple) else value.range_value  # type: ignore[attr-defined]
    return float(low), float(high)
