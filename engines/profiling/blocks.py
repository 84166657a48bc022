"""Which block of a tower an operator belongs to: one naming for every family of models and every runtime.

A block is what people speak of: the patch embedding, a layer's attention or MLP with the norm and the
residual sum that belong to it, the pooling head. An operator is found by the path of the module it ran in,
as the towers of `engines.pytorch.towers` name them; `ort_nodes` finds the same paths for ONNX nodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from engines.models import Family

Tower: TypeAlias = Literal["image", "text"]
TOWERS: tuple[Tower, ...] = ("image", "text")

PATCHES, TOKENS = "patch embedding", "token embedding"
FINAL_NORM, POOLING, PROJECTION = "final norm", "pooling head", "projection"
STEM, HEAD = "stem", "head"  # of a convolutional tower
OTHER = "other"  # what nobody can attribute; shown, never hidden

_HALVES: Mapping[str, str] = MappingProxyType(  # the part of a layer -> its half
    {
        **dict.fromkeys(("layer_norm1", "self_attn"), "attention"),  # transformers
        **dict.fromkeys(("layer_norm2", "mlp"), "MLP"),
        **dict.fromkeys(("norm1", "attn", "ls1", "drop_path1"), "attention"),  # timm
        **dict.fromkeys(("norm2", "ls2", "drop_path2"), "MLP"),
        **dict.fromkeys(("ln_1", "ln_1_kv", "ln_attn", "ls_1"), "attention"),  # open_clip
        **dict.fromkeys(("ln_2", "ls_2"), "MLP"),
        **dict.fromkeys(("query", "key", "value", "attended", "attended_norm"), "attention"),  # the MiniLM
        **dict.fromkeys(("wide", "narrow", "output_norm"), "MLP"),
    }
)
_LAYER = re.compile(r"(?:^|\.)(?:layers|resblocks|blocks)\.(\d+)(?:\.([a-z]\w*)|$)")
_TRANSFORMERS_TEXT = {
    r"text_model\.embeddings": TOKENS,
    r"text_model\.final_layer_norm": FINAL_NORM,
    r"text_model\.head": PROJECTION,  # SigLIP's own
    r"projection": PROJECTION,  # CLIP's, of both towers
}
_TRANSFORMERS = _TRANSFORMERS_TEXT | {
    r"vision_model\.(?:embeddings|pre_layrnorm)": PATCHES,
    r"vision_model\.post_layernorm": FINAL_NORM,
    r"vision_model\.head": POOLING,
}
_ENDS: Mapping[Family, Mapping[str, str]] = MappingProxyType(  # what stands before and after the layers
    {
        "siglip": _TRANSFORMERS,
        "clip": _TRANSFORMERS,
        "siglip2": _TRANSFORMERS_TEXT
        | {r"patch_embedding": PATCHES, r"post_layernorm": FINAL_NORM, r"head\.\w+": POOLING},
        "open_clip": {
            r"visual\.(?:conv1|patch_dropout|ln_pre)": PATCHES,
            r"visual\.ln_post": FINAL_NORM,
            r"visual\.attn_pool\w*": POOLING,
            r"trunk\.(?:patch_embed|pos_drop|patch_drop|norm_pre)": PATCHES,
            r"trunk\.(?:norm|fc_norm)": FINAL_NORM,
            r"trunk\.(?:attn_pool|global_pool)": POOLING,
            r"trunk\.(?:stem|conv_stem|bn1)": STEM,
            r"trunk\.(?:blocks|stages)\.(\d+)\.(?:blocks\.)?(\d+)": r"block \1.\2",
            r"trunk\.(?:final_conv|conv_head|bn2)": HEAD,
            r"trunk\.(?:head|head_drop|classifier)|head": PROJECTION,
            r"model\.(?:text\.)?token_embedding": TOKENS,
            r"model\.(?:text\.)?ln_final": FINAL_NORM,
            r"model\.(?:text\.)?text_projection": PROJECTION,
        },
        "bundled": {  # two convolutional nets side by side; the MiniLM
            r"tower\.nets\.(\d+)\.(?:_conv_stem|_bn0)": rf"net \1 {STEM}",
            r"tower\.nets\.(\d+)\._blocks\.(\d+)": r"net \1 block \2",
            r"tower\.nets\.(\d+)\.(?:_conv_head|_bn1|_fc)": rf"net \1 {HEAD}",
            r"tower\.embeddings": TOKENS,
            r"head": PROJECTION,
        },
    }
)
_RULES = {
    family: [(re.compile(rf"(?:{pattern})(?:\.|$)"), name) for pattern, name in ends.items()]
    for family, ends in _ENDS.items()
}
# Modules that hold blocks of several kinds. `_swish` is called after the stem and after the head; the NaFlex
# tower calls its head's parts one by one.
_CONTAINER = re.compile(
    r"head|(?:(?:vision_model|text_model)(?:\.encoder)?|encoder|visual(?:\.transformer)?"
    r"|model(?:\.text)?(?:\.transformer)?|trunk|tower)?(?:(?:^|\.)(?:layers|resblocks|blocks|stages|nets))?"
    r"|tower\.nets\.\d+(?:\._blocks|\._swish)?|trunk\.stages\.\d+(?:\.blocks)?"
)
_PRODUCT = re.compile(r"MatMul|Gemm|::(?:add|b)?mm$|::matmul$")  # ONNX's and PyTorch's names


class Place(NamedTuple):
    """Where an operator ran."""

    module: str | None  # its path, "" for the tower itself; None when the operator's name does not say
    operator: str  # its kind


def block_of(module: str, family: Family) -> str | None:
    """Return the block of a module; None for one that holds several, OTHER for one that no rule knows."""
    for pattern, name in _RULES[family]:
        if match := pattern.match(module):
            return match.expand(name)
    if layer := _LAYER.search(module):
        number, part = layer.groups()
        if part is None:
            return None
        return f"block {number} {_HALVES[part]}" if part in _HALVES else OTHER
    return None if _CONTAINER.fullmatch(module) else OTHER


def name_blocks(places: Sequence[Place], family: Family) -> list[str]:
    """Return the block of each operator of one call, given in the order in which they ran.

    What runs between blocks goes to the one before it, or at the beginning to the first: a residual sum
    stands in its layer, outside of both halves, and closes the half that ran last. So does an operator of
    which nothing is known: whatever a runtime inserts works for a neighbour, and without another hint the
    order of execution is the best one.
    """
    own = [None if place.module is None else block_of(place.module, family) for place in places]
    following = list(reversed(_latest(reversed(own))))
    blocks: list[str] = []
    previous = ""
    for place, block, ahead in zip(places, own, following, strict=True):
        found = block or _adopt(place, previous, ahead, family)
        blocks.append(found)
        if found != OTHER:
            previous = found
    return blocks


def _latest(blocks: Iterable[str | None]) -> list[str]:
    """Return at each place the last block that is known there; "" before the first."""
    latest, known = [], ""
    for block in blocks:
        if block is not None and block != OTHER:
            known = block
        latest.append(known)
    return latest


def _adopt(place: Place, previous: str, following: str, family: Family) -> str:
    """Return the block of an operator whose place does not tell it, from its neighbours."""
    if not previous:
        return following or OTHER
    if place.module is None:
        return previous
    layer = _LAYER.search(place.module)
    if layer and not re.match(rf"block {layer.group(1)}[ .]", previous):
        return following or previous
    # open_clip multiplies by a bare parameter, which belongs to no module of its own.
    if previous in (FINAL_NORM, POOLING) and _PRODUCT.search(place.operator):
        return PROJECTION
    # The MiniLM ends without a norm: what its tower does after the last layer is the mean over tokens.
    is_tail = previous.startswith("block") and not following.startswith("block")
    if family == "bundled" and place.module == "tower" and is_tail:
        return POOLING
    return previous
