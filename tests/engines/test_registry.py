"""The default is the best that is on this machine, and no network is asked for it."""

import json

import pytest
from huggingface_hub import constants

from engines.checkpoints.hub import parse_hub_name
from engines.checkpoints.registry import KNOWN_MODELS, default_models, known_model


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    def add(name, *files):
        repository = tmp_path / f"models--{known_model(name).hub.repo.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("abc")
        (repository / "snapshots" / "abc").mkdir(parents=True)
        for file in files:
            (repository / "snapshots" / "abc" / file).write_text("{}")
        return repository / "snapshots" / "abc"

    return add


PROCESSORS = ("config.json", "preprocessor_config.json", "tokenizer.json")
OPEN_CLIP = ("open_clip_model.safetensors", "open_clip_config.json")


def test_an_empty_cache_gives_the_bundled_pair(cache):
    assert default_models() == ("siglit-mini", "lit-mini")


def test_the_best_cached_siglip_and_clip_are_the_default(cache):
    cache("google/siglip-base-patch16-224", "model.safetensors", *PROCESSORS)
    cache("google/siglip2-base-patch16-224", "model.safetensors", *PROCESSORS)
    cache("ViT-B-32/laion2b_s34b_b79k", *OPEN_CLIP)
    assert default_models() == ("google/siglip2-base-patch16-224", "ViT-B-32/laion2b_s34b_b79k")


def test_what_lacks_weights_is_passed_over_and_the_bundled_model_of_its_loss_stays(cache):
    cache("google/siglip2-base-patch16-224", *PROCESSORS)
    cache("openai/clip-vit-base-patch32", "model.safetensors", *PROCESSORS)
    assert default_models() == ("siglit-mini", "openai/clip-vit-base-patch32")


@pytest.mark.parametrize("missing", PROCESSORS)
def test_what_lacks_another_file_is_passed_over_too(cache, missing):
    cache("google/siglip2-base-patch16-224", "model.safetensors", *(set(PROCESSORS) - {missing}))
    assert default_models() == ("siglit-mini", "lit-mini")


def test_a_model_of_open_clip_needs_its_configuration_and_what_that_names(cache):
    cache("ViT-B-16/laion2b_s34b_b88k", "open_clip_model.safetensors")
    assert default_models()[1] == "lit-mini"
    folder = cache("ViT-B-16-SigLIP2/webli", *OPEN_CLIP)
    text = {"hf_tokenizer_name": "timm/ViT-B-16-SigLIP2"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"text_cfg": text}}))
    assert default_models()[0] == "siglit-mini"
    (folder / "tokenizer.json").touch()
    assert default_models()[0] == "ViT-B-16-SigLIP2/webli"


def test_every_known_model_has_its_own_name_and_a_hub_id():
    assert len({model.name for model in KNOWN_MODELS}) == len(KNOWN_MODELS)
    assert all(parse_hub_name(model.hub.repo) == model.hub for model in KNOWN_MODELS)
