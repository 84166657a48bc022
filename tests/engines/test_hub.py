"""Models come from the cache without a question, else from the hub, whole, and failures are one sentence."""

import logging

import pytest
from huggingface_hub import constants

from engines.checkpoints.find import find_checkpoint, open_clip_hub_model
from engines.checkpoints.hub import HubModel, choose_files, download, find_cached, parse_hub_name
from engines.errors import BackendUnavailableError, InvalidInputError, UnknownModelError
from engines.factory import EngineOptions, load_engine, resolve_model
from tests.fake_hub import COMMIT, FakeHub


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def hub(cache, monkeypatch):
    hub = FakeHub()
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    yield hub
    hub.close()


@pytest.fixture
def tiny_clip_on_the_hub(hub, tiny_clip):
    hub.repositories["org/tiny"] = {path.name: path.read_bytes() for path in tiny_clip.iterdir()} | {
        "README.md": b"# tiny",
        "pytorch_model.bin": b"a pickle",
    }
    return hub


def test_a_download_brings_what_a_model_needs_and_the_next_time_asks_nobody(tiny_clip_on_the_hub, caplog):
    caplog.set_level(logging.INFO, "engines")
    options = EngineOptions(allow_download=True)
    spec = resolve_model("org/tiny", options)
    assert (spec.name, spec.family) == ("org/tiny", "clip")
    assert load_engine(spec, "torch-fp32").spec is spec
    assert not {"README.md", "pytorch_model.bin"} & {path.name for path in spec.folder.iterdir()}
    assert "Downloading org/tiny" in caplog.messages[0]
    assert "MB" in caplog.messages[0]
    tiny_clip_on_the_hub.requests.clear()
    assert resolve_model("org/tiny", options).folder == spec.folder
    assert resolve_model("org/tiny").folder == spec.folder
    assert tiny_clip_on_the_hub.requests == []


def test_a_cut_download_goes_on_where_it_stopped(hub, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)  # what is written at a time
    weights = bytes(range(256)) * 4000
    hub.repositories["org/tiny"] = {"config.json": b"{}", "model.safetensors": weights}
    hub.cut_after = 100_000
    folder = download(HubModel("org/tiny"))
    assert (folder / "model.safetensors").read_bytes() == weights
    assert "bytes=100000-" in [header for _, path, header in hub.requests if "safetensors" in path]


def test_a_folder_without_weights_is_completed(hub):
    hub.repositories["org/tiny"] = {"config.json": b"{}", "model.safetensors": b"weights"}
    partial = download(HubModel("org/tiny"))
    (partial / "model.safetensors").unlink()
    assert find_checkpoint("org/tiny") == partial
    assert (find_checkpoint("org/tiny", allow_download=True) / "model.safetensors").exists()


def test_a_pickle_in_the_cache_does_not_keep_the_safetensors_away(tiny_clip_on_the_hub):
    weights = tiny_clip_on_the_hub.repositories["org/tiny"].pop("model.safetensors")
    cached = download(HubModel("org/tiny"))
    assert (cached / "pytorch_model.bin").exists()
    tiny_clip_on_the_hub.repositories["org/tiny"]["model.safetensors"] = weights
    assert find_checkpoint("org/tiny", allow_download=True, allow_pickled=True) == cached
    folder = find_checkpoint("org/tiny", allow_download=True)
    assert (folder / "model.safetensors").exists()


def test_without_a_connection_the_pickle_in_the_cache_is_what_is_told_of(tiny_clip_on_the_hub):
    del tiny_clip_on_the_hub.repositories["org/tiny"]["model.safetensors"]
    download(HubModel("org/tiny"))
    tiny_clip_on_the_hub.close()
    with pytest.raises(InvalidInputError, match="a pickle"):
        resolve_model("org/tiny", EngineOptions(allow_download=True))


def test_a_revision_is_pinned(hub):
    hub.repositories["org/tiny"] = {"config.json": b"{}", "model.safetensors": b"weights"}
    folder = find_checkpoint("org/tiny@v1.0", allow_download=True)
    assert folder.name == COMMIT
    assert find_cached(HubModel("org/tiny", "v1.0")) == find_cached(HubModel("org/tiny", COMMIT)) == folder
    assert find_cached(HubModel("org/tiny", "v2.0")) is None


def test_without_permission_the_hub_is_not_asked(tiny_clip_on_the_hub):
    with pytest.raises(UnknownModelError, match="not in the local Hugging Face cache"):
        resolve_model("org/tiny")
    assert tiny_clip_on_the_hub.requests == []


def test_an_unknown_repository_is_one_sentence(hub):
    with pytest.raises(UnknownModelError, match="The hub has no model 'org/nothing' at 'main'"):
        resolve_model("org/nothing", EngineOptions(allow_download=True))


def test_no_connection_is_one_sentence(hub):
    hub.close()
    with pytest.raises(BackendUnavailableError, match=r"Cannot download 'org/tiny' .*check the connection"):
        resolve_model("org/tiny", EngineOptions(allow_download=True))


def test_offline_mode_is_one_sentence(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BackendUnavailableError, match="HF_HUB_OFFLINE"):
        resolve_model("org/tiny", EngineOptions(allow_download=True))
    assert hub.requests == []


def test_a_pair_of_open_clip_is_downloaded_in_open_clip_s_format(hub, tiny_open_clip, tiny_clip):
    both = {
        path.name: path.read_bytes() for folder in (tiny_clip, tiny_open_clip) for path in folder.iterdir()
    }
    hub.repositories["laion/CLIP-ViT-B-32-laion2B-s34B-b79K"] = both
    spec = resolve_model("ViT-B-32/laion2b_s34b_b79k", EngineOptions(allow_download=True))
    assert (spec.family, spec.name) == ("open_clip", "ViT-B-32/laion2b_s34b_b79k")
    assert not (spec.folder / "model.safetensors").exists()


def test_pairs_are_found_in_the_registry_or_in_open_clip_s_table():
    assert open_clip_hub_model("MobileCLIP2-S0/dfndr2b").repo == "timm/MobileCLIP2-S0-OpenCLIP"
    assert open_clip_hub_model("ViT-B-16-SigLIP-256/webli").repo == "timm/ViT-B-16-SigLIP-256"
    assert open_clip_hub_model("ViT-B-32/no-such-tag") is None
    assert open_clip_hub_model("google/siglip-base-patch16-224") is None


@pytest.mark.parametrize("name", ["", "gpt2", "a/b/c", "a/..", "../b", "a/b@", "a/b@../..", "a b/c"])
def test_what_is_no_hub_name_is_not_looked_for(name):
    assert parse_hub_name(name) is None


def test_weights_are_taken_in_one_format_and_last():
    names = ["pytorch_model.bin", "model-00001-of-00002.safetensors", "config.json", "tokenizer.json"]
    assert choose_files(names) == ["config.json", "tokenizer.json", "model-00001-of-00002.safetensors"]
    assert choose_files(["pytorch_model.bin", "merges.txt"]) == ["merges.txt", "pytorch_model.bin"]
    with pytest.raises(UnknownModelError, match="no weights of a known format"):
        choose_files(["config.json", "flax_model.msgpack"])
