"""Nodes that ONNX Runtime fused, renamed or inserted are traced to their modules by their tensors."""

import pytest
from onnx import TensorProto, helper

from engines.profiling.ort_nodes import find_modules, module_of_name


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("vision_model.encoder.layers.3.mlp.fc1/MatMul_52", "vision_model.encoder.layers.3.mlp.fc1"),
        ("vision_model.head/MatMul_9/MatmulTransposeFusion//MatMulScaleFusion/", "vision_model.head"),
        ("fused tower.nets.0._blocks.1._expand_conv/Conv_9", "tower.nets.0._blocks.1._expand_conv"),
        ("/Add_7", ""),
        ("val_71_QuantizeLinear", None),
        ("_empty_nn_module_stack_from_metadata_hook/Shape_0", None),
    ],
)
def test_a_name_tells_the_module_if_it_is_the_exporter_s(name, module):
    assert module_of_name(name) == module


def graph(*nodes):
    """Return a model of nodes: (name, input, output)."""
    protos = [helper.make_node("Op", source.split(), [output], name=name) for name, source, output in nodes]
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)]
    return helper.make_model(helper.make_graph(protos, "graph", values, values))


def test_a_fused_node_is_the_last_one_that_it_was_made_of():
    opened = graph(
        ("vision_model.encoder.layers.1/Add_8", "x", "add_1"),
        ("vision_model.post_layernorm/LayerNormalization_9", "add_1", "patches"),
    )
    executed = graph(("SkipLayerNormalization_token_5", "x", "patches"))
    modules = find_modules(opened, executed, "siglip")
    assert modules == {"SkipLayerNormalization_token_5": "vision_model.post_layernorm"}


def test_a_convolution_in_another_layout_is_named_after_its_tensor():
    opened = graph(
        ("tower.nets.1._conv_stem/Conv_1", "x", "convolution"),
        ("tower.nets.1._swish/Clip_2", "convolution", "hardtanh_3"),
    )
    executed = graph(
        ("hardtanh_3_nchwc", "x", "reorder_token_0"), ("ReorderOutput", "reorder_token_0", "hardtanh_3")
    )
    # The activation's module is shared by stem and head; the convolution behind it is not.
    stem = "tower.nets.1._conv_stem"
    assert find_modules(opened, executed, "bundled") == {"hardtanh_3_nchwc": stem, "ReorderOutput": stem}


def test_what_is_inserted_works_for_its_reader():
    opened = graph(
        ("vision_model.post_layernorm/LayerNormalization_1", "x", "patches"),
        ("patches_QuantizeLinear", "patches", "patches_quantized"),
        ("vision_model.head.attention/MatMul_2_quant", "patches_quantized", "products"),
    )
    executed = graph(
        ("vision_model.post_layernorm/LayerNormalization_1", "x", "patches"),
        ("Cast_token_1", "patches", "cast"),
        ("patches_QuantizeLinear", "cast", "patches_quantized"),
        ("vision_model.head.attention/MatMul_2_quant", "patches_quantized", "products"),
        ("Identity", "products", "nobody_s"),
    )
    modules = find_modules(opened, executed, "siglip")
    head = "vision_model.head.attention"
    assert modules["Cast_token_1"] == modules["patches_QuantizeLinear"] == head
    assert "Identity" not in modules
