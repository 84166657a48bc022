"""Engines measured one after the other: against stored vectors, paired with float32, and what cannot run."""

import asyncio
import contextlib
import csv
import io
import json
import os
import zlib

import numpy as np
import psutil
import pytest

from engines.artifacts.store import default_cache_dir
from engines.base import normalize
from engines.calibration import held_out_set
from engines.errors import BackendUnavailableError, InferenceError
from engines.gallery import gallery
from engines.models import get_bundled_model
from engines.quality import ensure_reference
from use_cases.background_workers import run_in_process
from use_cases.comparison import engines
from use_cases.comparison.engine_estimate import estimate_s, not_built
from use_cases.comparison.engine_quality import (
    TASKS,
    GalleryEmbeddings,
    held_out_gallery,
    measure_changes,
    measure_tasks,
)
from use_cases.comparison.engine_records import (
    find_record,
    model_pages,
    origin,
    page_section,
    read_records,
    recorded_models,
    recorded_rows,
)
from use_cases.comparison.engine_tables import (
    EngineTable,
    engines_csv,
    engines_json,
    engines_markdown,
    task_text,
)
from use_cases.comparison.engines import EnginePlan, in_order, measure_engines, reference_vectors
from use_cases.resampling import Estimate
from use_cases.workers import read_answer

pytestmark = pytest.mark.anyio
MODEL = "siglit-mini"
TIMED = {
    "load_ms": 700.0, "rss_bytes": 3e8, "artifact_bytes": 2e8,
    "towers": {
        tower: {"1": {"p50_ms": ms, "foreign_cores": 0.0}} for tower, ms in (("image", 20.0), ("text", 4.0))
    },
}  # fmt: skip


def rows_of(texts, noise=0.0):
    """Return a made-up embedding for each text, the same each time; noise moves it."""
    rows = np.stack([np.random.default_rng(zlib.crc32(text.encode())).normal(size=64) for text in texts])
    moved = rows + noise * np.random.default_rng(0).normal(size=rows.shape)
    return normalize(moved.astype(np.float32))


def captions_of(images, texts):
    """Return embeddings of captions that lie near their images, so that there is something to lose."""
    return normalize(images + 0.3 * texts[: len(images)])


class FakeRun:
    """Answers as the worker does; "scrambled" gives its rows to others, "missing" cannot run."""

    def __init__(self):
        self.jobs = []

    async def __call__(self, job, cache_dir):
        self.jobs.append(job)
        if job["engine"] == "missing":
            raise BackendUnavailableError("The engine missing needs the package nothing.")
        if job["task"] == "towers":
            return TIMED
        images = rows_of(job["images"])
        texts = rows_of(job["captions"], noise=0.05 if job["engine"] == "onnx-int8-dynamic" else 0.0)
        gate, first = len(held_out_set().images), len(held_out_set().captions)
        texts[:gate] = captions_of(images[:gate], texts)
        texts[first : first + len(images) - gate] = captions_of(images[gate:], texts[first:])
        if job["engine"] == "scrambled":
            images = np.roll(images, 1, axis=0)
        np.savez(job["output"], images=images, texts=texts)
        return {}


@pytest.fixture
def run(monkeypatch):
    """Return a fake worker, whose float32 vectors are the stored ones."""
    samples = held_out_set()
    images, texts = rows_of([str(path) for path in samples.images]), rows_of(samples.captions)
    texts[: len(images)] = captions_of(images, texts)

    async def stored(*_):
        return images, texts

    monkeypatch.setattr(engines, "reference_vectors", stored)
    return FakeRun()


def plan(tmp_path, *names, most=40):
    return EnginePlan(
        model=MODEL, engines=names, held_out=held_out_gallery(most), num_threads=2, cache_dir=tmp_path
    )


async def measured(run, tmp_path, *names):
    return {row.engine: row async for row in measure_engines(plan(tmp_path, *names), run)}


def test_held_out_pictures_were_neither_trained_nor_calibrated_on():
    everything = held_out_gallery()
    assert not any(image.seen_in_training or image.split == "calibration" for image in everything.pictures)
    assert everything.own.any(axis=1).all()
    some = held_out_gallery(10)
    assert len(set(some.pictures)) == 10
    assert {some.pictures[0], some.pictures[-1]} == {everything.pictures[0], everything.pictures[-1]}
    assert len(some.labels) == len({tag for image in gallery() for tag in image.tags})


def test_the_same_embeddings_change_nothing_and_noise_does():
    held_out = held_out_gallery()
    images = rows_of([image.path.name for image in held_out.pictures])
    labels = rows_of(held_out.labels)
    exact = GalleryEmbeddings(images, images, labels)
    noisy = GalleryEmbeddings(
        rows_of([image.path.name for image in held_out.pictures], noise=2.0), images, labels
    )
    assert measure_tasks(exact, held_out)["text_to_image"].value == 1
    assert all(each == Estimate(0, 0, 0) for each in measure_changes(exact, exact, held_out).values())
    change = measure_changes(noisy, exact, held_out)["text_to_image"]
    assert change.high < 0
    assert change.low <= change.value <= change.high


