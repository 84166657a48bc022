"""torch-fp32 equals transformers on checkpoints of the real classes, and wrong preparation would show."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoTokenizer,
    CLIPImageProcessorPil,
    CLIPModel,
    SiglipImageProcessorPil,
    SiglipModel,
)

from engines.errors import InvalidInputError
from engines.factory import load_engine, resolve_model
from engines.preparation.preprocess import Preprocessor

TEXTS = ["a photo of a cat", "Two RED buses, in a street!", "a rocket"]


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(1)
    return [Image.fromarray(rng.integers(0, 255, (h, w, 3), np.uint8)) for h, w in ((48, 64), (64, 40))]


def ours(folder, images, **changes):
    spec = dataclasses.replace(resolve_model(str(folder)), **changes)
    engine, preprocessor = load_engine(spec, "torch-fp32"), Preprocessor(spec)
    rows = engine.embed_pixels([preprocessor.prepare_image(image) for image in images])
    texts = engine.embed_tokens([preprocessor.prepare_text(text) for text in TEXTS])
    return spec, rows, texts


@pytest.mark.parametrize(
    ("fixture", "model_class", "processor_class", "padding"),
    [
        ("tiny_siglip", SiglipModel, SiglipImageProcessorPil, "max_length"),
        ("tiny_clip", CLIPModel, CLIPImageProcessorPil, True),
    ],
)
def test_logits_equal_those_of_transformers(request, images, fixture, model_class, processor_class, padding):
    folder = request.getfixturevalue(fixture)
    model = model_class.from_pretrained(folder)
    inputs = AutoTokenizer.from_pretrained(folder)(
        TEXTS, padding=padding, truncation=True, return_tensors="pt"
    )
    if fixture == "tiny_siglip":
        inputs.pop("attention_mask", None)
    pixels = processor_class.from_pretrained(folder)(images, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        expected = model(pixel_values=pixels, **inputs).logits_per_image.numpy()
    spec, rows, texts = ours(folder, images)
    np.testing.assert_allclose(spec.logit_scale * rows @ texts.T + spec.logit_bias, expected, atol=1e-3)


@pytest.mark.parametrize(
    "wrong", [{"pad_to_context": False}, {"text_cleaning": "none"}, {"resize_mode": "crop"}]
)
def test_wrong_preparation_of_siglip_would_be_noticed(tiny_siglip, images, wrong):
    _, *right = ours(tiny_siglip, images)
    _, *changed = ours(tiny_siglip, images, **wrong)
    assert max(np.abs(a - b).max() for a, b in zip(right, changed, strict=True)) > 1e-2


def test_damaged_weights_are_named_in_one_sentence(tiny_clip, tmp_path):
    for path in tiny_clip.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(InvalidInputError, match="not a whole safetensors file"):
        load_engine(str(tmp_path))
