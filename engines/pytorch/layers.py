"""Replace the linear layers of any tower by quantized ones; nothing here knows a model or a number format."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

# The layer that reads the pixels stays in float32: a NaFlex model's is linear, and the input's dtype
# is taken from its weight.
FLOAT_LAYERS = ("patch_embed",)


class SplitAttention(nn.Module):
    """An `nn.MultiheadAttention` whose packed projection is three linear layers, which can be replaced."""

    def __init__(self, packed: nn.MultiheadAttention) -> None:
        """Take the weights of a batch-first attention whose query, key and value are equally wide."""
        super().__init__()
        self.num_heads = packed.num_heads
        weights = packed.in_proj_weight.detach().chunk(3)
        biases = (None,) * 3 if packed.in_proj_bias is None else packed.in_proj_bias.detach().chunk(3)
        self.q_proj, self.k_proj, self.v_proj = map(_linear, weights, biases)
        self.out_proj = _linear(packed.out_proj.weight.detach(), packed.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Attend as `nn.MultiheadAttention` does; the attention weights are never returned.

        Args:
            query: [n, t, d].
            key: [n, s, d].
            value: [n, s, d].
            need_weights: ignored; a caller that asks for the weights gets None.
            attn_mask: [t, s] or [n * heads, t, s]; added to the logits, or True where not to look.
            key_padding_mask: [n, s], likewise; not together with attn_mask.
        """
        if key_padding_mask is not None:
            attn_mask = key_padding_mask[:, None, None, :]  # [n, heads, t, s]
        n, t, d = query.shape
        q, k, v = (
            projection(rows)
            .unflatten(-1, (self.num_heads, -1))
            .transpose(1, 2)  # [n, heads, tokens, d / heads]
            for projection, rows in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=self._mask(attn_mask))
        return self.out_proj(mixed.transpose(1, 2).reshape(n, t, d)), None

    def _mask(self, mask: Tensor | None) -> Tensor | None:
        if mask is None:
            return None
        if mask.dim() == 3:
            mask = mask.unflatten(0, (-1, self.num_heads))
        return ~mask if mask.dtype == torch.bool else mask  # the two functions mean opposite things by True


def replace_linear(tower: nn.Module, replace: Callable[[nn.Linear], nn.Module]) -> None:
    """Replace every linear layer, one at a time, so that only one exists twice.

    Embedding tables, norms, convolutions and parameters outside layers stay as they are.
    """
    split_attention(tower)
    for name, module in list(tower.named_modules()):
        if type(module) is nn.Linear and not any(part in name for part in FLOAT_LAYERS):
            quantized = replace(module)
            quantized.int8_original_dtype = torch.float32  # type: ignore[assignment]  # open_clip's name
            tower.set_submodule(name, quantized)


def split_attention(tower: nn.Module) -> None:
    """Take packed attentions apart; its own forward reads weights past the layers that hold them."""
    for name, module in list(tower.named_modules()):
        if type(module) is nn.MultiheadAttention and _is_plain(module):
            tower.set_submodule(name, SplitAttention(module).train(module.training))


def _is_plain(attention: nn.MultiheadAttention) -> bool:
    extras = attention.bias_k is not None or attention.add_zero_attn
    return attention.batch_first and attention._qkv_same_embed_dim and not extras


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return layer
