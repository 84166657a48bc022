"""What is asked of which process, and how times meet the model's arithmetic and the machine's peak."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from engines.errors import BackendUnavailableError, InvalidInputError, UnknownModelError
from engines.onnx.allocator import Allocator
from engines.profiling.blocks import OTHER
from tests.use_cases.profiling.answers import FakeWorker
from use_cases.profiling.results import MachinePeak, operator_rows
from use_cases.profiling.run import ProfilePlan, run_profile


@dataclass
class TwoSamples:
    images: tuple = (Path("a.png"), Path("b.png"))
    captions: tuple = ("a", "b")


def run(*engines, worker=None, **changes):
    plan = ProfilePlan(model="siglit-mini", engines=engines, **changes)
    return run_profile(plan, TwoSamples(), worker or FakeWorker())


def test_each_engine_has_a_process_and_flops_and_peak_are_measured_once():
    worker = FakeWorker()
    run("onnx-fp32", "torch-fp32", worker=worker)
    assert worker.tasks() == [
        ("profile_peak", None), ("profile", "onnx-fp32"), ("profile", "torch-fp32"), ("profile_flops", None),
        ("profile_peak", None),
    ]  # fmt: skip
    assert worker.jobs[-1]["int8"] is False


def test_blocks_come_in_the_model_s_order_with_their_rates():
    (engine,) = run("onnx-fp32").engines
    assert [row.block for row in engine.blocks] == [
        "patch embedding", "block 0 attention", "final norm", "projection", OTHER,
    ]  # fmt: skip
    rows = {row.block: row for row in engine.blocks}
    assert (rows["projection"].share, rows["projection"].gflops) == (0.5, 0.8)
    assert rows["projection"].float32_share == pytest.approx(0.08)
    assert rows["projection"].int8_share is None
    assert (rows["final norm"].flop, rows["final norm"].gflops) == (None, None)
    assert (engine.total.ms, engine.total.flop, engine.total.gflops) == (10.0, 12_000_000, 1.2)
    assert engine.named_share == pytest.approx(0.95)


def test_an_operator_that_does_not_tell_its_arithmetic_did_what_the_others_did_not():
    (engine,) = run("onnx-fp32").engines
    assert [row.flop for row in engine.operators] == [8_000_000, 4_000_000, None]
    assert [row.gflops for row in engine.operators] == [1.0, pytest.approx(4 / 7), None]
    assert engine.operators[0].float32_share == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("operators", "flops"),
    [
        ([("Conv", 5), ("aten::relu", 0)], [5, None]),
        ([("a", None), ("b", None), ("c", 5)], [None, None, 5]),  # which did how much is not known
        ([("a", None), ("b", 10)], [None, 10]),  # it only called the other
    ],
)
def test_what_is_not_known_of_an_operator_is_left_out(operators, flops):
    rows = [{"operator": name, "num_runs": 1, "ms": 1.0, "flop": flop} for name, flop in operators]
    peak = MachinePeak(float32_gflops=1.0, library="NumPy")
    assert [row.flop for row in operator_rows(rows, 10, peak)] == flops


def test_only_operators_on_integers_have_a_share_of_their_rate():
    peak = MachinePeak(float32_gflops=1.0, library="NumPy", int8_gops=2.0)
    names = ("MatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearConv", "quantized::linear")
    rows = [{"operator": name, "num_runs": 1, "ms": 1.0, "flop": 1_000_000} for name in names]
    shares = [row.int8_share for row in operator_rows(rows, 5_000_000, peak)]
    assert shares == [None, 0.5, 0.5, 0.5, 0.5]


def test_the_better_of_two_peaks_counts():
    worker = FakeWorker(peaks=[9.0, 12.0])
    assert run("onnx-fp32", worker=worker).peak.float32_gflops == 12.0


def test_a_neighbour_of_one_measurement_lowers_no_rate():
    worker = FakeWorker(peaks=[9.0, 12.0], int8=[(25.0, 38.0), (20.0, None)])
    peak = run("onnx-int8-dynamic", worker=worker).peak
    assert (peak.float32_gflops, peak.int8_gops, peak.int8_peak_gops) == (12.0, 25.0, 38.0)


def test_a_peak_that_products_beat_is_none():
    worker = FakeWorker(peaks=[9.0, 12.0], int8=[(25.0, 20.0), (24.0, 19.0)])
    peak = run("onnx-int8-dynamic", worker=worker).peak
    assert (peak.int8_gops, peak.int8_peak_gops) == (25.0, None)


def test_an_engine_that_cannot_be_profiled_is_named():
    class NoPackage(FakeWorker):
        def profile(self, job):
            raise BackendUnavailableError("Install it.")

    with pytest.raises(BackendUnavailableError, match=r"^bnb-nf4: Install it\.$"):
        run("bnb-nf4", worker=NoPackage())


def test_an_engine_of_integers_is_compared_with_both_peaks():
    profile = run("onnx-int8-dynamic", "bnb-nf4")
    int8, nf4 = (engine.total for engine in profile.engines)
    assert (int8.float32_share, int8.int8_share) == (pytest.approx(0.12), pytest.approx(0.06))
    assert nf4.int8_share is None
    assert profile.peak.int8_peak_gops == 40.0


def test_switches_are_measured_beside_the_defaults():
    worker = FakeWorker()
    lean = Allocator(arena=False, mem_pattern=True)
    onnx, torch = run("onnx-fp32", "torch-fp32", worker=worker, allocator=lean).engines
    assert [(row.arena, row.mem_pattern) for row in onnx.memory] == [(True, False), (False, True)]
    assert [(row.arena, row.mem_pattern) for row in torch.memory] == [(None, None)]
    assert (onnx.foreign_cores, torch.foreign_cores) == (0.5, 0.0)  # the defaults' process was disturbed
    assert worker.tasks()[1:4] == [
        ("profile_memory", "onnx-fp32"), ("profile", "onnx-fp32"), ("profile", "torch-fp32"),
    ]  # fmt: skip
    assert worker.jobs[2]["allocator"] == {"arena": False, "mem_pattern": True}


@pytest.mark.parametrize(
    ("engines", "names"),
    [(("onnx-fp32",), ["t.json"]), (("onnx-fp32", "bnb-int8"), ["t-onnx-fp32.json", "t-bnb-int8.json"])],
)
def test_each_of_several_engines_has_its_own_trace(engines, names):
    worker = FakeWorker()
    run(*engines, worker=worker, trace=Path("t.json"))
    assert [Path(job["trace"]).name for job in worker.jobs if job["task"] == "profile"] == names


@pytest.mark.parametrize(
    ("engines", "changes", "error", "sentence"),
    [
        (("tensorrt",), {}, UnknownModelError, "Unknown engine 'tensorrt'"),
        (("onnx-fp32", "openvino"), {}, InvalidInputError, "openvino has no profiler"),
        (("torch-fp32",), {"allocator": Allocator(arena=False)}, InvalidInputError, "ONNX Runtime's"),
        (("onnx-fp32",), {"model": "nothing"}, UnknownModelError, "No model 'nothing'"),
        (("onnx-fp32",), {"model": "random:resnet"}, UnknownModelError, "No random checkpoint 'resnet'"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_starts_no_process(engines, changes, error, sentence):
    worker = FakeWorker()
    plan = ProfilePlan(**{"model": "siglit-mini", "engines": engines} | changes)
    with pytest.raises(error, match=sentence):
        run_profile(plan, TwoSamples(), worker)
    assert worker.jobs == []
