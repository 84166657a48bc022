"""Pixels and tokens equal those of the checkpoint's own transformers classes."""

import numpy as np
import pytest
from PIL import Image
from transformers import AutoTokenizer, CLIPImageProcessorPil, SiglipImageProcessorPil

from engines.factory import resolve_model
from engines.models import get_bundled_model
from engines.preparation.preprocess import Preprocessor, clean_text, resize_image
from tests.fakes import fake_spec

SIZES = [(40, 30), (30, 40), (33, 101), (500, 333), (32, 32), (7, 9), (1, 1)]
TEXTS = [
    "A photo, of a CAT!",
    "hello   world",
    "a\ttab and\na line",
    "zebra öx 42",
    "",
    "a photo of a cat " * 10,
]


def noise(size):
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8))


@pytest.fixture(params=["tiny_siglip", "tiny_clip"])
def checkpoint(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("size", SIZES)
def test_pixels_equal_those_of_transformers(checkpoint, size):

    spec = resolve_model(str(checkpoint))
    processor = {"siglip": SiglipImageProcessorPil, "clip": CLIPImageProcessorPil}[spec.family]
    expected = processor.from_pretrained(checkpoint)(noise(size))["pixel_values"][0]
    pixels = Preprocessor(spec).prepare_image(noise(size))
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, expected, atol=1e-5)


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_equal_those_of_transformers(checkpoint, text):

    spec = resolve_model(str(checkpoint))
    padding = "max_length" if spec.pad_to_context else "do_not_pad"
    expected = AutoTokenizer.from_pretrained(checkpoint)(text, padding=padding, truncation=True)["input_ids"]
    tokens = Preprocessor(spec).prepare_text(text)
    assert list(tokens.ids) == expected
    assert tokens.truncated == (text == TEXTS[-1])


def test_only_siglip_is_padded_to_its_context(tiny_siglip, tiny_clip):
    lengths = [
        len(Preprocessor(resolve_model(str(folder))).prepare_text("a cat").ids)
        for folder in (tiny_siglip, tiny_clip)
    ]
    assert lengths == [16, 5]  # the context; what the words need


@pytest.mark.parametrize(
    ("cleaning", "cleaned"),
    [("none", "A Cat,  on-a mat. "), ("lower", "a cat,  on-a mat. "), ("canonicalize", "a cat ona mat")],
)
def test_texts_are_cleaned_as_in_training(cleaning, cleaned):
    assert clean_text("A Cat,  on-a mat. ", fake_spec(text_cleaning=cleaning)) == cleaned


def test_pad_keeps_the_whole_image_and_crop_its_centre():
    image = Image.new("RGB", (40, 20), "white")
    padded = np.asarray(resize_image(image, 8, "pad", "bilinear"))
    assert padded.shape == (8, 8, 3)
    assert (padded[:, 0, 0] == 255).tolist() == [False] * 2 + [True] * 4 + [False] * 2
    cropped = np.asarray(resize_image(image, 8, "crop", "bilinear"))
    assert (cropped == 255).all()


@pytest.mark.parametrize(("size", "white_rows"), [((40, 20), 5), ((25, 20), 8), ((20, 20), 8)])
def test_crop_pad_gives_up_at_most_a_fifth_of_the_long_side(size, white_rows):
    rows = np.asarray(resize_image(Image.new("RGB", size, "white"), 8, "crop_pad", "bilinear"))[:, 4, 0]
    assert (rows == 255).sum() == white_rows


def test_a_ribbon_is_cut_before_it_is_resized(monkeypatch):
    sizes = []
    resize = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda self, size, *rest: sizes.append(size) or resize(self, size, *rest)
    )
    assert resize_image(Image.new("RGB", (30_000, 1)), 8, "crop", "bicubic").size == (8, 8)
    assert sizes == [(64, 8)]


@pytest.mark.model
def test_the_bundled_pair_says_which_scripts_it_cannot_read():
    preprocessor = Preprocessor(get_bundled_model("siglit-mini"))
    assert preprocessor.knows("a cat, a dog & 7 naïve cafés")
    for text in ("猫", "a 🐱", "ሰላም"):
        assert not preprocessor.knows(text)


def test_a_tokenizer_of_bytes_knows_everything(tiny_clip):
    preprocessor = Preprocessor(resolve_model(str(tiny_clip)))
    assert preprocessor.knows("a 🐱 猫")
    assert preprocessor.knows("")
