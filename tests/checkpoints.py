"""Build tiny SigLIP and CLIP checkpoints with the real configuration, model and tokenizer classes."""

from pathlib import Path

import sentencepiece
import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipTokenizer,
)

SENTENCES = (
    "a photo of a cat",
    "a photo of a dog",
    "this is a photo of a lion in the grass",
    "two red buses in a street",
    "a cup of coffee on a wooden table",
    "a rocket on its launch pad at night",
    "an astronaut, smiling, with her helmet",
    "the quick brown fox jumps over the lazy dog",
    "a motorcycle in a garage",
    "old coins from pompeii",
)
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = TOWER | {"image_size": 32, "patch_size": 8}


def build_tiny_siglip(folder: Path) -> Path:
    """Write a SigLIP checkpoint of a few kilobytes: squashed images, 16 tokens, sentencepiece."""
    torch.manual_seed(0)
    prefix = folder / "spiece"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20),
        model_prefix=str(prefix),
        vocab_size=60,
        model_type="unigram",
        pad_id=-1,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        eos_piece="</s>",
        minloglevel=2,
    )
    (folder / "spiece.vocab").unlink()
    tokenizer = SiglipTokenizer(str(folder / "spiece.model"), model_max_length=16)
    text = TOWER | {"vocab_size": 60, "max_position_embeddings": 16, "pad_token_id": 0, "eos_token_id": 0}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=VISION)).eval()
    model.logit_scale.data.fill_(4.7)
    model.logit_bias.data.fill_(-16.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def build_tiny_clip(folder: Path) -> Path:
    """Write a CLIP checkpoint of a few kilobytes: cropped images, 24 tokens, byte-pair encoding."""
    torch.manual_seed(0)
    letters = sorted({letter for sentence in SENTENCES for letter in sentence if letter != " "})
    merges = [("c", "a"), ("ca", "t</w>"), ("d", "o"), ("do", "g</w>"), ("o", "f</w>")]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(merge) for merge in merges)]
    vocab = {piece: index for index, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=24)
    eos = vocab["<|endoftext|>"]
    text = TOWER | {
        "vocab_size": len(vocab), "max_position_embeddings": 24,
        "bos_token_id": eos - 1, "eos_token_id": eos, "pad_token_id": eos,
    }  # fmt: skip
    config = CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)
    CLIPModel(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        folder
    )
    return folder
