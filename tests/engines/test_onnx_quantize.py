"""Quantized graphs stay close to the float one, are smaller, and run on the kernels they were written for."""

from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.base import normalize
from engines.errors import BackendUnavailableError
from engines.models import bundled_models
from engines.onnx import build
from engines.onnx.files import copy_graph, graph_bytes, save_graph, simplify
from engines.onnx.graphs import IMAGE_GRAPH, TEXT_GRAPH
from engines.onnx.operators import check_operators, executed_operators
from engines.onnx.quantize import quantize_dynamically, quantize_statically, weight_nodes
from engines.onnx.ranges import measure_ranges
from engines.onnx.sensitivity import Loss, MixedPrecision, run_graph
from engines.onnx.weights import quantize_blocks, quantize_products, quantize_rows, quantize_token_table
from tests.engines.graphs import build_tower, tower_items

ITEMS = tower_items(24)


@pytest.fixture(scope="module")
def tower():
    return build_tower()


@pytest.fixture(scope="module")
def nodes(tower):
    return [node.name for node in weight_nodes(tower)]


@pytest.fixture(scope="module")
def rules(tower, nodes):
    return measure_ranges(tower, nodes, ITEMS)


def test_rows_that_are_no_whole_blocks_of_4_bit_are_padded():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(200, 8)).astype(np.float32)  # three blocks of 64, and eight inputs more
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["y"], name="fc")],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 200])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    quantize_products(model, ["fc"])
    assert [node.op_type for node in model.graph.node] == ["MatMulNBits"]
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = rng.normal(size=(5, 200)).astype(np.float32)
    (ours,) = session.run(None, {"x": rows})
    assert (normalize(ours) * normalize(rows @ weight)).sum(axis=1).min() > 0.98


def cosines(model, tower):
    return (normalize(run_graph(model, ITEMS)) * normalize(run_graph(tower, ITEMS))).sum(axis=1)


def quantized(method, tower, nodes, rules):
    if method == "dynamic":
        return quantize_dynamically(tower, nodes, reduce_range=True)
    if method == "4bit":
        model = copy_graph(tower)
        quantize_products(model, nodes)
        return model
    return quantize_statically(tower, nodes, rules["minmax"], form=method, reduce_range=True)


@pytest.mark.parametrize(
    ("method", "least"),  # measured: 0.9997, 0.9994, 0.9994, 0.979
    [("dynamic", 0.999), ("qdq", 0.999), ("qoperator", 0.999), ("4bit", 0.97)],
)
def test_each_method_stays_close_and_runs_on_its_own_kernels(tower, nodes, rules, method, least, tmp_path):
    before = tower.SerializeToString()
    model = quantized(method, tower, nodes, rules)
    assert cosines(model, tower).min() > least
    assert tower.SerializeToString() == before
    save_graph(model, tmp_path / "graph.onnx")
    operators = executed_operators(tmp_path / "graph.onnx", ITEMS[0])
    check_operators("engine", method, operators)
    assert "MatMul" not in operators


@pytest.mark.parametrize("method", ["dynamic", "qdq", "qoperator", "4bit"])
def test_nodes_that_are_not_named_stay_in_float(tower, nodes, rules, method, tmp_path):
    model = quantized(method, tower, nodes[1:], rules)
    save_graph(model, tmp_path / "graph.onnx")
    assert executed_operators(tmp_path / "graph.onnx", ITEMS[0]).get("MatMul", 0) == 1
    assert cosines(quantized(method, tower, [], rules), tower) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_token_table_shrinks_and_keeps_its_rows(tower, bits, tmp_path):
    model = copy_graph(tower)
    quantize_token_table(model, bits)
    assert cosines(model, tower).min() > {8: 0.9999, 4: 0.99}[bits]
    for name, graph in (("float", tower), ("small", model)):
        save_graph(graph, tmp_path / f"{name}.onnx")
    ratio = graph_bytes(tmp_path / "small.onnx") / graph_bytes(tmp_path / "float.onnx")
    assert ratio < {8: 0.4, 4: 0.3}[bits]  # the three products stay in float here


