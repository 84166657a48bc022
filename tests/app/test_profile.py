"""The profile command: bad input, its tables, and one real run on a checkpoint of a few kilobytes."""

import json
from dataclasses import dataclass
from functools import partial

import pytest

from app.cli import profile
from app.cli.profile_table import profile_tables
from engines.onnx.allocator import Allocator
from tests.checkpoints import build_tiny_siglip
from tests.use_cases.profiling.test_run import run
from tests.workers import here_except


@dataclass
class RedSamples:
    images: tuple
    captions: tuple = ("a red square", "a photo of a cat")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing", "--engine", "onnx-fp32"], "No model 'nothing'"),
        (["random:resnet", "--engine", "onnx-fp32"], "No random checkpoint 'resnet'"),
        (["siglit-mini", "--engine", "tensorrt"], "Unknown engine 'tensorrt'"),
        (["siglit-mini", "--engine", "openvino"], "The engine openvino has no profiler"),
        (["siglit-mini", "--engine", " , "], "at least one engine"),
        (["siglit-mini", "--engine", "onnx-fp32", "--batch-size", "0"], "--batch-size is 0"),
        (["siglit-mini", "--engine", "onnx-fp32", "--threads", "-1"], "--threads is -1"),
        (["siglit-mini", "--engine", "onnx-fp32", "--seconds", "nan"], "--seconds is nan"),
        (
            ["siglit-mini", "--engine", "onnx-fp32", "--trace", "missing-folder/t.json"],
            "Cannot write missing-",
        ),
        (["siglit-mini", "--engine", "onnx-fp32", "--plot", "/"], "Cannot write /"),
        (["siglit-mini", "--engine", "onnx-fp32", "--plot", "x" * 300], "(File name too long); name a file"),
        (["siglit-mini", "--engine", "onnx-fp32,torch-fp32", "--trace", "."], "--trace is '.'"),
        (["siglit-mini", "--engine", "onnx-fp32", "--seconds", "301"], "--seconds is 301"),
        (["siglit-mini", "--engine", "torch-fp32", "--no-ort-arena"], "are ONNX Runtime's"),
    ],
)
def test_what_cannot_be_profiled_ends_with_code_2_and_a_sentence(arguments, sentence, capsys):
    assert profile.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert sentence in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--tower", "audio"], ["--batch-size", "many"], []])
def test_arguments_that_mean_nothing_end_with_code_2(arguments):
    with pytest.raises(SystemExit) as stop:
        profile.main(["siglit-mini", *arguments])
    assert stop.value.code == 2


def test_looking_whether_a_file_can_be_written_leaves_no_trace(tmp_path):
    kept = tmp_path / "kept.json"
    kept.write_text("content")
    for path in (kept, tmp_path / "new.json"):
        profile.check_writable(path)
    assert kept.read_text() == "content"
    assert list(tmp_path.iterdir()) == [kept]


def test_tables_show_every_block_and_engines_side_by_side():
    lean = Allocator(arena=False, mem_pattern=False)
    text = profile_tables(run("onnx-int8-dynamic", "torch-fp32", allocator=lean))
    for words in (
        "onnx-int8-dynamic: 9.50 ms a call",
        "95.0% of it in named blocks",
        "of float32  of int8",
        "a zero-shot request, 30.0 ms, the mean of 4",
        "arena off, pattern off",
        "--no-ort-arena",
    ):
        assert words in text
    side_by_side = text.splitlines()[-7:]
    assert side_by_side[0].split() == ["ms", "onnx-int8-dynamic", "torch-fp32"]
    assert side_by_side[2].split() == ["block", "0", "attention", "3.000", "6.000"]
    assert side_by_side[-1].split() == ["total", "10.000", "20.000"]


def test_a_disturbed_measurement_is_told():
    assert "kept 1.0 cores busy" in profile_tables(run("bnb-int8"))
    assert "cores busy" not in profile_tables(run("onnx-fp32"))


@pytest.mark.timeout(600)  # processes import torch, which takes minutes on a busy machine
def test_a_tiny_checkpoint_is_profiled_for_real(tmp_path, red_png, capsys, monkeypatch):
    worker = here_except("profile", "profile_memory")  # whose memory is measured
    monkeypatch.setattr(profile, "run_profile", partial(profile.run_profile, worker=worker))
    folder = tmp_path / "tiny-siglip"
    folder.mkdir()
    model = str(build_tiny_siglip(folder))
    trace, plot = tmp_path / "trace.json", tmp_path / "plot.html"
    arguments = ["--engine", "torch-fp32", "--tower", "text", "--batch-size", "3", "--seconds", "0.2"]
    files = ["--trace", str(trace), "--plot", str(plot)]
    assert profile.main([model, *arguments, *files, "--threads", "1"], RedSamples((red_png,))) == 0
    out = capsys.readouterr().out
    document = json.loads(out.splitlines()[-1])
    assert (document["model"], document["tower"], document["batch_size"]) == ("tiny-siglip", "text", 3)
    assert str(tmp_path) not in out
    (engine,) = document["engines"]
    blocks = {row["block"]: row for row in engine["blocks"]}
    assert next(iter(blocks)) == "token embedding"
    assert blocks["block 0 MLP"]["flop"] == 3 * 2 * 2 * 16 * 64 * 128
    assert sum(row["ms"] for row in engine["blocks"]) == pytest.approx(engine["total"]["ms"])
    (memory,) = engine["memory"]
    assert 0 < memory["import_bytes"] < memory["load_bytes"]
    assert json.loads(trace.read_text("utf-8"))["traceEvents"]
    assert "block 1 attention" in plot.read_text("utf-8")
    assert "total" in out
