"""Build tiny open_clip checkpoints with its own model classes and its own configuration writer."""

from pathlib import Path

import open_clip
import torch
from open_clip.push_to_hf_hub import save_config_for_hf
from safetensors.torch import save_file
from transformers import GemmaTokenizer

from tests.checkpoints import gemma_pieces

TEXT = {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2}
_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 8, "patch_size": 8},
    "text_cfg": TEXT,
}
# As ViT-B-16-SigLIP2: a timm tower with attention pooling, full attention, the last position pooled.
_SIGLIP = {
    "embed_dim": 64,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "map", "timm_proj": "none"},
    "text_cfg": TEXT
    | {
        "context_length": 16,
        "vocab_size": len(gemma_pieces()[0]),
        "hf_tokenizer_name": "timm/ViT-B-16-SigLIP2",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
    },
}
# As MobileCLIP2-S0: a convolutional net whose classifier is the projection, full attention in texts.
_CONV = {
    "embed_dim": 16,
    "custom_text": True,
    "vision_cfg": {"image_size": 64, "timm_model_name": "test_efficientnet", "timm_proj": None},
    "text_cfg": TEXT | {"no_causal_mask": True},
}


def _build(folder: Path, config: dict, **preprocess) -> Path:
    torch.manual_seed(0)
    model_class = open_clip.CustomTextCLIP if "custom_text" in config else open_clip.CLIP
    model = model_class(**{key: value for key, value in config.items() if key != "custom_text"}).eval()
    open_clip.model.set_model_preprocess_cfg(model, preprocess)
    save_config_for_hf(model, folder / "open_clip_config.json", config)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def build_tiny_open_clip(folder: Path) -> Path:
    """Write a CLIP with open_clip's own vision transformer and byte-pair tokenizer."""
    return _build(
        folder, _CLIP, mean=list(open_clip.OPENAI_DATASET_MEAN), std=list(open_clip.OPENAI_DATASET_STD)
    )


def build_tiny_open_clip_siglip(folder: Path) -> Path:
    """Write a SigLIP 2 with a timm tower and a Gemma tokenizer."""
    vocab, merges = gemma_pieces()
    GemmaTokenizer(
        vocab=vocab, merges=merges, padding_side="right", add_bos_token=False, add_eos_token=True
    ).save_pretrained(folder)
    half = [0.5, 0.5, 0.5]
    return _build(folder, _SIGLIP, mean=half, std=half, interpolation="bicubic", resize_mode="squash")


def build_tiny_open_clip_conv(folder: Path) -> Path:
    """Write a MobileCLIP2-like model with a convolutional timm tower."""
    mean, std = [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]
    return _build(folder, _CONV, mean=mean, std=std, interpolation="bilinear", resize_mode="shortest")
