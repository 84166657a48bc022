"""The benchmark's order, ratios and agreement, with workers that only pretend to measure."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engines.errors import BackendUnavailableError, InvalidInputError, UnknownModelError
from use_cases.benchmark import BenchmarkPlan, check_plan, compare, public_name, run_benchmark
from use_cases.benchmark_subjects import PLAIN, job_model
from use_cases.workers import run_worker

ENGINES = ("onnx-fp32", "torch-fp32")
P50_MS = {"onnx-fp32": 10.0, "torch-fp32": 20.0, PLAIN: 40.0}


@dataclass
class TwoSamples:
    images: tuple = (Path("a.png"), Path("b.png"))
    captions: tuple = ("a", "b")


class FakeWorker:
    """Answers with fixed times; the second round of onnx-fp32 is disturbed."""

    def __init__(self, missing=()):
        self.missing = missing
        self.calls = []

    def __call__(self, job):
        name = job["engine"]
        self.calls.append((job["task"], name))
        if name in self.missing:
            raise BackendUnavailableError(f"{name} is not installed.")
        if job["task"] == "embeddings":
            np.savez(job["output"], images=np.eye(2, dtype=np.float32), texts=np.eye(2, dtype=np.float32))
            return {}
        if job["task"] == "text_memory":
            return {"text_rss_bytes": 2}
        dirty = name == "onnx-fp32" and self.calls.count(("towers", name)) == 2
        cell = {
            "p50_ms": P50_MS[name] * (9 if dirty else 1), "p95_ms": 50.0, "items_per_s": 5.0,
            "foreign_cores": 1.0 if dirty else 0.0,
        }  # fmt: skip
        sizes = {str(size): cell for size in job["batch_sizes"]}
        return {
            "load_ms": 1.0, "first_embedding_ms": 2.0, "start_foreign_cores": 0.0, "rss_bytes": 3,
            "peak_rss_bytes": None, "artifact_bytes": 5, "towers": {"image": sizes, "text": sizes},
        }  # fmt: skip


def plan(**changes):
    return BenchmarkPlan(models=("siglit-mini",), engines=ENGINES, batch_sizes=(1, 2), **changes)


def test_engines_take_turns_in_every_round_after_all_were_compared():
    worker = FakeWorker()
    run_benchmark(plan(num_rounds=2), TwoSamples(), worker)
    a_round = [(task, name) for name in (*ENGINES, PLAIN) for task in ("towers", "text_memory")]
    assert worker.calls[3:] == a_round * 2
    assert {task for task, _ in worker.calls[:3]} == {"embeddings"}


def test_speed_is_told_as_times_plain_transformers_from_clean_rounds():
    onnx, torch, plain = run_benchmark(plan(), TwoSamples(), FakeWorker())
    assert onnx.p50_ms["image"]["2"].num_clean == 2
    assert onnx.times_plain == {tower: {"1": 4.0, "2": 4.0} for tower in ("image", "text")}
    assert torch.times_plain["text"]["1"] == 2.0
    assert plain.times_plain["text"]["1"] is None
    assert onnx.peak_rss_bytes is None
    assert onnx.text_rss_bytes.median == 2


def test_an_engine_that_is_missing_is_listed_with_its_reason():
    onnx, torch, plain = run_benchmark(plan(), TwoSamples(), FakeWorker(missing=("onnx-fp32", PLAIN)))
    assert (onnx.reason, onnx.p50_ms) == ("onnx-fp32 is not installed.", {})
    assert plain.reason == f"{PLAIN} is not installed."
    assert torch.times_plain["image"]["1"] is None
    assert torch.agreement.top1 == 1


def test_without_the_reference_there_is_no_agreement():
    onnx, *_ = run_benchmark(plan(), TwoSamples(), FakeWorker(missing=("torch-fp32",)))
    assert onnx.agreement is None
    assert onnx.p50_ms


def test_agreement_counts_rows_and_best_captions():
    reference = np.eye(2, dtype=np.float32)
    swapped = reference[::-1]
    agreement = compare(reference, reference, swapped, reference)
    assert (agreement.image_cosine_mean, agreement.text_cosine_min, agreement.top1) == (0, 1, 0)


def test_an_unknown_model_ends_the_benchmark_before_it_starts():
    worker = FakeWorker()
    with pytest.raises(UnknownModelError):
        run_benchmark(BenchmarkPlan(models=("nothing",), engines=ENGINES), TwoSamples(), worker)
    assert worker.calls == []


def test_a_folder_has_a_public_name_however_it_is_written(tmp_path, monkeypatch):
    (tmp_path / "tuned").mkdir()
    monkeypatch.chdir(tmp_path / "tuned")
    assert {public_name(each) for each in (".", "../tuned", "../tuned/", str(tmp_path / "tuned"))} == {
        "tuned"
    }
    assert public_name("google/siglip-base-patch16-224") == "google/siglip-base-patch16-224"


def test_two_models_of_one_name_are_refused_and_one_written_twice_is_not(tmp_path, monkeypatch):
    from tests.checkpoints import build_tiny_clip

    folders = [tmp_path / parent / "tuned" for parent in ("one", "two")]
    for folder in folders:
        folder.mkdir(parents=True)
        build_tiny_clip(folder)
    with pytest.raises(InvalidInputError, match="Two models are called 'tuned'; rename the folder of one"):
        check_plan(BenchmarkPlan(models=tuple(map(str, folders)), engines=ENGINES))
    monkeypatch.chdir(tmp_path / "one")
    assert list(check_plan(BenchmarkPlan(models=("tuned", str(folders[0])), engines=ENGINES))) == ["tuned"]


def test_a_worker_that_dies_is_told_in_one_sentence():
    with pytest.raises(BackendUnavailableError, match=r"ended with 1: KeyError: 'no-such-task'"):
        run_worker({"task": "no-such-task", "threads": 1})


def test_a_job_reads_torch_s_format_only_where_its_plan_allows_it(tmp_path):
    from tests.checkpoints import build_tiny_clip

    (weights,) = build_tiny_clip(tmp_path).glob("*.safetensors")
    torch.save(load_file(weights), tmp_path / "pytorch_model.bin")
    weights.unlink()
    jobs = []

    def worker(job):
        jobs.append(job)
        raise BackendUnavailableError("This is no test of engines.")

    for allowed in (False, True):
        plan = BenchmarkPlan(models=(str(tmp_path),), engines=("torch-fp32",), allow_pickled_weights=allowed)
        with nullcontext() if allowed else pytest.raises(InvalidInputError, match="a pickle"):
            run_benchmark(plan, TwoSamples(), worker)
    assert job_model(jobs[0]).pickled_weights
    with pytest.raises(InvalidInputError, match="a pickle"):
        job_model({**jobs[0], "allow_pickled_weights": False})
