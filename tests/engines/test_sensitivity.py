"""The block that loses accuracy is found, and it alone stays in float."""

import numpy as np
import pytest

from engines.onnx.quantize import quantize_dynamically
from engines.onnx.sensitivity import (
    Judge,
    block_of,
    group_blocks,
    measure_block_losses,
    quantize_to_cosine,
    run_graph,
)
from tests.engines.graphs import build_tower, tower_items

ITEMS = tower_items(16)


@pytest.mark.parametrize(
    ("node", "block"),
    [
        ("vision_model.encoder.layers.3.mlp.fc1/MatMul_52", "vision_model.encoder.layers.3"),
        ("tower.nets.0._blocks.7._expand_conv/Conv_9", "tower.nets.0._blocks.7"),
        ("visual.trunk.blocks.11.attn.qkv/MatMul_3", "visual.trunk.blocks.11"),
        ("text_model.head/MatMul_1", "text_model.head"),
        ("vision_model.head.attention.out_proj/MatMul_1", "vision_model.head"),
        ("/MatMul_1", "top"),
    ],
)
def test_a_node_s_block_is_read_from_its_module(node, block):
    assert block_of(node) == block


def dynamically(tower):
    return lambda nodes: quantize_dynamically(tower, nodes, reduce_range=True)


def test_the_block_that_reads_an_outlier_is_found_and_left_in_float():
    tower = build_tower(outlier_layer=1)
    quantize = dynamically(tower)
    judge = Judge(tower, ITEMS, run_graph(tower, ITEMS))
    losses = measure_block_losses(tower, quantize, judge)
    assert losses[0].block == "tower.layers.2"
    assert losses[0].loss.cosine_mean < 0.99 < losses[1].loss.cosine_mean
    assert losses[0].loss.snr_db < losses[1].loss.snr_db
    mixed = quantize_to_cosine(tower, quantize, judge, 0.9985)
    assert mixed.float_blocks == ("tower.layers.2",)
    assert mixed.loss.cosine_mean >= 0.999


def test_nothing_stays_in_float_where_the_cosine_is_reached_at_once():
    tower = build_tower()
    judge = Judge(tower, ITEMS, run_graph(tower, ITEMS))
    mixed = quantize_to_cosine(tower, dynamically(tower), judge, 0.995)
    assert mixed.float_blocks == ()
    assert mixed.block_losses == ()


def test_all_blocks_stay_in_float_where_nothing_less_helps():
    tower = build_tower()
    judge = Judge(tower, ITEMS, run_graph(tower, ITEMS))
    mixed = quantize_to_cosine(tower, dynamically(tower), judge, 1.1)
    assert sorted(mixed.float_blocks) == sorted(group_blocks(tower))
    assert mixed.loss.cosine_mean == pytest.approx(1)


def test_a_graph_equal_to_its_reference_loses_nothing():
    tower = build_tower()
    loss = Judge(tower, ITEMS, run_graph(tower, ITEMS)).loss(tower)
    assert (loss.snr_db, loss.top1_agreement) == (np.inf, 1.0)
    assert list(group_blocks(tower)) == ["tower.layers.0", "tower.layers.1", "tower.layers.2"]
