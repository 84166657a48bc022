"""One suite that every engine passes; add an engine by adding a row."""

import numpy as np
import pytest
from PIL import Image

from engines.errors import InferenceError
from engines.factory import load_engine, resolve_model
from engines.preprocess import Preprocessor

# Largest difference that a row's batch may make, measured on AVX2 and rounded up.
ENGINES = [
    pytest.param(("tiny_siglip", "torch-fp32", 1e-5), id="siglip-torch-fp32"),
    pytest.param(("tiny_clip", "torch-fp32", 1e-5), id="clip-torch-fp32"),
    *[
        pytest.param((model, engine, 1e-4), id=f"{model}-{engine}", marks=pytest.mark.model)
        for model in ("siglit-mini", "lit-mini")
        for engine in ("torch-fp32", "onnx-fp32")
    ],
]
TEXTS = ["a cat", "a much longer caption than the first one, with a dog and a bus in it", "", "ünïcode 猫 🐈"]


@pytest.fixture(params=ENGINES, scope="module")
def loaded(request):
    model, engine, atol = request.param
    if model.startswith("tiny"):
        model = str(request.getfixturevalue(model))
    spec = resolve_model(model)
    return load_engine(spec, engine), Preprocessor(spec), atol


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    noise = [
        Image.fromarray(rng.integers(0, 255, (h, w, 3), np.uint8)) for h, w in ((30, 40), (300, 200), (1, 1))
    ]
    return [*noise, Image.new("RGB", (64, 64), "red")]


def test_rows_are_normalised_float32_of_the_model_s_dimension(loaded, images):
    engine, preprocessor, _ = loaded
    for rows in (
        engine.embed_pixels([preprocessor.prepare_image(image) for image in images]),
        engine.embed_tokens([preprocessor.prepare_text(text) for text in TEXTS]),
    ):
        assert rows.dtype == np.float32
        assert rows.shape == (4, engine.spec.dim)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_a_row_does_not_depend_on_its_batch(loaded, images):
    engine, preprocessor, atol = loaded
    pixels = [preprocessor.prepare_image(image) for image in images]
    tokens = [preprocessor.prepare_text(text) for text in TEXTS]
    np.testing.assert_allclose(
        engine.embed_pixels(pixels), np.vstack([engine.embed_pixels([item]) for item in pixels]), atol=atol
    )
    np.testing.assert_allclose(
        engine.embed_tokens(tokens), np.vstack([engine.embed_tokens([item]) for item in tokens]), atol=atol
    )


def test_order_is_kept(loaded, images):
    engine, preprocessor, atol = loaded
    pixels = [preprocessor.prepare_image(image) for image in images]
    np.testing.assert_allclose(
        engine.embed_pixels(pixels[::-1]), engine.embed_pixels(pixels)[::-1], atol=atol
    )


def test_no_input_gives_no_rows(loaded):
    engine, *_ = loaded
    assert engine.embed_pixels([]).shape == engine.embed_tokens([]).shape == (0, engine.spec.dim)


def test_a_text_beyond_the_context_is_cut_and_embedded(loaded):
    engine, preprocessor, _ = loaded
    tokens = preprocessor.prepare_text("a photo of a cat " * 100)
    assert tokens.truncated
    assert len(tokens.ids) == engine.spec.context_length
    assert engine.embed_tokens([tokens]).shape == (1, engine.spec.dim)


def test_a_batch_of_the_wrong_shape_is_an_inference_error(loaded):
    engine, *_ = loaded
    with pytest.raises(InferenceError):
        engine.embed_pixels([np.zeros((5, 7, 7), np.float32)])
