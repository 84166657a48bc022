"""NaFlex models equal transformers' on images of any aspect ratio, in torch and in ONNX."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, Siglip2ImageProcessorPil, Siglip2Model
from transformers.models.siglip2.image_processing_pil_siglip2 import get_image_size_for_max_num_patches

from engines.errors import InferenceError
from engines.factory import EngineOptions, load_engine, resolve_model
from engines.preparation.naflex import position_weights, target_size
from engines.preparation.preprocess import Preprocessor
from tests.builders import build_here

SIZES = [(48, 64), (64, 40), (10, 300), (300, 60), (1, 1), (57, 57), (33, 200)]
TEXTS = ["a photo of a cat", "Two RED buses, in a street!", "", "é 猫"]


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(2)
    return [Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)) for size in SIZES]


@pytest.mark.parametrize("max_num_patches", [24, 256, 1024])
def test_sizes_are_those_that_transformers_chooses(max_num_patches):
    rng = np.random.default_rng(3)
    for height, width in [*SIZES, *rng.integers(1, 5000, (200, 2)).tolist()]:
        assert target_size(height, width, 16, max_num_patches) == get_image_size_for_max_num_patches(
            height, width, 16, max_num_patches
        )


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (1, 24), (3, 8), (5, 4), (16, 16), (7, 2)])
@pytest.mark.parametrize("grid", [4, 16])
def test_position_weights_resize_as_torch_does(rows, columns, grid):
    table = torch.randn(1, 5, grid, grid, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(
        table, size=(rows, columns), mode="bilinear", antialias=True, align_corners=False
    )
    ours = position_weights(rows, columns, grid) @ table.flatten(2)[0].T.numpy()
    np.testing.assert_allclose(ours, expected.flatten(2)[0].T.numpy(), atol=1e-5)


def test_a_single_column_is_resized_as_a_single_row():
    # torch 2.13's antialiased CPU kernel resizes to [n, 1] other than to [1, n] turned by 90 degrees.
    table = np.random.default_rng(4).normal(size=(4, 4))
    column = position_weights(24, 1, 4) @ table.reshape(16)
    row = position_weights(1, 24, 4) @ table.T.reshape(16)
    np.testing.assert_allclose(column, row, atol=1e-6)


@pytest.mark.parametrize("engine_name", ["torch-fp32", "onnx-fp32"])
def test_embeddings_and_patches_equal_those_of_transformers(
    tiny_naflex, images, engine_name, cache_dir, monkeypatch
):
    monkeypatch.setattr("engines.onnx.artifacts.run_builder", build_here)
    model = Siglip2Model.from_pretrained(tiny_naflex)
    inputs = Siglip2ImageProcessorPil.from_pretrained(tiny_naflex)(images, return_tensors="pt")
    ids = AutoTokenizer.from_pretrained(tiny_naflex)(
        TEXTS, padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    with torch.inference_mode():
        expected = model(input_ids=ids, **inputs)
    engine, preprocessor = (
        load_engine(str(tiny_naflex), engine_name, EngineOptions(cache_dir=cache_dir)),
        Preprocessor(resolve_model(str(tiny_naflex))),
    )
    pixels = [preprocessor.prepare_image(image) for image in images]
    np.testing.assert_allclose(engine.embed_pixels(pixels), expected.image_embeds.numpy(), atol=1e-4)
    texts = engine.embed_tokens([preprocessor.prepare_text(text) for text in TEXTS])
    np.testing.assert_allclose(texts, expected.text_embeds.numpy(), atol=1e-4)
    mask = inputs["pixel_attention_mask"].numpy().astype(bool)
    patches = engine.embed_patches(pixels)
    hidden = expected.vision_model_output.last_hidden_state.numpy()
    np.testing.assert_allclose(patches[mask], hidden[mask], atol=1e-4)
    assert not patches[~mask].any()


def test_facts_come_from_its_files(tiny_naflex):
    spec = resolve_model(str(tiny_naflex))
    assert (spec.family, spec.resize_mode, spec.resample, spec.image_size) == (
        "siglip2", "patches", "bilinear", 32,
    )  # fmt: skip
    assert (spec.naflex.patch_size, spec.naflex.max_num_patches, spec.naflex.position_grid) == (8, 24, 4)
    assert (spec.score, spec.text_cleaning, spec.pad_to_context) == ("sigmoid", "lower", True)


def test_pixels_that_are_no_whole_patches_are_an_inference_error(tiny_naflex):
    with pytest.raises(InferenceError):
        load_engine(str(tiny_naflex), "torch-fp32").embed_pixels([np.zeros((3, 20, 8), np.float32)])


@pytest.mark.parametrize("fixture", ["tiny_siglip_with_gemma", "tiny_naflex"])
def test_gemma_s_tokens_are_lower_case_end_once_and_fill_the_context(request, fixture):
    folder = request.getfixturevalue(fixture)
    reference = AutoTokenizer.from_pretrained(folder)
    preprocessor = Preprocessor(resolve_model(str(folder)))
    for text in [*TEXTS, "a cat " * 40]:
        expected = reference(text.lower(), padding="max_length", truncation=True).input_ids
        ids = list(preprocessor.prepare_text(text).ids)
        assert ids == expected
        assert (len(ids), ids.count(1)) == (16, 1)
        assert set(ids[ids.index(1) + 1 :]) <= {0}
