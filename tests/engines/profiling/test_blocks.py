"""Every family's modules have a block, and operators between modules go to the block they work for."""

import pytest

from engines.profiling.blocks import OTHER, Place, block_of, name_blocks


@pytest.mark.parametrize(
    ("family", "module", "block"),
    [
        ("siglip", "vision_model.embeddings.patch_embedding", "patch embedding"),
        ("siglip", "vision_model.encoder.layers.3.layer_norm1", "block 3 attention"),
        ("siglip", "vision_model.encoder.layers.11.self_attn.out_proj", "block 11 attention"),
        ("siglip", "vision_model.encoder.layers.3.mlp.fc1", "block 3 MLP"),
        ("siglip", "vision_model.post_layernorm", "final norm"),
        ("siglip", "vision_model.head.attention.q_proj", "pooling head"),
        ("siglip", "text_model.embeddings.token_embedding", "token embedding"),
        ("siglip", "text_model.final_layer_norm", "final norm"),
        ("siglip", "text_model.head", "projection"),
        ("siglip2", "patch_embedding", "patch embedding"),
        ("siglip2", "encoder.layers.0.self_attn", "block 0 attention"),
        ("siglip2", "head.mlp.fc2", "pooling head"),
        ("clip", "vision_model.pre_layrnorm", "patch embedding"),
        ("clip", "projection", "projection"),
        ("open_clip", "visual.conv1", "patch embedding"),
        ("open_clip", "visual.transformer.resblocks.7.ln_2", "block 7 MLP"),
        ("open_clip", "visual.transformer.resblocks.7.attn.out_proj", "block 7 attention"),
        ("open_clip", "model.transformer.resblocks.0.mlp.c_fc", "block 0 MLP"),
        ("open_clip", "model.text.ln_final", "final norm"),
        ("open_clip", "trunk.blocks.2.attn.qkv", "block 2 attention"),
        ("open_clip", "trunk.blocks.2.1.conv_pw", "block 2.1"),
        ("open_clip", "trunk.stages.1.blocks.0.mlp.fc1", "block 1.0"),
        ("open_clip", "trunk.attn_pool.kv", "pooling head"),
        ("open_clip", "trunk.norm", "final norm"),
        ("bundled", "tower.nets.1._conv_stem", "net 1 stem"),
        ("bundled", "tower.nets.0._blocks.12._project_conv", "net 0 block 12"),
        ("bundled", "tower.layers.5.narrow", "block 5 MLP"),
        ("bundled", "head.hidden", "projection"),
    ],
)
def test_a_module_s_path_tells_its_block(family, module, block):
    assert block_of(module, family) == block


@pytest.mark.parametrize(
    ("family", "module"),
    [
        ("siglip", ""),
        ("siglip", "vision_model.encoder.layers"),
        ("clip", "text_model.encoder.layers.3"),
        ("open_clip", "model.text.transformer.resblocks"),
        ("open_clip", "trunk.blocks.2"),
        ("bundled", "tower.nets.1._swish"),
    ],
)
def test_a_module_of_several_blocks_has_none_of_its_own(family, module):
    assert block_of(module, family) is None


@pytest.mark.parametrize("module", ["vision_model.adapter", "vision_model.encoder.layers.0.gate", "heads"])
def test_a_module_that_no_rule_knows_is_other(module):
    assert block_of(module, "siglip") == OTHER


def named(family, *steps):
    return name_blocks([Place(*step) for step in steps], family)


def test_a_residual_sum_closes_the_half_that_ran_before_it():
    layer = "vision_model.encoder.layers.1"
    steps = [
        (f"{layer}.self_attn.out_proj", "MatMul"),
        (layer, "Add"),
        (f"{layer}.layer_norm2", "LayerNormalization"),
        (f"{layer}.mlp.fc2", "MatMul"),
        (layer, "Add"),
    ]
    assert named("siglip", *steps) == ["block 1 attention"] * 2 + ["block 1 MLP"] * 3


def test_what_a_layer_does_first_is_its_attention_s():
    steps = [
        ("text_model.encoder.layers.0.mlp.fc2", "MatMul"),
        ("text_model.encoder.layers.1", "Reshape"),
        ("text_model.encoder.layers.1.layer_norm1", "LayerNormalization"),
    ]
    assert named("clip", *steps)[1] == "block 1 attention"


def test_an_operator_whose_name_says_nothing_goes_with_the_one_before_or_the_first():
    steps = [
        (None, "ReorderInput"),
        ("vision_model.embeddings.patch_embedding", "Conv"),
        (None, "ReorderOutput"),
        ("vision_model.encoder.layers.0.layer_norm1", "LayerNormalization"),
        (None, "DynamicQuantizeLinear"),
    ]
    assert named("siglip", *steps) == ["patch embedding"] * 3 + ["block 0 attention"] * 2


def test_names_that_say_nothing_at_all_are_other():
    assert named("siglip", (None, "Cast"), ("", "Add")) == [OTHER, OTHER]


def test_an_unknown_module_does_not_take_its_neighbours_along():
    steps = [
        ("vision_model.post_layernorm", "LayerNormalization"),
        ("vision_model.adapter", "MatMul"),
        (None, "Cast"),
    ]
    assert named("siglip", *steps) == ["final norm", OTHER, "final norm"]


def test_a_product_with_a_bare_parameter_after_the_last_norm_is_the_projection():
    steps = [
        ("visual.ln_post", "LayerNormalization"),
        ("", "Gather"),
        ("", "MatMul"),
        ("", "aten::mm"),
    ]
    assert named("open_clip", *steps) == ["final norm", "final norm", "projection", "projection"]


def test_the_mini_lm_pools_after_its_last_layer_and_not_between_layers():
    steps = [
        ("tower", "Cast"),
        ("tower.embeddings.LayerNorm", "LayerNormalization"),
        ("tower.layers.0.output_norm", "LayerNormalization"),
        ("tower", "Mul"),
        ("tower.layers.1.query", "MatMul"),
        ("tower.layers.1", "Softmax"),
        ("tower.layers.1.output_norm", "LayerNormalization"),
        ("tower", "ReduceSum"),
        ("tower", "Div"),
        ("head.mlp.0", "MatMul"),
    ]
    assert named("bundled", *steps) == [
        "token embedding", "token embedding", "block 0 MLP", "block 0 MLP", "block 1 attention",
        "block 1 attention", "block 1 MLP", "pooling head", "pooling head", "projection",
    ]  # fmt: skip
