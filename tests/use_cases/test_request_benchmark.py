"""Requests against plain transformers: with workers that pretend, and each task once on a tiny model."""

import io

import numpy as np
import pytest
from PIL import Image

from app.cli.request_table import requests_table
from engines.errors import BackendUnavailableError
from engines.worker.batched_engine import BatchedEngine
from tests.fakes import FakeEngine, FakePreprocessor
from use_cases import request_tasks
from use_cases.benchmark import BenchmarkPlan
from use_cases.benchmark_subjects import PLAIN, EngineSubject
from use_cases.request_benchmark import PREPARER, run_request_benchmark

PLAN = BenchmarkPlan(models=("siglit-mini",), engines=("onnx-fp32",), num_rounds=2)
QUICK = {"num_warmup": 1, "min_iters": 1, "min_duration_s": 0.0}


def fake_worker(job):
    plain = job["engine"] == PLAIN
    cell = {"p50_ms": 40.0 if plain else 10.0, "foreign_cores": 0.0}
    if job["task"] == "prepare":
        np.save(job["output"], np.full((3, 2, 2), 0.25 if plain else 0.5))
        return {"prepare_large": cell}
    if job["task"] == "zero_shot":
        return {"zero_shot_known": cell, "zero_shot_new": cell}
    if job["task"] == "clients":
        return {"image_tower": cell, "two_clients": {"ratio": 1.1, "foreign_cores": 1.0}}
    if job["task"] == "tracing":
        return {"tracing": {"ratio": 1.005, "foreign_cores": 0.0}}
    return {"gops": 150.0, "peak_gops": 200.0, "image_gflop": 1.0, "foreign_cores": 0.0}


def by_name(results):
    return {(result.measurement, result.engine): result for result in results}


def test_every_quantity_is_compared_with_plain_transformers():
    results = run_request_benchmark(PLAN, fake_worker)
    found = by_name(results)
    assert found["prepare_large", PREPARER].times_plain == 4
    assert found["prepare_large", PREPARER].max_pixel_error == 0.25
    assert found["prepare_large", PLAIN].times_plain is None
    assert found["zero_shot_new", "onnx-fp32"].times_plain == 4
    assert found["two_clients", "onnx-fp32"].value.num_clean == 0
    assert found["image_tower_share", "onnx-fp32"].value.median == pytest.approx(0.5)  # 100 of 200 Gop/s
    assert "pixels differ by 0.2500" in requests_table(results)


def test_what_is_missing_is_listed_with_its_reason():
    def worker(job):
        if job["engine"] == PLAIN or job["task"] == "int8_rate":
            raise BackendUnavailableError("transformers is not installed.")
        return fake_worker(job)

    results = run_request_benchmark(PLAN, worker)
    found = by_name(results)
    assert found["zero_shot_known", PLAIN].reason == "transformers is not installed."
    assert found["zero_shot_known", "onnx-fp32"].times_plain is None
    assert found["prepare_large", PREPARER].max_pixel_error is None
    assert found["image_tower_share", "onnx-fp32"].value is None
    assert "not available: transformers is not installed." in requests_table(results)


def test_without_a_compiler_there_is_no_peak_and_no_share_of_it():
    def worker(job):
        answer = fake_worker(job)
        return answer | {"peak_gops": None} if job["task"] == "int8_rate" else answer

    found = by_name(run_request_benchmark(PLAN, worker))
    assert found["image_tower_share", "onnx-fp32"].value is None
    assert found["int8_peak", "onnxruntime"].value is None
    assert found["int8_rate", "onnxruntime"].value.median == 150


@pytest.mark.parametrize(
    ("answer", "has_peak"),
    [
        ({"gops": 201.0}, False),  # of 200: products used other instructions
        ({"peak_gops": 99.0, "gops": 90.0}, True),  # the tower reaches 100
    ],
)
def test_what_is_faster_than_the_peak_is_no_share_of_it(answer, has_peak):
    def worker(job):
        return fake_worker(job) | (answer if job["task"] == "int8_rate" else {})

    results = run_request_benchmark(PLAN, worker)
    found = by_name(results)
    share, peak = found["image_tower_share", "onnx-fp32"], found["int8_peak", "onnxruntime"]
    assert share.value is None
    assert "not this CPU's" in share.reason
    assert (peak.value is not None, peak.reason is None) == (has_peak, has_peak)
    assert found["int8_rate", "onnxruntime"].value is not None
    assert "not this CPU's" in requests_table(results)


def test_photos_are_the_same_for_the_same_seed_and_labels_never_repeat():
    photo = request_tasks.synthetic_jpeg((64, 48), seed=1)
    assert photo == request_tasks.synthetic_jpeg((64, 48), seed=1)
    assert photo != request_tasks.synthetic_jpeg((64, 48), seed=2)
    assert Image.open(io.BytesIO(photo)).size == (64, 48)
    sets = request_tasks.label_sets()
    labels = [label for _ in range(30) for label in next(sets)]
    assert len(set(labels)) == len(labels) == 30 * request_tasks.NUM_LABELS


@pytest.fixture(scope="module")
def tiny_siglip(tmp_path_factory):
    from engines.checkpoints.random_weights import write_siglip
    from tests.checkpoints import TOWER, VISION

    folder = tmp_path_factory.mktemp("tiny")
    write_siglip(folder, vocab_size=60, text=TOWER, vision=VISION)  # 64 tokens, as the pipeline wants
    return folder


@pytest.mark.parametrize("engine", ["torch-fp32", PLAIN])
def test_each_task_runs_on_a_tiny_checkpoint(tiny_siglip, engine, tmp_path, monkeypatch):
    monkeypatch.setattr(request_tasks, "LARGE", (400, 300))
    job = {"model": str(tiny_siglip), "engine": engine, "threads": 1, "effort": QUICK, "seed": 0}
    job["output"] = str(tmp_path / "pixels.npy")
    assert request_tasks.run_prepare(job)["prepare_large"]["p50_ms"] > 0
    assert np.abs(np.load(job["output"])).max() <= 1.001
    answers = request_tasks.run_zero_shot(job)
    assert answers["zero_shot_known"]["num_iters"] == answers["zero_shot_new"]["num_iters"] == 1
    if engine != PLAIN:
        assert request_tasks.run_clients(job)["two_clients"]["ratio"] > 0
        assert request_tasks.run_tracing(job)["tracing"]["ratio"] > 0
    else:
        assert request_tasks.run_int8_rate(job)["image_gflop"] > 0


def test_no_two_clients_images_are_embedded_as_one(monkeypatch):
    running = []

    def batched_engine(*args):
        running.append(BatchedEngine(*args))
        return running[-1]

    engine = FakeEngine()
    subject = EngineSubject(engine, FakePreprocessor(engine.spec))
    monkeypatch.setattr(request_tasks, "BatchedEngine", batched_engine)
    monkeypatch.setattr(request_tasks, "job_model", lambda _: engine.spec)
    monkeypatch.setattr(request_tasks, "load_subject", lambda *_: subject)
    job = {"model": "colours", "engine": "fake", "threads": 1, "seed": 1, "effort": QUICK | {"min_iters": 5}}
    found = request_tasks.run_clients(job)
    assert found["image_tower"]["num_iters"] == 5
    assert running[0].images.stats.items == 3 * 2 * 5  # to warm up, of one client, and of two