def test_a_graph_without_a_token_table_is_left_alone():
    model = build_tower()
    table = next(tensor for tensor in model.graph.initializer if tensor.name == "embeddings.table")
    table.CopyFrom(numpy_helper.from_array(np.zeros((100, 64), np.float32), table.name))
    before = model.SerializeToString()
    quantize_token_table(model, 8)
    assert model.SerializeToString() == before


def test_small_rows_of_a_table_keep_their_precision():
    table = np.asarray([[1000.0, -500.0], [0.001, 0.0005]], np.float32)
    rows, scales = quantize_rows(table)
    np.testing.assert_allclose(rows * scales, table, rtol=0.01)


def test_blocks_are_clipped_where_that_costs_less():
    rng = np.random.default_rng(0)
    blocks = rng.normal(size=(200, 64)).astype(np.float32)
    levels, scales, zeros = quantize_blocks(blocks)
    assert levels.max() <= 15
    error = np.square((levels - zeros[:, None].astype(np.float32)) * scales[:, None] - blocks).mean()
    plain = np.ptp(blocks, axis=1, keepdims=True) / 15
    low = blocks.min(axis=1, keepdims=True)
    plain_error = np.square(np.rint((blocks - low) / plain) * plain + low - blocks).mean()
    assert error < plain_error


def test_ranges_are_narrower_the_more_a_rule_clips(rules):
    def width(name):
        return np.mean([high - low for low, high in rules[name].values()])

    assert width("minmax") >= width("percentile-99.999") >= width("percentile-99.99")
    assert width("entropy") <= width("minmax")
    assert all(rule.keys() == rules["minmax"].keys() for rule in rules.values())


def test_constants_are_folded_and_gemm_becomes_matmul(tower):
    model = copy_graph(tower)
    bias = numpy_helper.from_array(np.ones(64, np.float32), "bias")
    model.graph.initializer.append(bias)
    product = next(node for node in model.graph.node if node.op_type == "MatMul")
    weight = product.input[1]
    transposed = helper.make_node("Transpose", [weight], ["transposed"], name="transposed")
    gemm = helper.make_node(
        "Gemm", [product.input[0], "transposed", "bias"], list(product.output), name="gemm", transB=1
    )
    product.CopyFrom(gemm)
    model.graph.node.insert(0, transposed)
    expected = run_graph(model, ITEMS)
    simplify(model)
    assert {node.op_type for node in model.graph.node} == {
        "Gather",
        "ReduceMean",
        "MatMul",
        "Add",
        "Identity",
    }
    np.testing.assert_allclose(run_graph(model, ITEMS), expected, rtol=1e-4, atol=1e-4)


def test_a_runtime_that_rewrites_a_graph_is_noticed():
    with pytest.raises(BackendUnavailableError, match="runs none of the quantized kernels"):
        check_operators("onnx-int8-dynamic", "dynamic", {"MatMul": 12})
    with pytest.raises(BackendUnavailableError, match="MatMulNBits"):
        check_operators("onnx-int8-static-qdq", "qdq", {"MatMulNBits": 51, "QLinearMatMul": 3})


@dataclass(frozen=True)
class Chosen:
    """What a TowerQuantizer has chosen."""

    model: onnx.ModelProto
    items: list

    def choose(self):
        return MixedPrecision(self.model, Loss(1.0, 1.0, 1.0, 1.0), (), ()), None


def test_a_tower_may_stay_in_float_beside_a_quantized_one_but_not_both(tower, nodes, tmp_path, monkeypatch):
    quantized_tower = quantize_dynamically(tower, nodes, reduce_range=True)
    towers = {IMAGE_GRAPH: Chosen(quantized_tower, ITEMS), TEXT_GRAPH: Chosen(tower, ITEMS)}
    monkeypatch.setattr(build, "tower_quantizers", lambda *_: towers)
    spec = bundled_models()["siglit-mini"]
    build.build_quantized(spec, "onnx-int8-dynamic", tmp_path, tmp_path)
    assert (tmp_path / TEXT_GRAPH).exists()
    towers[IMAGE_GRAPH] = Chosen(tower, ITEMS)
    with pytest.raises(BackendUnavailableError, match="both towers would have to stay in float32"):
        build.build_quantized(spec, "onnx-int8-dynamic", tmp_path, tmp_path)
