"""Prepared batches for tiny models, and their exported graphs quantized in this process."""

import numpy as np
from PIL import Image

from engines.onnx.engine import GraphEngine
from engines.onnx.files import load_graph, save_graph
from engines.onnx.graphs import IMAGE_GRAPH, TEXT_GRAPH
from engines.onnx.ort_runtime import OrtRuntime
from engines.onnx.quantize import quantize_dynamically, weight_nodes
from engines.preparation.preprocess import Preprocessor
from engines.profiling.ort_profile import OrtProfiler
from engines.profiling.profilers import ProfilerOptions

TOWERS = ("image", "text")
OPTIONS = ProfilerOptions(num_threads=1)


def batch(spec, tower, size=2):
    preprocessor = Preprocessor(spec)
    if tower == "text":
        return [preprocessor.prepare_text("a photo of a cat") for _ in range(size)]
    rng = np.random.default_rng(0)
    return [
        preprocessor.prepare_image(Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)))
        for _ in range(size)
    ]


def quantize(source, folder):
    for name in (IMAGE_GRAPH, TEXT_GRAPH):
        graph = load_graph(source / name)
        nodes = [node.name for node in weight_nodes(graph)]
        save_graph(quantize_dynamically(graph, nodes, reduce_range=True), folder / name)
    return folder


def ort_profiler(spec, folder, tower, options=OPTIONS):
    engine = GraphEngine(spec, name="onnx", folder=folder, runtime=OrtRuntime(1))
    return OrtProfiler(engine, tower, options)
