"""FLOPs by block: analytic counts, the whole tower's count, and every family's blocks in their order."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from engines.factory import resolve_model
from engines.preparation.inputs import image_inputs, text_inputs
from engines.profiling.blocks import OTHER, block_of
from engines.profiling.flops import count_flops, count_module_flops
from engines.pytorch.plain_transformers import image_tower_gflop
from engines.pytorch.towers import load_towers
from tests.engines.profiling.towers import TOWERS, batch

LAYERS = ["block 0 attention", "block 0 MLP", "block 1 attention", "block 1 MLP"]
FAMILIES = ["tiny_siglip", "tiny_naflex", "tiny_clip", "tiny_open_clip", "tiny_open_clip_siglip", "lit-mini"]


class Attention(nn.Module):
    """A tower of one layer's attention alone, whose product of queries and keys the runtime may fuse."""

    def __init__(self, heads):
        super().__init__()
        self.heads = heads
        self.layers = nn.ModuleList([nn.Module()])
        self.layers[0].query = nn.Linear(64, 64)

    def forward(self, rows):
        queries = self.layers[0].query(rows).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return functional.scaled_dot_product_attention(queries, queries, queries)


def test_a_linear_layer_multiplies_rows_by_columns():
    tower = nn.Module()
    tower.head = nn.Linear(48, 96)
    tower.forward = lambda rows: tower.head(rows)
    assert count_module_flops(tower, "bundled", [torch.zeros(5, 48)]) == {"projection": 2 * 5 * 48 * 96}


@pytest.mark.parametrize("heads", [1, 4])
def test_attention_is_a_linear_layer_and_two_products_of_all_pairs(heads):
    n, tokens, dim = 3, 7, 64
    linear, pairs = 2 * n * tokens * dim * dim, 2 * n * tokens * tokens * dim
    counted = count_module_flops(Attention(heads), "bundled", [torch.zeros(n, tokens, dim)])
    assert counted == {"block 0 attention": linear + 2 * pairs}


def tower_flops(spec, tower, size):
    items = batch(spec, tower, size)
    return count_flops(
        spec, tower, image_inputs(spec, items) if tower == "image" else text_inputs(spec, items)
    )


@pytest.mark.parametrize("fixture", ["tiny_siglip", "tiny_clip"])
def test_blocks_add_up_to_the_tower(request, fixture):
    spec = resolve_model(str(request.getfixturevalue(fixture)))
    whole = image_tower_gflop(spec) * 1e9
    assert sum(tower_flops(spec, "image", 1).values()) == pytest.approx(whole)
    assert sum(tower_flops(spec, "image", 3).values()) == pytest.approx(3 * whole)


def test_a_layer_s_halves_are_counted_apart(siglip):
    counted = tower_flops(siglip, "image", 1)
    tokens, dim, wide = 16, 64, 128
    assert counted["block 1 attention"] == 4 * 2 * tokens * dim * dim + 2 * 2 * tokens * tokens * dim
    assert counted["block 1 MLP"] == 2 * 2 * tokens * dim * wide
    assert counted["patch embedding"] == 2 * tokens * (3 * 8 * 8) * dim
    assert counted["final norm"] == 0


@pytest.mark.parametrize(
    ("fixture", "image_ends", "text_end"),
    [
        ("tiny_siglip", ["final norm", "pooling head"], ["final norm", "projection"]),
        ("tiny_naflex", ["final norm", "pooling head"], ["final norm", "projection"]),
        ("tiny_clip", ["final norm", "projection"], ["final norm", "projection"]),
        ("tiny_open_clip", ["final norm", "projection"], ["final norm", "projection"]),
    ],
)
def test_each_family_s_blocks_come_in_their_order(request, fixture, image_ends, text_end):
    spec = resolve_model(str(request.getfixturevalue(fixture)))
    assert list(tower_flops(spec, "image", 1)) == ["patch embedding", *LAYERS, *image_ends]
    texts = tower_flops(spec, "text", 1)
    assert list(texts) == ["token embedding", *LAYERS, *text_end]
    assert texts["projection"] > 0


def test_towers_of_timm_have_the_same_blocks(tiny_open_clip_siglip, tiny_open_clip_conv):
    vit = list(tower_flops(resolve_model(str(tiny_open_clip_siglip)), "image", 1))
    assert (vit[0], vit[1], vit[2]) == ("patch embedding", "block 0 attention", "block 0 MLP")
    assert vit[-2:] == ["final norm", "pooling head"]
    conv = list(tower_flops(resolve_model(str(tiny_open_clip_conv)), "image", 1))
    assert (conv[0], conv[1], conv[-1]) == ("stem", "block 0.0", "projection")
    assert "head" in conv


def test_the_bundled_towers_have_theirs():
    spec = resolve_model("siglit-mini")
    image = list(tower_flops(spec, "image", 1))
    assert [image[0], image[1], image[-1]] == ["net 0 stem", "net 0 block 0", "projection"]
    assert {"net 0 head", "net 1 stem", "net 1 block 20", "net 1 head"} <= set(image)
    text = list(tower_flops(spec, "text", 1))
    assert [text[0], *text[-3:]] == ["token embedding", "block 5 MLP", "pooling head", "projection"]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("tower", TOWERS)
def test_every_module_with_weights_has_a_block(request, name, tower):
    spec = resolve_model(str(request.getfixturevalue(name)) if name.startswith("tiny") else name)
    modules = dict(getattr(load_towers(spec), tower).named_modules())
    weighted = [
        path for path, module in modules.items() if any(True for _ in module.parameters(recurse=False))
    ]
    strange = {path for path in weighted if block_of(path, spec.family) == OTHER}
    assert weighted
    assert strange == set()
