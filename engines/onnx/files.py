"""Read and write ONNX graphs with their weights, and bring them to the form that quantizers know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

_DATA_SUFFIX = ".data"  # of the file with a graph's weights, beside the graph
_INLINE_BYTES = 1024  # smaller tensors stay in the graph file


def load_graph(path: Path) -> onnx.ModelProto:
    """Read a graph and its weights."""
    return onnx.load(str(path))


def save_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph, its weights in a file beside it, which a runtime can map instead of reading."""
    onnx.save_model(
        copy_graph(model),  # onnx takes the weights out of the one that it saves
        str(path),
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=path.name + _DATA_SUFFIX,
        size_threshold=_INLINE_BYTES,
    )


def copy_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a deep copy: quantizers and `onnx.save_model` change the graph that they are given."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def graph_bytes(path: Path) -> int:
    """Return the size of a graph's files."""
    return path.stat().st_size + path.with_name(path.name + _DATA_SUFFIX).stat().st_size


def simplify(model: onnx.ModelProto) -> None:
    """Fold constants and write constant Gemm as MatMul and Add, in place.

    Quantizers take constant weights only, and SigLIP's pooling head splits one at run time; and
    MatMul is the one product that each of them knows.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in list(model.graph.node):
        if node.input and all(name in constants for name in node.input if name):
            replacement = _fold(node, constants)
            constants |= {tensor.name: tensor for tensor in replacement}
            model.graph.initializer.extend(replacement)
            model.graph.node.remove(node)
        elif node.op_type == "Gemm" and node.input[1] in constants:
            _split_gemm(model, node, numpy_helper.to_array(constants[node.input[1]]))
    used = {name for node in model.graph.node for name in node.input}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)


def replace_node(model: onnx.ModelProto, node: onnx.NodeProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Put nodes in another's place, because a graph's nodes stand in the order they run."""
    position = next(index for index, other in enumerate(model.graph.node) if other is node)
    del model.graph.node[position]
    for offset, new in enumerate(nodes):
        model.graph.node.insert(position + offset, new)


def _fold(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> list[onnx.TensorProto]:
    inputs = {name: numpy_helper.to_array(constants[name]) for name in node.input if name}
    outputs = ReferenceEvaluator(node).run(None, inputs)
    return [
        numpy_helper.from_array(np.ascontiguousarray(value), name)
        for name, value in zip(node.output, outputs, strict=True)
    ]


def _split_gemm(model: onnx.ModelProto, node: onnx.NodeProto, weight: NDArray[np.float32]) -> None:
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if attributes.get("transA") or attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1:
        return  # no exporter writes these for a linear layer
    name, biased = f"{node.name}_weight", len(node.input) > 2
    columns = np.ascontiguousarray(weight.T) if attributes.get("transB") else weight
    model.graph.initializer.append(numpy_helper.from_array(columns, name))
    product = f"{node.name}_product" if biased else node.output[0]
    nodes = [helper.make_node("MatMul", [node.input[0], name], [product], name=node.name)]
    if biased:
        inputs = [product, node.input[2]]
        nodes.append(helper.make_node("Add", inputs, [node.output[0]], name=f"{node.name}_bias"))
    replace_node(model, node, nodes)
