from __future__ import annotations

import json

import pytest
import torch

from engines.bundled.model import (
    BUNDLED_DIR,
    FEATURE_DIM,
    NUM_CLASSES,
    ImageHead,
    TextHead,
    load_bundled_model,
)
from engines.bundled.text_tower import TEXT_DIM, TextTower
from engines.bundled.towers import file_sha256
from engines.errors import UnknownModelError

NAMES = ("siglit-mini", "lit-mini")


def test_untrained_image_head_is_the_class_table() -> None:
    head = ImageHead(hidden=4).eval()
    head.table.data[7, 0] = 1.0
    logits = torch.full((1, NUM_CLASSES), -50.0)
    logits[0, 7] = 50.0
    embedding = head(torch.randn(1, FEATURE_DIM), logits)
    torch.testing.assert_close(embedding, torch.eye(1, TEXT_DIM))


@pytest.mark.parametrize("hidden", [0, 4])
def test_untrained_text_head_is_the_identity(hidden: int) -> None:
    sentence = torch.nn.functional.normalize(torch.randn(3, TEXT_DIM), dim=-1)
    torch.testing.assert_close(TextHead(hidden)(sentence), sentence)


def test_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(UnknownModelError, match="lit-mini, siglit-mini"):
        load_bundled_model("nothing")


@pytest.mark.parametrize("name", NAMES)
def test_shipped_heads_are_the_ones_the_configuration_names(name: str) -> None:
    config = json.loads((BUNDLED_DIR / name / "config.json").read_text("utf-8"))
    assert config["heads_sha256"] == file_sha256(BUNDLED_DIR / name / "heads.safetensors")
    assert config["dim"] == TEXT_DIM


@pytest.mark.model
@pytest.mark.parametrize("name", NAMES)
def test_embeddings_have_unit_length_and_ignore_their_batch(name: str) -> None:
    model = load_bundled_model(name)
    torch.manual_seed(0)
    pixels = torch.randn(2, 3, 260, 260)
    tokens = torch.tensor([[101, 4937, 102, 0], [101, 1037, 4937, 102]])
    mask = (tokens > 0).long()
    with torch.inference_mode():
        images, texts = model.embed_pixels(pixels), model.embed_tokens(tokens, mask)
        torch.testing.assert_close(images.norm(dim=-1), torch.ones(2))
        torch.testing.assert_close(texts.norm(dim=-1), torch.ones(2))
        torch.testing.assert_close(model.embed_pixels(pixels[:1])[0], images[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(
            model.embed_tokens(tokens[:1, :3], mask[:1, :3])[0], texts[0], atol=1e-5, rtol=0
        )


@pytest.mark.model
def test_text_tower_agrees_with_transformers() -> None:
    # First numbers of transformers' BertModel (5.23, fp32), mean-pooled and normalised, for "a cat".
    tokens = torch.tensor([[101, 1037, 4937, 102]])
    with torch.inference_mode():
        row = TextTower().eval()(tokens, torch.ones_like(tokens))[0]
    torch.testing.assert_close(
        row[:4], torch.tensor([0.061734, 0.041460, 0.008763, 0.062512]), atol=1e-4, rtol=0
    )