async def test_the_reference_comes_first_and_a_close_engine_passes(run, tmp_path):
    rows = await measured(run, tmp_path, "onnx-int8-dynamic", "onnx-fp32")
    assert list(rows) == ["onnx-fp32", "onnx-int8-dynamic"]
    exact, close = rows.values()
    assert exact.badge.state == "passed"
    assert exact.cosine == pytest.approx(1)
    assert set(close.changes) == set(close.tasks) == set(TASKS)
    assert close.cosine < 1
    assert (close.image_ms, close.text_ms, close.pair_ms, close.load_ms) == (20, 4, 24, 700)
    assert (close.rss_bytes, close.artifact_bytes) == (3e8, 2e8)
    assert {job["task"] for job in run.jobs} == {"towers", "embeddings"}


async def test_an_engine_that_scrambles_its_vectors_fails_with_the_number(run, tmp_path):
    row = (await measured(run, tmp_path, "scrambled"))["scrambled"]
    assert row.badge.state == "failed"
    assert "image cosine" in row.badge.sentence
    assert f"{row.cosines.image_mean:.4f}" in row.badge.sentence
    assert row.changes["text_to_image"].high < 0
    assert not row.changes["text_to_image"].holds_zero


async def test_an_engine_that_cannot_run_here_is_a_row_with_its_reason(run, tmp_path):
    rows = await measured(run, tmp_path, "missing", "onnx-int8-dynamic")
    assert rows["missing"].reason == "The engine missing needs the package nothing."
    assert rows["missing"].badge.state == "not measured"
    assert rows["onnx-int8-dynamic"].badge.state == "passed"


async def test_without_stored_vectors_there_is_no_verdict(run, tmp_path, monkeypatch):
    judged = (await measured(run, tmp_path))["onnx-fp32"]

    async def fail(*_):
        raise InferenceError("It cannot be exported.")

    monkeypatch.setattr(engines, "reference_vectors", fail)
    row = (await measured(run, tmp_path))["onnx-fp32"]
    assert row.badge.state == "not measured"
    assert "It cannot be exported." in row.badge.sentence
    assert row.cosines is None
    assert row.tasks == judged.tasks  # that is known all the same
    assert row.tasks["text_to_image"].value > 0.5


def test_more_pictures_and_engines_take_longer():
    spec = get_bundled_model(MODEL)
    few, many = held_out_gallery(10), held_out_gallery()
    assert estimate_s(spec, few, 2, 20, 4) < estimate_s(spec, many, 2, 20, 4)
    assert estimate_s(spec, few, 4, 20, 4) == pytest.approx(2 * estimate_s(spec, few, 2, 20, 4))
    assert in_order(["torch-fp32", "onnx-fp32"]) == ["onnx-fp32", "torch-fp32"]


def test_engines_that_have_to_be_built_are_named(tmp_path):
    spec = get_bundled_model(MODEL)
    (tmp_path / f"{MODEL}-onnx-fp32-0123456789abcdef").mkdir()
    (tmp_path / f"{MODEL}-bnb-nf4-quality-0123456789abcdef").mkdir()
    assert not_built(spec, ["onnx-fp32", "bnb-nf4", "torch-fp32"], tmp_path) == ["bnb-nf4"]


def test_committed_records_say_where_they_are_from():
    records, problems = read_records()
    assert problems == []
    model = "random:siglip-base-patch16-224"
    assert model in recorded_models(records)
    record = find_record(records, model)
    rows = {row.engine: row for row in recorded_rows(record, model)}
    assert rows["onnx-fp32"].badge.state == "passed"
    assert rows["onnx-int8-dynamic"].badge.state == "passed"
    assert rows["bnb-nf4"].badge.state == "failed"
    assert rows["onnx-fp32"].changes == {}
    assert rows["onnx-fp32"].top1_agreement is None
    sentence = origin(record.content)
    for fact in (record.content["commit"], record.content["created_utc"], "AMD EPYC", "2 threads"):
        assert fact in sentence
    pages = model_pages(records, model)
    assert {each.kind for each, _ in pages} == {"requests"}
    assert all("|---|" in page and "## " not in page for _, page in pages)
    assert find_record(records, "nobody") is None


def test_a_record_that_is_none_is_a_sentence(tmp_path):
    (tmp_path / "towers-x.json").write_text("{")
    (tmp_path / "notes-x.json").write_text("{")  # not of a kind that is shown
    records, problems = read_records(tmp_path)
    assert records == []
    assert len(problems) == 1
    assert problems[0].startswith("towers-x.json: ")
    assert page_section("# T\n\n## a\n\nx\n\n## b\n\ny\n", "b") == "y"
    assert page_section("# T\n", "a") == ""


