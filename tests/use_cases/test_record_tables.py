"""Records as Markdown: every committed page is its record's, and what is missing is said."""

from dataclasses import asdict

import pytest

from engines.errors import BackendUnavailableError
from engines.machine.cpu import read_cpu
from tests.use_cases.test_benchmark import FakeWorker, TwoSamples, plan
from tests.use_cases.test_request_benchmark import PLAN, fake_worker
from use_cases.benchmark import run_benchmark
from use_cases.record_tables import render_model, render_record
from use_cases.request_benchmark import run_request_benchmark
from use_cases.results import build_record, read_record, record_paths


def record(kind, results):
    return build_record(
        kind, command="python -m ...", cpu=read_cpu(), threads=2, seed=0, rounds=2, clean_rounds=1,
        settings={}, results=[asdict(result) for result in results],
    )  # fmt: skip


def test_towers_become_a_row_an_engine_with_its_speed_against_plain_transformers():
    towers = record("towers", run_benchmark(plan(num_rounds=2), TwoSamples(), FakeWorker()))
    rows = render_model(towers, "siglit-mini").splitlines()
    assert rows[2].startswith("| `onnx-fp32` | 10 (4.00x) | 10 (4.00x) | 2 |")
    assert rows[4].startswith("| `plain-transformers` | 40 | 40 |")
    assert "2 rounds, of which the most disturbed quantity had 1 clean" in render_record(towers)


def test_an_engine_that_is_not_here_says_why():
    worker = FakeWorker(missing=("torch-fp32",))
    towers = record("towers", run_benchmark(plan(num_rounds=1), TwoSamples(), worker))
    assert "| `torch-fp32` | torch-fp32 is not installed. |" in render_record(towers)


def test_requests_become_a_row_a_quantity():
    def worker(job):
        if job["task"] == "clients":
            raise BackendUnavailableError("no clients")
        return fake_worker(job)

    rows = render_model(record("requests", run_request_benchmark(PLAN, worker)), "siglit-mini").splitlines()
    assert "| zero-shot, new photo, 10 known labels | `onnx-fp32` | 10.00 | ms | 4.00 | 2 of 2 |" in rows
    assert "| two clients at once, images | `onnx-fp32` | - | x one client | - | no clients |" in rows


@pytest.mark.parametrize("path", record_paths(), ids=lambda path: path.stem)
def test_a_committed_page_is_its_record_s(path):
    assert path.with_suffix(".md").read_text("utf-8") == render_record(read_record(path))
