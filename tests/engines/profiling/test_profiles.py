"""Both runtimes' profiles of one tiny model: the same blocks, which add up; traces; damaged profiles."""

import json

import pytest

from engines.errors import BackendUnavailableError, InvalidInputError
from engines.factory import load_engine
from engines.onnx.allocator import Allocator
from engines.preparation.inputs import image_inputs, text_inputs
from engines.profiling import ort_profile
from engines.profiling.blocks import OTHER
from engines.profiling.calls import CallLimits, summarize_calls
from engines.profiling.flops import count_flops
from engines.profiling.profilers import ProfilerOptions, load_profiler, profiler_module
from engines.profiling.torch_modules import watched_modules
from engines.profiling.torch_profile import PYTHON, TorchProfiler
from tests.builders import build_here
from tests.engines.profiling.towers import OPTIONS, TOWERS, batch, ort_profiler

LIMITS = CallLimits(seconds=0.0, num_warmup=1, min_calls=3)


@pytest.fixture(scope="module")
def torch_fp32(siglip):
    return load_engine(siglip, "torch-fp32")


@pytest.fixture(params=["torch-fp32", "onnx-fp32", "onnx-int8-dynamic"])
def make_profiler(request, siglip):
    if request.param == "torch-fp32":
        engine = request.getfixturevalue("torch_fp32")
        return lambda tower: TorchProfiler(engine, tower)
    int8 = request.param != "onnx-fp32"
    folder = request.getfixturevalue("siglip_int8_graphs" if int8 else "siglip_graphs")
    return lambda tower: ort_profiler(siglip, folder, tower)


BLOCKS = {
    "image": {"patch embedding", "final norm", "pooling head"},
    "text": {"token embedding", "final norm", "projection"},
}
LAYERS = {f"block {number} {half}" for number in (0, 1) for half in ("attention", "MLP")}


@pytest.mark.parametrize("tower", TOWERS)
def test_every_engine_has_the_model_s_blocks_and_they_add_up(make_profiler, siglip, tower):
    calls = make_profiler(tower).record(batch(siglip, tower), LIMITS)
    assert len(calls) == 3
    profile = summarize_calls(calls, siglip.family)
    assert set(profile.block_ms) == BLOCKS[tower] | LAYERS | {OTHER}
    assert all(ms > 0 for block, ms in profile.block_ms.items() if block != OTHER)
    for call in calls:
        assert summarize_calls([call], siglip.family).total_ms == pytest.approx(call.wall_ms)


@pytest.mark.parametrize("tower", TOWERS)
def test_the_operators_do_the_model_s_arithmetic(make_profiler, siglip, tower):
    items = batch(siglip, tower)
    inputs = image_inputs(siglip, items) if tower == "image" else text_inputs(siglip, items)
    profile = summarize_calls(make_profiler(tower).record(items, LIMITS), siglip.family)
    assert sum(row.flop for row in profile.operators) == sum(count_flops(siglip, tower, inputs).values())


@pytest.mark.parametrize("tower", TOWERS)
def test_a_trace_is_written_in_chrome_s_format(make_profiler, siglip, tower, tmp_path):
    path = tmp_path / "trace.json"
    make_profiler(tower).record(batch(siglip, tower), LIMITS, path)
    content = json.loads(path.read_text("utf-8"))
    events = content["traceEvents"] if isinstance(content, dict) else content
    complete = [event for event in events if event.get("ph") == "X"]
    assert complete
    assert all({"name", "ts", "dur", "pid", "tid"} <= event.keys() for event in complete)


def test_a_module_s_gaps_are_python_s_and_its_hooks_go(torch_fp32, siglip):
    (call,) = TorchProfiler(torch_fp32, "image").record(
        batch(siglip, "image"), CallLimits(seconds=0, min_calls=1)
    )
    kinds = {step.place.operator for step in call.steps}
    assert {PYTHON, "aten::addmm"} <= kinds
    assert sum(step.ms for step in call.steps) == pytest.approx(call.wall_ms)
    modules = torch_fp32.towers.image.modules()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules)


def test_modules_that_do_nothing_and_parts_of_a_block_are_not_watched(torch_fp32):
    paths = [path for path, _ in watched_modules(torch_fp32.towers.image, "siglip")]
    assert "projection" not in paths  # SigLIP's is an Identity
    assert "vision_model.encoder.layers.1.mlp" in paths
    assert "vision_model.encoder.layers.1.mlp.fc1" not in paths


def test_switches_of_the_allocator_change_no_embedding(siglip, siglip_graphs):
    items = batch(siglip, "image")
    lean = ProfilerOptions(num_threads=1, allocator=Allocator(arena=False, mem_pattern=False))
    rows = [
        ort_profiler(siglip, siglip_graphs, "image", options).engine.embed_pixels(items)
        for options in (OPTIONS, lean)
    ]
    assert (rows[0] == rows[1]).all()


def test_a_profile_without_calls_is_told():
    with pytest.raises(BackendUnavailableError, match="wrote no profile"):
        ort_profile.read_calls([{"name": "session_initialization", "ts": 0, "dur": 5, "ph": "X"}], {})


@pytest.mark.parametrize("engine", ["openvino", "plain-transformers"])
def test_an_engine_without_a_profiler_gets_a_sentence(engine, siglip):
    with pytest.raises(InvalidInputError, match=f"The engine {engine} has no profiler"):
        profiler_module(engine)
    with pytest.raises(InvalidInputError):
        load_profiler(siglip, engine, "image", OPTIONS)


@pytest.mark.parametrize("engine", ["bnb-int8", "bnb-nf4"])
def test_layers_of_bitsandbytes_do_the_model_s_arithmetic(siglip, engine, monkeypatch, tmp_path):
    monkeypatch.setattr("engines.bnb.engine.run_builder", build_here)
    monkeypatch.setenv("SIGLIP_CACHE_DIR", str(tmp_path))
    items = batch(siglip, "image")
    calls = load_profiler(siglip, engine, "image", OPTIONS).record(items, LIMITS)
    profile = summarize_calls(calls, siglip.family)
    assert set(profile.block_ms) == BLOCKS["image"] | LAYERS | {OTHER}
    flops = count_flops(siglip, "image", image_inputs(siglip, items))
    assert sum(row.flop or 0 for row in profile.operators) == sum(flops.values())


def test_quantized_layers_have_the_same_blocks_and_keep_their_arithmetic_to_themselves(siglip):
    profiler = load_profiler(siglip, "torch-int8", "image", OPTIONS)
    profile = summarize_calls(profiler.record(batch(siglip, "image"), LIMITS), siglip.family)
    assert set(profile.block_ms) == BLOCKS["image"] | LAYERS | {OTHER}
    silent = [row.operator for row in profile.operators if row.flop is None]
    assert silent == ["quantized::linear_dynamic"]
