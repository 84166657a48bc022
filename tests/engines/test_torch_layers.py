"""Taken-apart attention equals the packed one, and only what may be replaced is."""

import pytest
import torch
from torch import nn

from engines.pytorch.layers import SplitAttention, replace_linear, split_attention

FLOAT_MASK = torch.full((5, 5), float("-inf")).triu(1)


@pytest.mark.parametrize(
    "mask",
    [None, FLOAT_MASK, FLOAT_MASK < 0, FLOAT_MASK.repeat(3 * 4, 1, 1)],
    ids=["none", "float", "bool", "per head"],
)
@pytest.mark.parametrize("bias", [True, False])
def test_split_attention_equals_the_packed_one(mask, bias):
    torch.manual_seed(0)
    packed = nn.MultiheadAttention(16, 4, bias=bias, batch_first=True).eval()
    rows = torch.randn(3, 5, 16)
    with torch.inference_mode():
        expected, _ = packed(rows, rows, rows, attn_mask=mask, need_weights=False)
        got, _ = SplitAttention(packed)(rows, rows, rows, attn_mask=mask)
    torch.testing.assert_close(got, expected)


def test_every_linear_layer_but_the_pixels_is_replaced():
    tower = nn.ModuleDict(
        {
            "patch_embedding": nn.Linear(4, 4),
            "attention": nn.MultiheadAttention(4, 2, batch_first=True),
            "mlp": nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)),
        }
    )
    replaced = []
    replace_linear(tower, lambda layer: replaced.append(layer) or nn.Identity())
    assert len(replaced) == 5  # four in the attention
    assert [name for name, module in tower.named_modules() if type(module) is nn.Linear] == [
        "patch_embedding"
    ]


def test_an_attention_of_another_layout_stays_whole():
    tower = nn.ModuleDict({"attention": nn.MultiheadAttention(4, 2, batch_first=False)})
    split_attention(tower)
    assert type(tower["attention"]) is nn.MultiheadAttention
