"""Weight-only quantization of ONNX graphs: 4-bit blocks for products, 4- or 8-bit rows for token tables."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.onnx.files import replace_node

BLOCK_SIZE = 64  # weights of a product that share a scale
TABLE_BLOCK_SIZE = 32  # of a token table, which no later layer averages errors over
_LEVELS = 15  # of 4 bits
_CONTRIB = "com.microsoft"
_MIN_TABLE_ROWS = 1024  # a Gather from fewer rows is a position table, not a vocabulary
# How much of a block's range to keep: clipping its outermost weight a little costs less than coarser
# steps for all the others. The best share is searched for each block (as in OCTAV, arXiv 2206.06501).
_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)


def quantize_products(model: onnx.ModelProto, nodes: Collection[str], accuracy_level: int = 0) -> None:
    """Replace MatMul nodes with constant weights by MatMulNBits of 4 bits, in place.

    Args:
        model: the graph.
        nodes: names of the MatMul nodes; others are left alone.
        accuracy_level: 0 computes in float32, 4 in int8 (MatMulNBits in ONNX Runtime's ContribOperators.md).
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in [node for node in model.graph.node if node.name in nodes and node.op_type == "MatMul"]:
        tensor = constants[node.input[1]]
        weight = numpy_helper.to_array(tensor)  # [inputs, outputs]
        inputs, outputs = weight.shape
        if inputs < BLOCK_SIZE:
            continue  # tiny models only
        num_blocks = -(-inputs // BLOCK_SIZE)
        rows = np.zeros(
            (outputs, num_blocks * BLOCK_SIZE), np.float32
        )  # the last block may be partly padding
        rows[:, :inputs] = weight.T
        levels, scales, zeros = quantize_blocks(rows.reshape(-1, BLOCK_SIZE))
        packed = _pack(levels).reshape(outputs, num_blocks, BLOCK_SIZE // 2)
        zero_points = _pack(_even(zeros.reshape(outputs, num_blocks)))
        name = tensor.name
        model.graph.initializer.extend(
            [
                numpy_helper.from_array(packed, f"{name}_4bit"),
                numpy_helper.from_array(scales.reshape(-1), f"{name}_scales"),
                numpy_helper.from_array(zero_points.reshape(-1), f"{name}_zeros"),
            ]
        )
        new = helper.make_node(
            "MatMulNBits",
            [node.input[0], f"{name}_4bit", f"{name}_scales", f"{name}_zeros"],
            list(node.output),
            name=node.name,
            domain=_CONTRIB,
            K=inputs,
            N=outputs,
            bits=4,
            block_size=BLOCK_SIZE,
            accuracy_level=accuracy_level,
        )
        replace_node(model, node, [new])
    _drop_unused(model)
    _import_contrib(model)


def quantize_token_table(model: onnx.ModelProto, bits: Literal[4, 8]) -> None:
    """Store the table of token embeddings in few bits, in place; a graph without one stays as it is.

    ONNX Runtime's own int8 Gather gives the whole table one scale, in which the small rows of rare
    tokens vanish. Here each row (8 bits) or block of a row (4 bits) has its own, and only the rows
    that a text needs are turned into floats, after they are gathered.
    """
    tables = {tensor.name: tensor for tensor in model.graph.initializer if _is_token_table(tensor)}
    gathers = (node for node in model.graph.node if node.op_type == "Gather" and node.input[0] in tables)
    node = next(gathers, None)
    if node is None:
        return
    table = numpy_helper.to_array(tables[node.input[0]])
    if bits == 8 or table.shape[1] % TABLE_BLOCK_SIZE:
        _gather_rows(model, node, table)
    else:
        _gather_blocks(model, node, table)
    _drop_unused(model)


def quantize_blocks(
    blocks: NDArray[np.float32],
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
    """Return levels in 0..15 of the blocks [n, size], and each block's scale [n] and zero point [n].

    A weight is about (level - zero point) * scale; the range is the one of _SHARES of the block's own
    that has the smallest squared error.
    """
    low, high = np.minimum(blocks.min(axis=1), 0), np.maximum(blocks.max(axis=1), 0)
    best_error = np.full(len(blocks), np.inf, np.float32)
    best_levels = np.zeros(blocks.shape, np.uint8)
    best_scales, best_zeros = np.ones(len(blocks), np.float32), np.zeros(len(blocks), np.uint8)
    for share in _SHARES:
        scales = np.maximum((high - low) * (share / _LEVELS), 1e-12).astype(np.float32)
        zeros = np.clip(np.rint(-low * share / scales), 0, _LEVELS)
        levels = np.clip(np.rint(blocks / scales[:, None]) + zeros[:, None], 0, _LEVELS)
        error = np.square((levels - zeros[:, None]) * scales[:, None] - blocks).sum(axis=1)
        better = error < best_error
        best_error[better], best_scales[better] = error[better], scales[better]
        best_levels[better], best_zeros[better] = levels[better], zeros[better]
    return best_levels, best_scales, best_zeros


def quantize_rows(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return int8 rows [rows, dim] and scales [rows, 1] whose product is the table, rounded."""
    scales = np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-12).astype(np.float32) / 127
    return np.rint(table / scales).astype(np.int8), scales


def _gather_rows(model: onnx.ModelProto, node: onnx.NodeProto, table: NDArray[np.float32]) -> None:
    name, ids = node.input
    rows, scales = quantize_rows(table)
    model.graph.initializer.extend(
        [numpy_helper.from_array(rows, f"{name}_8bit"), numpy_helper.from_array(scales, f"{name}_scales")]
    )
    gathered, floats, factors = (f"{name}_{part}" for part in ("rows", "float_rows", "row_scales"))
    nodes = [
        helper.make_node("Gather", [f"{name}_8bit", ids], [gathered], name=f"{node.name}_rows"),
        helper.make_node("Cast", [gathered], [floats], name=f"{node.name}_cast", to=TensorProto.FLOAT),
        helper.make_node("Gather", [f"{name}_scales", ids], [factors], name=f"{node.name}_scales"),
        helper.make_node("Mul", [floats, factors], list(node.output), name=node.name),
    ]
    replace_node(model, node, nodes)


def _gather_blocks(model: onnx.ModelProto, node: onnx.NodeProto, table: NDArray[np.float32]) -> None:
    name, ids = node.input
    rows, dim = table.shape
    levels, scales, zeros = quantize_blocks(table.reshape(-1, TABLE_BLOCK_SIZE))
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(_pack(levels.reshape(rows, dim)), f"{name}_4bit"),
            numpy_helper.from_array(scales.reshape(rows, -1), f"{name}_scales"),
            numpy_helper.from_array(_pack(_even(zeros.reshape(rows, -1))), f"{name}_zeros"),
        ]
    )
    new = helper.make_node(
        "GatherBlockQuantized",
        [f"{name}_4bit", ids, f"{name}_scales", f"{name}_zeros"],
        list(node.output),
        name=node.name,
        domain=_CONTRIB,
        bits=4,
        block_size=TABLE_BLOCK_SIZE,
        gather_axis=0,
        quantize_axis=1,
    )
    replace_node(model, node, [new])
    _import_contrib(model)


def _pack(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put two neighbours of the last axis into one byte, the first into its low half."""
    packed: NDArray[np.uint8] = np.bitwise_or(
        levels[..., 0::2], np.left_shift(levels[..., 1::2], np.uint8(4))
    )
    return packed


def _even(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pad the last axis to an even length."""
    return np.pad(levels, [(0, 0)] * (levels.ndim - 1) + [(0, levels.shape[-1] % 2)])


def _is_token_table(tensor: onnx.TensorProto) -> bool:
    is_table = len(tensor.dims) == 2 and tensor.dims[0] >= _MIN_TABLE_ROWS
    return is_table and tensor.data_type == TensorProto.FLOAT


def _drop_unused(model: onnx.ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)


def _import_contrib(model: onnx.ModelProto) -> None:
    if all(entry.domain != _CONTRIB for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_CONTRIB, 1))
