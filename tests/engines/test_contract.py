"""One suite that every engine passes; add an engine by adding a row."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
from PIL import Image

from engines.base import Engine, normalize
from engines.errors import InferenceError
from engines.factory import EngineOptions, load_engine, resolve_model
from engines.preparation.preprocess import Preprocessor
from tests.builders import build_here

# What a row's batch may change, and the least cosine to torch-fp32 of any embedding and of an image's
# patches, over all families, noise and the empty text among them; measured on AVX2 and AVX-512 and rounded
# away from it. Some int8 engines find one scale for a whole batch, so that a row's company shows.
BOUNDS = {
    "onnx-fp32": (1e-4, 0.99999),
    "torch-fp32": (1e-4, 0.99999),
    "openvino": (1e-4, 0.99999),
    "onnx-int8-dynamic": (0.06, 0.96),
    "onnx-int8-static-qdq": (1e-4, 0.94),
    "onnx-int8-static-qoperator": (1e-4, 0.94),
    "onnx-int4": (1e-4, 0.92),
    "torch-int8": (0.1, 0.9),
    "torch-bf16": (0.02, 0.995),
    "bnb-int8": (1e-4, 0.995),
    "bnb-nf4": (1e-4, 0.82),
    "bnb-fp4": (1e-4, 0.81),
}
FAMILIES = ("tiny_siglip", "tiny_naflex", "tiny_clip", "tiny_open_clip")
OTHER_TOWERS = ("tiny_open_clip_siglip", "tiny_open_clip_conv", "lit-mini")  # on the exact engines alone
# To measure the ranges of the bundled pair takes minutes; a small convolutional tower stands for it.
STATIC = ("onnx-int8-static-qdq", "onnx-int8-static-qoperator")
ENGINES = [
    *((model, engine) for model in FAMILIES for engine in BOUNDS),
    *(("siglit-mini", engine) for engine in BOUNDS if engine not in STATIC),
    *((model, engine) for model in OTHER_TOWERS for engine in ("onnx-fp32", "torch-fp32")),
    *(("tiny_open_clip_conv", engine) for engine in STATIC),
]
# Built as users' engines are, each way once; a process of its own takes seconds to import what it needs.
OWN_PROCESS = {("siglit-mini", engine) for engine in ("onnx-fp32", "onnx-int8-dynamic", "bnb-nf4")}
TEXTS = ["a cat", "a much longer caption than the first one, with a dog and a bus in it", "", "ünïcode 猫 🐈"]


@dataclass(frozen=True)
class Loaded:
    engine: Engine
    preprocessor: Preprocessor
    batch_atol: float
    min_cosine: float


def row(model, engine):
    marks = [] if model.startswith("tiny") else [pytest.mark.model]
    return pytest.param((model, engine), id=f"{model}-{engine}", marks=marks)


@pytest.fixture(scope="module")
def patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(params=[row(*pair) for pair in ENGINES], scope="module")
def loaded(request, cache_dir, patch):
    model, engine = request.param
    if engine == "openvino":
        pytest.importorskip("openvino")
    # Tiny random weights rank by chance, so that the quality gate says nothing about them.
    options = EngineOptions(gated=False)
    if (model, engine) in OWN_PROCESS:
        patch.undo()
    else:
        for user in ("engines.onnx.artifacts", "engines.bnb.engine"):
            patch.setattr(f"{user}.run_builder", build_here)
    if model.startswith("tiny"):
        model = str(request.getfixturevalue(model))
        options = EngineOptions(gated=False, cache_dir=cache_dir)  # that goes when the tests end
    spec = resolve_model(model)
    return Loaded(load_engine(spec, engine, options), Preprocessor(spec), *BOUNDS[engine])


@dataclass(frozen=True)
class Outputs:
    image: np.ndarray  # [4, dim]
    text: np.ndarray  # [4, dim]
    patches: np.ndarray  # [4, num_patches, width]


def images():
    rng = np.random.default_rng(0)
    noise = [
        Image.fromarray(rng.integers(0, 255, (h, w, 3), np.uint8)) for h, w in ((30, 40), (300, 200), (1, 1))
    ]
    return [*noise, Image.new("RGB", (64, 64), "red")]


def run(engine, pixels, tokens):
    return Outputs(engine.embed_pixels(pixels), engine.embed_tokens(tokens), engine.embed_patches(pixels))


@pytest.fixture(scope="module")
def pixels(loaded):
    return [loaded.preprocessor.prepare_image(image) for image in images()]


@pytest.fixture(scope="module")
def tokens(loaded):
    return [loaded.preprocessor.prepare_text(text) for text in TEXTS]


@pytest.fixture(scope="module")
def outputs(loaded, pixels, tokens):
    return run(loaded.engine, pixels, tokens)


@pytest.fixture(scope="module")
def expected(loaded):
    return reference_outputs(loaded.engine.spec)


@lru_cache(maxsize=1)  # a model's engines come one after the other
def reference_outputs(spec):
    preprocessor = Preprocessor(spec)
    pixels = [preprocessor.prepare_image(image) for image in images()]
    return run(load_engine(spec, "torch-fp32"), pixels, [preprocessor.prepare_text(text) for text in TEXTS])


def test_rows_are_normalised_float32_of_the_model_s_dimension(loaded, outputs):
    for rows in (outputs.image, outputs.text):
        assert rows.dtype == np.float32
        assert rows.shape == (4, loaded.engine.spec.dim)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_a_row_does_not_depend_on_its_batch(loaded, pixels, tokens, outputs):
    engine, atol = loaded.engine, loaded.batch_atol
    np.testing.assert_allclose(
        outputs.image, np.vstack([engine.embed_pixels([item]) for item in pixels]), atol=atol
    )
    np.testing.assert_allclose(
        outputs.text, np.vstack([engine.embed_tokens([item]) for item in tokens]), atol=atol
    )


def test_order_is_kept(loaded, pixels, outputs):
    np.testing.assert_allclose(
        loaded.engine.embed_pixels(pixels[::-1]), outputs.image[::-1], atol=loaded.batch_atol
    )


def test_embeddings_are_close_to_the_reference_s(loaded, outputs, expected):
    assert cosines(outputs.image, expected.image) >= loaded.min_cosine
    assert cosines(outputs.text, expected.text) >= loaded.min_cosine


def test_patches_are_the_reference_s_last_hidden_states(loaded, outputs, expected):
    patches = outputs.patches
    assert patches.dtype == np.float32
    assert patches.shape == expected.patches.shape
    assert patches.ndim == 3
    assert cosines(patches.reshape(4, -1), expected.patches.reshape(4, -1)) >= loaded.min_cosine


def cosines(rows, expected):
    """Return the least cosine between rows of the same place."""
    return (normalize(rows) * normalize(expected)).sum(axis=1).min()


def test_no_input_gives_no_rows(loaded):
    engine = loaded.engine
    assert len(engine.embed_patches([])) == 0
    assert engine.embed_pixels([]).shape == engine.embed_tokens([]).shape == (0, engine.spec.dim)


def test_a_text_beyond_the_context_is_cut_and_embedded(loaded):
    engine, preprocessor = loaded.engine, loaded.preprocessor
    tokens = preprocessor.prepare_text("a photo of a cat " * 100)
    assert tokens.truncated
    assert len(tokens.ids) == engine.spec.context_length
    assert engine.embed_tokens([tokens]).shape == (1, engine.spec.dim)


def test_a_batch_of_the_wrong_shape_is_an_inference_error(loaded):
    engine = loaded.engine
    with pytest.raises(InferenceError):
        engine.embed_pixels([np.zeros((5, 7, 7), np.float32)])
