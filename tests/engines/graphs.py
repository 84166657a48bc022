"""A text tower of a few thousand weights as an ONNX graph, named as the exporter names nodes."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROWS, DIM, LAYERS = 2048, 64, 3


def build_tower(outlier_layer: int | None = None, seed: int = 0) -> onnx.ModelProto:
    """Mean of token embeddings, then linear layers with GELU between; one may have an outlier channel.

    The outlier does not change what the graph computes: a column of one layer is made large, and the
    next layer's row as much smaller. It ruins the layer's per-tensor activation range.
    """
    rng = np.random.default_rng(seed)
    constants = {"embeddings.table": rng.normal(size=(ROWS, DIM)).astype(np.float32)}
    nodes = [
        helper.make_node("Gather", ["embeddings.table", "input_ids"], ["tokens"], name="embeddings/Gather_0"),
        helper.make_node("ReduceMean", ["tokens", "axes"], ["hidden_0"], name="/ReduceMean_1", keepdims=0),
    ]
    for layer in range(LAYERS):
        weight = rng.normal(size=(DIM, DIM)).astype(np.float32) / np.float32(DIM**0.5)
        if layer == outlier_layer:
            weight[:, 0] *= 300
        if outlier_layer is not None and layer == outlier_layer + 1:
            weight[0] /= 300
        constants[f"weight_{layer}"] = weight
        nodes.append(
            helper.make_node(
                "MatMul",
                [f"hidden_{layer}", f"weight_{layer}"],
                [f"hidden_{layer + 1}"],
                name=f"tower.layers.{layer}.fc/MatMul_{layer}",
            )
        )
    nodes.append(helper.make_node("Identity", [f"hidden_{LAYERS}"], ["embeddings"], name="/Identity_9"))
    graph = helper.make_graph(
        nodes,
        "tower",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", DIM])],
        [
            numpy_helper.from_array(np.asarray([1], np.int64), "axes"),
            *(numpy_helper.from_array(value, name) for name, value in constants.items()),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def tower_items(count: int, seed: int = 1) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{"input_ids": rng.integers(0, ROWS, (1, 6))} for _ in range(count)]
