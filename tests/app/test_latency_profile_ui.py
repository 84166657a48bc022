"""The latency tab's profiler without a browser: what it shows and keeps, and for whom."""

import asyncio
import json
from pathlib import Path

import gradio as gr
import pytest

from app.services import Services
from app.ui import ticking
from app.ui.latency_profile_handlers import PROFILED, ProfileHandlers
from engines.errors import BackendUnavailableError
from engines.models import get_bundled_model
from tests.app.search_page import Page, collect, page_request
from tests.fakes import FakePool
from tests.use_cases.profiling.answers import FakeWorker

pytestmark = pytest.mark.anyio
MODEL = "siglit-mini"


@pytest.fixture
async def services(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    services = Services(FakePool(**{MODEL: get_bundled_model(MODEL)}), (MODEL,), may_measure=True)
    yield services
    await services.close()


def slow_answers(seconds=0.0):
    """Return a worker's answers that take their time, and leave a trace where one is wanted."""
    worker = FakeWorker()

    async def answer(job, cache_dir):
        await asyncio.sleep(seconds)
        if job.get("trace"):
            Path(job["trace"]).write_text(f"trace of {job['engine']}")
        return worker(job)

    return answer


async def profile(handlers, engines=("onnx-int8-dynamic", "torch-fp32"), tower="image", size=1, **rights):
    request = await page_request(**rights)
    return [step async for step in handlers.on_profile(MODEL, list(engines), tower, size, request)]


async def test_engines_are_shown_side_by_side_with_operators_blocks_stages_and_memory(services):
    *_, (status, plots, tables, files) = await profile(ProfileHandlers(services, slow_answers()))
    assert "Profiled onnx-int8-dynamic, torch-fp32 in" in status
    kinds, blocks = plots["figures"]
    assert kinds["title"] == "siglit-mini, image tower, batch 1"
    assert [trace["name"] for trace in blocks["traces"]] == ["onnx-int8-dynamic", "torch-fp32"]
    page = Page(tables).text
    assert "Float32 products reach 10 GFLOP/s here (NumPy), 8-bit products 20 Gop/s" in page
    assert "95.0% of it in blocks with a name" in page
    assert "Op0 2 8.000 38.1% 0.008 1 10% -" in page
    assert "block 0 attention" in page
    assert "30.0 ms, the mean of 4: 1% I/O, 4% decode, 5% prepare, 85% engine call, 5% Python" in page
    assert (
        "MB after import load first call later calls onnx-int8-dynamic arena on, memory pattern off" in page
    )
    numbers, *traces = map(Path, files["value"])
    assert json.loads(numbers.read_text())["engines"][1]["engine"] == "torch-fp32"
    assert [path.name for path in traces] == ["onnx-int8-dynamic.trace.json", "torch-fp32.trace.json"]
    assert traces[1].read_text() == "trace of torch-fp32"


async def test_meanwhile_it_says_what_is_done(services, monkeypatch):
    monkeypatch.setattr(ticking, "_TICK_S", 0.05)
    steps = await profile(ProfileHandlers(services, slow_answers(0.2)), ["onnx-fp32"])
    said = " ".join(Page(step[0]).text for step in steps)
    assert "Measuring this machine's arithmetic; step 1 of 4" in said
    assert "Profiling onnx-fp32, which is built first if that was never done; step 2 of 4" in said
    assert "Counting the model's arithmetic; step 3 of 4" in said
    assert all(step[1:] == (gr.skip(),) * 3 for step in steps[:-1])


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"engines": []}, "Choose one or more of the engines onnx-fp32"),
        ({"engines": ["openvino"]}, "Choose one or more of the engines onnx-fp32"),
        ({"tower": "audio"}, "The tower must be one of image, text"),
        ({"size": 3}, "The batch size must be one of 1, 2, 4"),
        ({"size": "x"}, "The batch size must be a number"),
        ({"may_change": False}, "Visitors may not profile here"),
    ],
)
async def test_what_cannot_be_profiled_is_refused_in_a_sentence(services, choices, sentence):
    with pytest.raises(gr.Error, match=sentence):
        await profile(ProfileHandlers(services, slow_answers()), **choices)
    handlers, request = ProfileHandlers(services, slow_answers()), await page_request()
    with pytest.raises(gr.Error, match="Choose one of the models siglit-mini"):
        [step async for step in handlers.on_profile("other", ["onnx-fp32"], "image", 1, request)]


async def test_visitors_profile_only_where_they_may(services):
    services = Services(services.pool, (MODEL,), may_measure=False)
    with pytest.raises(gr.Error, match="see SIGLIP_ALLOW_MEASURING"):
        await profile(ProfileHandlers(services, slow_answers()))


async def test_an_engine_that_fails_says_why_and_the_next_profile_works(services):
    async def fail(job, cache_dir):
        raise BackendUnavailableError("The engine bnb-nf4 needs bitsandbytes.")

    with pytest.raises(gr.Error, match="needs bitsandbytes"):
        await profile(ProfileHandlers(services, fail), ["bnb-nf4"])
    assert len(await profile(ProfileHandlers(services, slow_answers()))) >= 1


async def test_one_profile_runs_at_a_time_and_takes_no_longer_than_it_may(services, monkeypatch):
    monkeypatch.setattr(ticking, "_TICK_S", 0.05)
    first, second = await asyncio.gather(
        *(profile(ProfileHandlers(services, slow_answers(0.1))) for _ in range(2))
    )
    assert "Something else is measured" not in first[0][0]
    assert "Something else is measured" in second[0][0]
    with pytest.raises(gr.Error, match="longer than a profile may take"):
        await profile(ProfileHandlers(services, slow_answers(60), max_run_s=0.1))
    assert not services.measuring.locked()


async def test_a_visitor_who_leaves_ends_the_job_and_the_next_may_begin(services, monkeypatch):
    monkeypatch.setattr(ticking, "_TICK_S", 0.05)
    ended = asyncio.Event()

    async def wait(job, cache_dir):
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    request = await page_request()
    steps = ProfileHandlers(services, wait).on_profile(MODEL, ["onnx-fp32"], "image", 1, request)
    while "step 1" not in (await anext(steps))[0]:  # the job has begun
        pass
    assert services.measuring.locked()
    await steps.aclose()
    assert ended.is_set()
    assert not services.measuring.locked()


def test_every_engine_with_a_profiler_is_offered():
    assert "onnx-int4" in PROFILED
    assert "bnb-int8" in PROFILED
    assert "openvino" not in PROFILED


async def test_a_profile_that_fails_does_not_seem_to_go_on(services):
    async def fail(job, cache_dir):
        raise BackendUnavailableError("The package bitsandbytes is missing.")

    steps, request = [], await page_request()
    stream = ProfileHandlers(services, fail).on_profile(MODEL, ["torch-fp32"], "image", 1, request)
    with pytest.raises(gr.Error, match="bitsandbytes is missing"):
        await collect(stream, steps)
    assert "bitsandbytes is missing" in steps[-1][0]
