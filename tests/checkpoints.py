"""Build tiny SigLIP, SigLIP 2 and CLIP checkpoints with the real classes."""

from pathlib import Path

import torch
from transformers import (
    GemmaTokenizer,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    Siglip2Model,
    Siglip2Tokenizer,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
)

from engines.checkpoints.random_tokenizers import SENTENCES as SENTENCES  # what the tokenizers know
from engines.checkpoints.random_weights import write_clip, write_siglip

TOWER = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = TOWER | {"image_size": 32, "patch_size": 8}


def build_tiny_siglip(folder: Path) -> Path:
    """Write a SigLIP checkpoint of a few kilobytes: squashed images, 16 tokens, sentencepiece."""
    text = TOWER | {"max_position_embeddings": 16}
    write_siglip(folder, vocab_size=60, text=text, vision=VISION, logits=(4.7, -16.5))
    return folder


def build_tiny_clip(folder: Path) -> Path:
    """Write a CLIP checkpoint of a few kilobytes: cropped images, 24 tokens, byte-pair encoding."""
    text = TOWER | {"max_position_embeddings": 24}
    write_clip(folder, vocab_size=600, text=text, vision=VISION, dim=16)
    return folder


def gemma_pieces() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the vocabulary and merges of a byte-fallback tokenizer like Gemma's."""
    merges = [("c", "a"), ("ca", "t"), ("d", "o"), ("do", "g"), ("▁", "a"), ("o", "f")]
    letters = [*"▁abcdefghijklmnopqrstuvwxyzABCR,.!", *(f"<0x{byte:02X}>" for byte in range(256))]
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    pieces = [*special, *letters, *("".join(merge) for merge in merges)]
    return {piece: index for index, piece in enumerate(pieces)}, merges


def build_tiny_siglip_with_gemma(folder: Path) -> Path:
    """Write a SigLIP 2 checkpoint of one image size: a `SiglipModel` with Gemma's tokenizer.json."""
    torch.manual_seed(0)
    vocab, merges = gemma_pieces()
    text = TOWER | {"vocab_size": len(vocab), "max_position_embeddings": 16, "pad_token_id": 0}
    SiglipModel(SiglipConfig(text_config=text, vision_config=VISION)).eval().save_pretrained(folder)
    GemmaTokenizer(
        vocab=vocab, merges=merges, padding_side="right", add_bos_token=False, add_eos_token=True,
        model_max_length=16,
    ).save_pretrained(folder)  # fmt: skip
    SiglipImageProcessorPil(size={"height": 32, "width": 32}, resample=2).save_pretrained(folder)
    return folder


def build_tiny_naflex(folder: Path) -> Path:
    """Write a NaFlex checkpoint: at most 24 patches of 8 pixels, positions of a 4 x 4 grid."""
    torch.manual_seed(0)
    vocab, merges = gemma_pieces()
    text = TOWER | {"vocab_size": len(vocab), "max_position_embeddings": 16}
    text["projection_size"] = TOWER["hidden_size"]
    vision = TOWER | {"num_patches": 16, "patch_size": 8}
    model = Siglip2Model(Siglip2Config(text_config=text, vision_config=vision)).eval()
    model.logit_scale.data.fill_(4.7)
    model.logit_bias.data.fill_(-16.5)
    model.save_pretrained(folder)
    Siglip2Tokenizer(
        vocab=vocab, merges=merges, padding_side="right", add_bos_token=False, add_eos_token=True,
        model_max_length=16, model_input_names=["input_ids"],
    ).save_pretrained(folder)  # fmt: skip
    Siglip2ImageProcessorPil(patch_size=8, max_num_patches=24).save_pretrained(folder)
    return folder
