"""Names are found on disk, facts are read from files, and each thing that can be wrong is named."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from engines.checkpoints.find import (
    find_checkpoint,
    fingerprint,
    portable_fingerprint,
    read_checkpoint_spec,
)
from engines.errors import InvalidInputError, UnknownModelError
from engines.factory import EngineOptions, load_engine, resolve_model
from engines.onnx.artifacts import ensure_exported
from engines.preparation.preprocess import Preprocessor
from tests.builders import build_here


@pytest.fixture
def broken_siglip(tiny_siglip, tmp_path):
    return shutil.copytree(tiny_siglip, tmp_path / "broken")


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_copy_has_the_same_portable_fingerprint_and_other_weights_another(tiny_siglip, broken_siglip):
    spec, copy = (read_checkpoint_spec(folder, "tiny") for folder in (tiny_siglip, broken_siglip))
    (weights,) = broken_siglip.glob("*.safetensors")
    weights.touch()
    assert fingerprint(copy) != fingerprint(spec)
    assert portable_fingerprint(copy) == portable_fingerprint(spec)
    tensors = load_file(weights)
    save_file({name: tensor + 0.1 for name, tensor in tensors.items()}, weights)
    assert portable_fingerprint(copy) != portable_fingerprint(spec)


def test_siglip_facts_come_from_its_files(tiny_siglip):
    spec = read_checkpoint_spec(tiny_siglip, "tiny")
    assert (spec.family, spec.dim, spec.image_size, spec.context_length) == ("siglip", 64, 32, 16)
    assert (spec.score, spec.resize_mode, spec.pad_to_context) == ("sigmoid", "squash", True)
    assert spec.text_cleaning == "canonicalize"
    assert spec.logit_scale == pytest.approx(math.exp(4.7))
    assert spec.logit_bias == pytest.approx(-16.5)


def test_clip_facts_come_from_its_files(tiny_clip):
    spec = read_checkpoint_spec(tiny_clip, "tiny")
    assert (spec.family, spec.dim, spec.image_size, spec.context_length) == ("clip", 16, 32, 24)
    assert (spec.score, spec.resize_mode, spec.pad_to_context) == ("softmax", "crop", False)
    assert spec.logit_bias == 0
    assert spec.image_mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))


def test_siglip_2_is_told_by_its_tokenizer(broken_siglip):
    edit(broken_siglip / "tokenizer_config.json", tokenizer_class="GemmaTokenizer")
    assert read_checkpoint_spec(broken_siglip, "two").text_cleaning == "lower"


def test_a_hub_id_is_found_in_the_local_cache_without_asking_the_network(tiny_siglip, tmp_path, monkeypatch):
    from huggingface_hub import constants

    repository = tmp_path / "models--someone--tiny"
    shutil.copytree(tiny_siglip, repository / "snapshots" / "abc123")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc123")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert find_checkpoint("someone/tiny") == repository / "snapshots" / "abc123"
    assert load_engine("someone/tiny", "torch-fp32").spec.name == "someone/tiny"


@pytest.mark.parametrize(
    "name", ["nobody/nothing", "no-such-model", "not a/valid id!", "", "~nobody-here/x", "x" * 300]
)
def test_an_unknown_name_lists_the_known_models(name, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnknownModelError, match=r"siglit-mini, lit-mini, .*google/siglip-base-patch16-224"):
        resolve_model(name)


def test_an_unknown_engine_lists_the_known_ones(tiny_siglip):
    with pytest.raises(UnknownModelError, match=r"onnx-fp32, onnx-int8-dynamic, .*torch-fp32"):
        load_engine(str(tiny_siglip), "tensorrt")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not valid JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "must hold a JSON object"),
        (lambda folder: edit(folder / "config.json", model_type="bert"), "of type 'bert'"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"has no \*\.safetensors"),
        (lambda folder: edit(folder / "preprocessor_config.json", resample=77), "resampling 77"),
        (
            lambda folder: edit(folder / "preprocessor_config.json", size="big"),
            "size 'big', which is no size",
        ),
        (lambda folder: edit(folder / "preprocessor_config.json", size={"width": -1}), "which is no size"),
        (
            lambda folder: edit(folder / "preprocessor_config.json", size={"height": 48, "width": 48}),
            "makes images of size .*48.*, but the model takes 32 x 32",
        ),
        (
            lambda folder: edit(folder / "preprocessor_config.json", size={"height": 32, "width": 64}),
            "but the model takes 32 x 32",
        ),
    ],
)
def test_each_damage_gets_its_sentence(broken_siglip, damage, sentence):
    damage(broken_siglip)
    with pytest.raises(InvalidInputError, match=sentence):
        resolve_model(str(broken_siglip))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "spiece.model").unlink(), "add the model's tokenizer"),
        (lambda folder: (folder / "spiece.model").write_bytes(b"damaged"), "cannot be read"),
        (
            lambda folder: edit(folder / "tokenizer_config.json", pad_token="<x>"),
            "padding token '<x>'",
        ),
    ],
)
def test_each_damage_to_the_tokenizer_gets_its_sentence(broken_siglip, damage, sentence):
    damage(broken_siglip)
    with pytest.raises(InvalidInputError, match=sentence):
        Preprocessor(resolve_model(str(broken_siglip)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_checkpoints_are_read_and_run_in_float32(tiny_siglip, broken_siglip, dtype):
    path = broken_siglip / "model.safetensors"
    save_file({name: tensor.to(dtype) for name, tensor in load_file(path).items()}, path, {"format": "pt"})
    spec = resolve_model(str(broken_siglip))
    assert spec.logit_bias == pytest.approx(-16.5, rel=0.01)
    tokens = [Preprocessor(spec).prepare_text("a cat")]
    rows = [
        load_engine(str(folder), "torch-fp32").embed_tokens(tokens) for folder in (tiny_siglip, broken_siglip)
    ]
    np.testing.assert_allclose(rows[0], rows[1], atol=0.05)


def test_a_checkpoint_that_lacks_weights_is_refused(broken_siglip, cache_dir):
    path = broken_siglip / "model.safetensors"
    tensors = load_file(path)
    del tensors["text_model.encoder.layers.1.mlp.fc1.weight"]
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(InvalidInputError, match=r"lacks 1 weights, .*layers\.1\.mlp\.fc1\.weight first"):
        load_engine(str(broken_siglip), "onnx-fp32", EngineOptions(cache_dir=cache_dir))


@pytest.fixture
def pickled_siglip(broken_siglip):
    tensors = load_file(broken_siglip / "model.safetensors")
    (broken_siglip / "model.safetensors").unlink()
    torch.save(tensors, broken_siglip / "pytorch_model.bin")
    return broken_siglip


@pytest.mark.parametrize(("engine", "atol"), [("torch-fp32", 1e-6), ("bnb-int8", 0.05)])
def test_pickled_weights_need_an_opt_in_and_then_load(
    tiny_siglip, pickled_siglip, engine, atol, tmp_path, monkeypatch
):
    monkeypatch.setattr("engines.bnb.engine.run_builder", build_here)
    with pytest.raises(InvalidInputError, match="set SIGLIP_ALLOW_PICKLED_WEIGHTS=true"):
        resolve_model(str(pickled_siglip))
    options = EngineOptions(allow_pickled_weights=True, gated=False, cache_dir=tmp_path / "cache")
    tokens = [Preprocessor(resolve_model(str(tiny_siglip))).prepare_text("a cat")]
    expected = load_engine(str(tiny_siglip), "torch-fp32").embed_tokens(tokens)
    ours = load_engine(str(pickled_siglip), engine, options).embed_tokens(tokens)
    np.testing.assert_allclose(ours, expected, atol=atol)


def test_builders_take_pickled_weights_without_a_second_opt_in(
    tiny_siglip, pickled_siglip, cache_dir, tmp_path, monkeypatch
):
    monkeypatch.setattr("engines.onnx.artifacts.run_builder", build_here)
    exported = ensure_exported(resolve_model(str(tiny_siglip)), cache_dir)  # of the same weights
    (tmp_path / "int8").mkdir()
    (tmp_path / "reference").mkdir()
    model = str(pickled_siglip)
    build_here("engines.onnx.build", model, "onnx-int8-dynamic", str(exported), str(tmp_path / "int8"))
    build_here("engines.quality", model, "torch-fp32", str(tmp_path / "reference"), "", str(tmp_path))
    assert (tmp_path / "int8" / "text.onnx").exists()
    assert list((tmp_path / "reference").iterdir())


def test_a_pickle_of_more_than_tensors_is_refused(broken_siglip):
    (broken_siglip / "model.safetensors").unlink()
    torch.save({"logit_scale": Path("code")}, broken_siglip / "pytorch_model.bin")
    with pytest.raises(InvalidInputError, match="is not a whole file of tensors"):
        resolve_model(str(broken_siglip), EngineOptions(allow_pickled_weights=True))


@pytest.mark.parametrize("changes", [{"size": {"shortest_edge": 40}}, {"do_center_crop": False}])
def test_a_crop_that_we_would_get_wrong_is_refused(tiny_clip, tmp_path, changes):
    folder = shutil.copytree(tiny_clip, tmp_path / "clip")
    edit(folder / "preprocessor_config.json", **changes)
    with pytest.raises(InvalidInputError, match="only a centre crop of that size"):
        resolve_model(str(folder))


def test_files_that_no_model_is_read_from_change_no_fingerprint(tiny_siglip, broken_siglip):
    spec = read_checkpoint_spec(broken_siglip, "tiny")
    before = fingerprint(spec), portable_fingerprint(spec)
    for name in ("README.md", ".DS_Store", ".notes.json", "open_clip_model.safetensors", "pytorch_model.bin"):
        (broken_siglip / name).write_text("nobody reads this")
    assert (fingerprint(spec), portable_fingerprint(spec)) == before
    edit(broken_siglip / "config.json", note="another state")
    assert portable_fingerprint(spec) != before[1]
