"""The benchmark command: bad input, and one real run on a checkpoint of a few kilobytes."""

import json
from dataclasses import dataclass
from functools import partial

import pytest

from app.cli import benchmark, records
from tests.workers import here_except
from use_cases.record_tables import render_record
from use_cases.results import read_record, validate_record, write_record


@dataclass
class RedSamples:
    images: tuple
    captions: tuple = ("a red square", "a photo of a cat")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--models", "nothing"], "No model 'nothing'"),
        (["--models", "random:resnet"], "No random checkpoint 'resnet'"),
        (["--models", " , "], "at least one model"),
        (["--engines", "tensorrt"], "Unknown engine 'tensorrt'"),
    ],
)
def test_names_that_cannot_be_used_end_with_code_2_and_a_sentence(arguments, sentence, capsys):
    assert benchmark.main(arguments) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--rounds", "0"], ["--batch-sizes", "1,many"], ["--threads", "-1"], ["--batch-sizes", ""]]
)
def test_numbers_that_cannot_be_used_end_with_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        benchmark.main(arguments)
    assert stop.value.code == 2
    assert "no whole number from 1" in capsys.readouterr().err


@pytest.mark.timeout(600)  # two processes import torch, which takes minutes on a busy machine
def test_a_tiny_checkpoint_is_measured_for_real(tmp_path, red_png, capsys, monkeypatch):
    from tests.checkpoints import build_tiny_siglip

    folder = tmp_path / "tiny-siglip"
    folder.mkdir()
    build_tiny_siglip(folder)
    monkeypatch.setattr(records, "write_record", partial(write_record, folder=tmp_path))
    worker = here_except("towers")
    monkeypatch.setattr(benchmark, "run_benchmark", partial(benchmark.run_benchmark, worker=worker))
    arguments = ["--models", str(folder), "--engines", "torch-fp32", "--quick", "--threads", "1", "--write"]
    assert benchmark.main(arguments, RedSamples((red_png,))) == 0
    out = capsys.readouterr().out
    record = json.loads(out.splitlines()[-1])
    validate_record(record)
    (page,) = tmp_path.glob("*.md")
    assert page.read_text("utf-8") == render_record(record)
    assert "| `torch-fp32` |" in page.read_text("utf-8")
    assert str(tmp_path) not in out
    ours, plain = record["results"]
    assert (ours["model"], ours["engine"], ours["reason"]) == ("tiny-siglip", "torch-fp32", None)
    assert plain["engine"] == "plain-transformers"
    assert plain["agreement"]["image_cosine_min"] == pytest.approx(1, abs=1e-4)
    assert plain["agreement"]["text_cosine_min"] == pytest.approx(1, abs=1e-4)
    assert ours["times_plain"]["image"]["1"] > 0
    assert ours["rss_bytes"]["median"] > 0
    assert ours["text_rss_bytes"]["median"] > 0
    assert ours["artifact_bytes"] > 0
    (path,) = tmp_path.glob("towers-*.json")
    assert read_record(path) == record