async def test_the_files_to_keep_name_their_origin(run, tmp_path):
    rows = tuple((await measured(run, tmp_path, "missing", "onnx-int8-dynamic")).values())
    asked = EngineTable(MODEL, 40, rows, "Measured here.")
    table = list(csv.DictReader(io.StringIO(engines_csv(asked))))
    assert [row["engine"] for row in table] == ["onnx-fp32", "missing", "onnx-int8-dynamic"]
    assert table[2]["origin"] == "Measured here."
    assert {(row["model"], row["held_out_pictures"]) for row in table} == {(MODEL, "40")}
    assert table[1]["image_ms"] == ""
    assert float(table[2]["zero_shot_change"]) == pytest.approx(rows[2].changes["zero_shot"].value)
    content = json.loads(engines_json(asked, {"commit": "abc"}))
    assert (content["model"], content["held_out_pictures"]) == (MODEL, 40)
    assert (
        content["engines"][2]["changes"]["zero_shot"]["low"]
        <= content["engines"][2]["changes"]["zero_shot"]["high"]
    )
    page = engines_markdown(asked)
    assert page.startswith(f"## {MODEL}, 40 held-out pictures\n\nMeasured here.\n\n| engine |")
    assert "`missing`: The engine missing needs the package nothing." in page


def test_a_change_says_whether_it_may_be_none():
    assert (
        task_text(Estimate(0.5, 0.4, 0.6), Estimate(-0.02, -0.04, 0.01)) == "50.0 %, -2.0 [-4.0, +1.0] n.s."
    )
    assert task_text(Estimate(0.5, 0.4, 0.6), Estimate(-0.02, -0.04, -0.01)) == "50.0 %, -2.0 [-4.0, -1.0]"
    assert task_text(Estimate(0.5, 0.4, 0.6), Estimate(0, 0, 0)) == "50.0 %, same"
    assert task_text(None, None) == "-"


async def test_a_worker_that_is_not_waited_for_is_ended(tmp_path):
    job = {"task": "embeddings", "model": MODEL, "engine": "onnx-fp32", "threads": 1,
           "images": [str(gallery()[0].path)] * 5000, "captions": ["a cat"],
           "output": str(tmp_path / "rows.npz")}  # fmt: skip
    before = set(psutil.Process().children())
    running = asyncio.ensure_future(run_in_process(job, tmp_path / "cache"))
    while not (started := set(psutil.Process().children()) - before):
        await asyncio.sleep(0.05)
    (process,) = started
    await asyncio.sleep(0.3)
    if hasattr(os, "getpriority"):
        assert process.nice() == 10
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def builders():
    """Return the processes that compute float32 vectors, and what they have started to do it."""
    found = []
    for each in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ends meanwhile; a zombie has ended
            if "engines.quality" in each.cmdline():
                found.append(each)
    return found


async def test_who_does_not_wait_for_float32_vectors_ends_what_computes_them(tmp_path):
    rows = measure_engines(plan(tmp_path / "cache"), run_in_process)
    running = asyncio.ensure_future(anext(rows))
    while not (started := builders()):
        assert not running.done()
        await asyncio.sleep(0.05)
    if hasattr(os, "getpriority"):
        assert started[0].nice() == 10
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not builders()


@pytest.mark.model
async def test_float32_vectors_are_those_that_the_gate_keeps():
    images, texts = await reference_vectors(plan(default_cache_dir()), MODEL, run_in_process)
    assert (len(images), len(texts)) == (len(held_out_set().images), len(held_out_set().captions))
    with np.load(ensure_reference(get_bundled_model(MODEL), default_cache_dir())) as rows:
        np.testing.assert_array_equal(images, rows["images"])
        np.testing.assert_array_equal(texts, rows["texts"])


async def test_why_there_are_no_float32_vectors_is_one_sentence(tmp_path):
    with pytest.raises(BackendUnavailableError, match="nobody/nothing"):
        await reference_vectors(plan(tmp_path), "nobody/nothing", run_in_process)


async def test_a_worker_says_in_one_sentence_why_it_cannot(tmp_path):
    job = {"task": "embeddings", "model": "nobody/nothing", "engine": "onnx-fp32", "threads": 1,
           "images": [], "captions": [], "output": ""}  # fmt: skip
    with pytest.raises(BackendUnavailableError, match="nobody/nothing"):
        await run_in_process(job, tmp_path)


@pytest.mark.parametrize(
    ("code", "stdout", "stderr", "sentence"),
    [(1, "", "Traceback\nKeyError: 'x'", "KeyError: 'x'"), (-9, "", "", "ended with -9: it printed nothing")],
)
def test_a_worker_that_died_is_told_by_its_last_line(code, stdout, stderr, sentence):
    with pytest.raises(BackendUnavailableError, match=sentence):
        read_answer(code, stdout, stderr)
