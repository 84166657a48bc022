"""Engines in the page, without a browser: records, live measurements, badges, and what is missing."""

import asyncio
import html.parser
import json
import re
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from app.services import Services
from app.ui.compare_engines import build
from app.ui.compare_engines_boards import COMMITTED, MEASURED
from app.ui.compare_engines_cards import render_badge, render_engines, render_pages
from app.ui.compare_engines_handlers import ALL_PICTURES, EngineHandlers
from app.ui.compare_plots import engine_plot
from engines.errors import BackendUnavailableError, InvalidInputError
from engines.factory import ENGINES
from engines.models import get_bundled_model
from tests.app.search_page import page_request
from tests.fakes import FIGURES, FakePool
from tests.use_cases.comparison.test_engines import FakeRun, run  # noqa: F401  a fixture
from use_cases.comparison.badge import Badge
from use_cases.comparison.engine_records import find_record, model_pages, read_records
from use_cases.comparison.engine_tables import EngineTable
from use_cases.comparison.engines import Cosines, EngineRow
from use_cases.retrieval.galleries import GalleryOptions

pytestmark = pytest.mark.anyio
MODEL = "lit-mini"  # without a record of its times
RECORDED = "random:siglip-base-patch16-224"


class LoadedPool(FakePool):
    """All of its engines count as loaded; one of them was measured by the gate."""

    async def key(self, model, engine=None):
        return model

    def is_ready(self, key):
        return True

    def is_loading(self, key):
        return False

    async def spec(self, model):
        return get_bundled_model(model)

    async def quality(self, key):
        return FIGURES if key.engine == "onnx-int8-dynamic" else None


class Page(html.parser.HTMLParser):
    """Collects the words of a piece of HTML, and the labels of its badges."""

    def __init__(self, markup):
        super().__init__()
        self.words, self.badges = [], []
        self.feed(markup)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        if tag == "span":
            self.badges.append(dict(attrs)["aria-label"])

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
async def services(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    services = Services(LoadedPool(**{MODEL: get_bundled_model(MODEL)}), (MODEL,))
    yield services
    await services.close()


async def request_of(page=None, **rights):
    request = await page_request(**rights)
    request.session_hash = page
    return request


async def measure(handlers, engines=("onnx-int8-dynamic",), pictures=32, page=None, steps=None):
    steps = [] if steps is None else steps
    async for shown in handlers.on_run(MODEL, list(engines), pictures, await request_of(page)):
        steps.append(shown)
    return steps


class HeldRun(FakeRun):
    """Measures the reference at once, and then nothing until it is released."""

    def __init__(self):
        super().__init__()
        self.release, self.ended = asyncio.Event(), []

    async def __call__(self, job, cache_dir):
        try:
            if job["engine"] != "onnx-fp32":
                await self.release.wait()
            return await super().__call__(job, cache_dir)
        finally:
            self.ended.append(job["engine"])


async def until(condition):
    while not condition():
        await asyncio.sleep(0.01)


async def estimate(handlers, model=MODEL, pictures=32, **rights):
    return Page(await handlers.on_estimate(model, [], pictures, await page_request(**rights))).text


async def test_a_recorded_model_is_shown_with_its_origin(services):
    plot, source, table, others, *downloads = await EngineHandlers(services).on_show(RECORDED)
    page = Page(table)
    assert "Committed record towers-" in page.text
    assert "AMD EPYC" in page.text
    assert "The weights are random" in page.text
    assert any(each.startswith("failed: Too far from float32 in the record") for each in page.badges)
    assert "zero-shot" not in page.text  # which that record has no numbers of
    assert "On the Pareto front: onnx-int8-static-qoperator" in plot["figures"][0]["note"]
    assert "requests" in others
    assert "<td>onnx-int8-dynamic</td>" in others
    assert "9ea1fe6" in others
    contents = [Path(update["value"]).read_text("utf-8") for update in downloads]
    assert source["visible"] is False  # there is one source only
    assert f"{RECORDED},,onnx-fp32," in contents[0]
    assert f"{RECORDED}. Committed record towers-" in contents[0]
    kept = json.loads(contents[1])
    assert (kept["model"], kept["held_out_pictures"]) == (RECORDED, None)
    assert kept["provenance"]["commit"]
    assert contents[2].startswith(f"## {RECORDED}\n\n{RECORDED}. Committed record towers-")
    assert page.text.startswith(RECORDED)  # above the table


async def test_a_model_without_numbers_says_what_is_missing(services):
    plot, _, table, others, *downloads = await EngineHandlers(services).on_show(MODEL)
    assert not any(update["visible"] for update in downloads)
    page = Page(table)
    assert "No committed record has times of lit-mini" in page.text
    assert RECORDED in page.text
    assert len(page.badges) == len(ENGINES)
    assert [each for each in page.badges if each.startswith("failed")] == [
        "failed: Too far from float32: image cosine 0.9300 (0.995 needed)."
    ]
    assert "There is no chart" in plot["missing"]
    assert "<h3>retrieval</h3>" in others
    assert "R@1 %" in others
    with pytest.raises(gr.Error, match="Nothing is known about the model 'other'"):
        await EngineHandlers(services).on_show("other")


async def test_a_damaged_model_says_so_in_place_and_makes_no_toast(services):
    async def damaged(*_):
        raise InvalidInputError("The checkpoint is damaged.")

    services.pool.quality = services.pool.spec = damaged
    handlers = EngineHandlers(services)
    page = Page((await handlers.on_show(MODEL))[2])
    assert "The checkpoint is damaged." in page.text
    assert all(each.startswith("not measured") for each in page.badges)
    handlers._probes[MODEL] = (float("inf"), (20.0, 4.0))
    assert "The checkpoint is damaged." in await estimate(handlers)


async def test_a_measurement_shows_each_engine_as_it_is_done_and_stays(services, run):  # noqa: F811
    handlers = EngineHandlers(services, run)
    steps = await measure(handlers)
    assert len(steps) == 3  # two engines, and that it is done
    assert "Measuring onnx-int8-dynamic, 2 of 2" in steps[0][0]
    assert steps[1][5]["visible"] is False  # nothing to download before the end
    page = Page(steps[2][3])
    assert page.text.startswith(f"{MODEL}, 32 held-out pictures {MODEL} on 32 held-out pictures. Measured on")
    assert "1 onnx-fp32" in page.text
    assert "R@1 text → image" in page.text
    assert [each.split(":")[0] for each in page.badges] == ["passed", "passed"]
    assert "Measured 2 engines in" in steps[2][0]
    table, kept, markdown = (Path(update["value"]).read_text("utf-8") for update in steps[2][5:])
    assert f"\n{MODEL},32,onnx-fp32,passed," in table
    assert json.loads(kept)["held_out_pictures"] == json.loads(kept)["provenance"]["held_out_pictures"] == 32
    assert json.loads(kept)["model"] == json.loads(kept)["provenance"]["model"] == MODEL
    assert markdown.startswith(f"## {MODEL}, 32 held-out pictures\n")
    shown = await handlers.on_show(MODEL)
    assert Page(shown[2]).text == page.text


def commit_record(handlers):
    """Let there be a committed record of the model."""
    record = find_record(handlers._boards._records, RECORDED)
    row = {**record.content["results"][0], "model": MODEL}
    committed = replace(record, content={**record.content, "results": [row]})
    handlers._boards._records.append(committed)
    return committed


async def test_a_measurement_stands_beside_the_committed_record(services, run):  # noqa: F811
    handlers = EngineHandlers(services, run)
    committed = commit_record(handlers)
    steps = await measure(handlers)
    assert steps[1][2]["visible"] is False  # it could not be come back to before the end
    assert steps[2][2] == gr.update(choices=[COMMITTED, MEASURED], value=MEASURED, visible=True)
    for shown in (await handlers.on_show(MODEL), await handlers.on_source(MODEL, COMMITTED)):
        assert shown[1] == gr.update(choices=[COMMITTED, MEASURED], value=COMMITTED, visible=True)
        assert f"Committed record {committed.name}" in Page(shown[2]).text
    assert Page((await handlers.on_source(MODEL, MEASURED))[2]).text == Page(steps[2][3]).text


async def test_a_measurement_that_takes_too_long_is_ended_and_what_is_done_stays(services, run):  # noqa: F811
    steps = await measure(EngineHandlers(services, run, max_run_s=0))
    assert len(steps) == 2
    assert "longer than a measurement may take, with 1 of 2 engines" in steps[1][0]
    assert Page(steps[1][3]).badges[0].startswith("passed")

    async def endless(job, cache_dir):
        await asyncio.sleep(60)

    handlers = EngineHandlers(services, endless, max_run_s=0)
    ((status, *others),) = await measure(handlers)
    assert "with 0 of 2 engines" in status
    assert others == [gr.skip()] * 7
    assert not services.measuring.locked()
    assert "not measured on this server yet" in (await handlers.on_show(MODEL))[2]


@pytest.mark.parametrize(("may_measure", "guarded"), [(False, True), (True, False)])
async def test_visitors_measure_only_where_they_may(tmp_path, may_measure, guarded):
    pool, options = LoadedPool(**{MODEL: get_bundled_model(MODEL)}), GalleryOptions(root=tmp_path)
    services = Services(pool, (MODEL,), gallery_options=options, may_measure=may_measure)
    handlers, request = EngineHandlers(services, FakeRun()), await page_request(may_change=guarded)
    with pytest.raises(gr.Error, match="This page may not measure engines"):
        [shown async for shown in handlers.on_run(MODEL, [], 32, request)]
    controls, refused = await handlers.on_may_measure(request)
    assert (controls["visible"], refused["visible"]) == (False, True)
    assert "Takes about" not in await estimate(handlers, may_change=guarded)
    await services.close()


async def test_where_they_may_the_button_is_shown(services):
    controls, refused = await EngineHandlers(services).on_may_measure(await page_request())
    assert (controls["visible"], refused["visible"]) == (True, False)


async def test_a_broken_engine_is_badged_as_failed_with_its_number(services, run, monkeypatch):  # noqa: F811
    monkeypatch.setitem(ENGINES, "scrambled", ENGINES["onnx-int8-dynamic"])
    steps = await measure(EngineHandlers(services, run), ["scrambled"])
    page = Page(steps[2][3])
    assert page.badges[1].startswith("failed: Too far from float32: image cosine")
    assert "(0.995 needed)" in page.badges[1]
    states = {trace["name"] for trace in steps[1][1]["figures"][0]["traces"]}
    assert states == {"Pareto front", "passed", "failed"}


async def test_two_measurements_take_turns(services, run):  # noqa: F811
    handlers = EngineHandlers(services, run)
    first, second = await asyncio.gather(measure(handlers), measure(handlers))
    assert len(first) == 3
    assert "Another measurement runs" in second[0][0]
    assert len(second) == 4


async def test_ending_a_measurement_ends_its_worker(services, run):  # noqa: F811
    ended = asyncio.Event()

    async def endless(job, cache_dir):
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    handlers = EngineHandlers(services, endless)
    running = asyncio.ensure_future(measure(handlers))
    await asyncio.sleep(0.3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()
    assert not services.measuring.locked()


async def test_what_was_measured_before_a_measurement_was_stopped_stays(services, run):  # noqa: F811
    held, steps = HeldRun(), []
    handlers = EngineHandlers(services, held)
    running = asyncio.ensure_future(measure(handlers, page="mine", steps=steps))
    await until(lambda: steps)
    assert steps[0][5]["visible"] is False
    assert await handlers.on_stop(await request_of("mine")) == gr.skip()  # the measurement says how it ended
    await asyncio.wait_for(running, 10)
    assert held.ended[-1] == "onnx-int8-dynamic"
    assert not services.measuring.locked()
    status, _, _, table, _, *downloads = steps[-1]
    assert re.search("Stopped after .* s, with 1 of 2 engines; what was measured stays", status)
    assert "1 onnx-fp32" in Page(table).text
    assert all(update["visible"] for update in downloads)
    assert f"\n{MODEL},32,onnx-fp32,passed," in Path(downloads[0]["value"]).read_text("utf-8")
    assert Page((await handlers.on_show(MODEL))[2]).text == Page(table).text


async def test_a_measurement_that_was_ended_early_takes_no_larger_one_s_place(services, run):  # noqa: F811
    handlers = EngineHandlers(services, run)
    whole = (await measure(handlers))[-1]
    handlers._run = HeldRun()
    steps = []
    running = asyncio.ensure_future(measure(handlers, page="mine", steps=steps))
    await until(lambda: steps)
    await handlers.on_stop(await request_of("mine"))
    await asyncio.wait_for(running, 10)
    assert "2 onnx-int8-dynamic" not in Page(steps[-1][3]).text  # what this page has measured
    assert Page((await handlers.on_show(MODEL))[2]).text == Page(whole[3]).text


async def test_after_a_stop_the_committed_record_can_be_gone_back_to(services, run):  # noqa: F811
    held, steps = HeldRun(), []
    handlers = EngineHandlers(services, held)
    commit_record(handlers)
    running = asyncio.ensure_future(measure(handlers, steps=steps))
    await until(lambda: steps)
    await handlers.on_stop(await request_of())
    await asyncio.wait_for(running, 10)
    assert steps[-1][2] == gr.update(choices=[COMMITTED, MEASURED], value=MEASURED, visible=True)


async def test_what_was_measured_stays_when_its_page_is_closed(services, run):  # noqa: F811
    steps = []
    handlers = EngineHandlers(services, HeldRun())
    running = asyncio.ensure_future(measure(handlers, steps=steps))
    await until(lambda: steps)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    text = Page((await handlers.on_show(MODEL))[2]).text
    assert text.startswith(f"{MODEL}, 32 held-out pictures")


async def test_stop_ends_what_its_own_page_measures_alone(services, run):  # noqa: F811
    held, mine, others = HeldRun(), [], []
    handlers = EngineHandlers(services, held)
    nothing = "There is nothing to stop: this page measures nothing now."
    assert nothing in await handlers.on_stop(await request_of("mine"))
    other = asyncio.ensure_future(measure(handlers, page="other", steps=others))
    await until(lambda: others)
    assert nothing in await handlers.on_stop(await request_of("mine"))
    waiting = asyncio.ensure_future(measure(handlers, page="mine", steps=mine))
    await until(lambda: mine)
    assert "Another measurement runs" in mine[0][0]
    assert await handlers.on_stop(await request_of("mine")) == gr.skip()
    await asyncio.wait_for(waiting, 10)
    assert "Stopped before an engine was measured." in mine[-1][0]
    assert mine[-1][1:] == (gr.skip(),) * 7
    assert services.measuring.locked()
    held.release.set()
    await asyncio.wait_for(other, 10)
    assert "Measured 2 engines in" in others[-1][0]
    assert nothing in await handlers.on_stop(await request_of("other"))


async def test_a_measurement_that_is_left_while_it_waits_takes_no_turn(services, run):  # noqa: F811
    steps = []
    async with services.measuring:
        waiting = asyncio.ensure_future(measure(EngineHandlers(services, run), steps=steps))
        await until(lambda: steps)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert not services.measuring.locked()
    assert len(await measure(EngineHandlers(services, run))) == 3


async def test_how_long_it_takes_is_said_before(services, tmp_path):
    handlers = EngineHandlers(services, FakeRun())
    services.pool.specs[MODEL] = get_bundled_model(MODEL)
    handlers._probes[MODEL] = (float("inf"), (20.0, 4.0))  # the fake engine knows no ramps
    said = await estimate(handlers)
    assert said.startswith("Takes about ")
    assert f"{len(ENGINES)} engines, 32 held-out pictures" in said
    more = await estimate(handlers, pictures=ALL_PICTURES)
    assert int(more.split()[2]) > int(said.split()[2])
    assert "does not offer" in await estimate(handlers, RECORDED)


async def test_of_a_model_that_is_not_loaded_nothing_is_promised(services):
    services.pool.is_ready = lambda key: False
    said = await estimate(EngineHandlers(services, FakeRun()))
    assert said.startswith(f"How long it takes can be told once {MODEL} is loaded, which it is not now.")


async def test_how_long_it_takes_is_looked_at_again_until_the_model_is_loaded(services):
    handlers = EngineHandlers(services, FakeRun())
    handlers._probes[MODEL] = (float("inf"), (20.0, 4.0))

    async def look(model=MODEL, **rights):
        said, timer = await handlers.on_look(model, [], 32, await request_of(**rights))
        return Page(said).text, timer["active"]

    assert (await look())[0].startswith("Takes about")
    assert not (await look())[1]
    services.pool.is_ready = lambda key: False
    assert not (await look())[1]  # nobody loads it, which may remain so
    services.pool.is_loading = lambda key: True
    assert (await look())[1]
    assert not (await look(RECORDED))[1]  # it is not offered
    assert not (await look(may_change=False))[1]

    async def damaged(*_):
        raise InvalidInputError("The checkpoint is damaged.")

    services.pool.key = damaged
    assert not (await look())[1]


async def test_the_page_looks_again_when_a_measurement_has_ended_and_while_a_model_is_loaded(services):
    with gr.Blocks() as page:
        build(services)
    timers = {each._id for each in page.blocks.values() if isinstance(each, gr.Timer)}
    (run_id,) = [number for number, each in page.fns.items() if each.name == "on_run"]
    looks = [each for each in page.fns.values() if each.name == "on_look"]
    assert any(each.trigger_after == run_id and not each.trigger_only_on_success for each in looks)
    assert any((timer, "tick") in each.targets for each in looks for timer in timers)
    assert all(timers < {output._id for output in each.outputs} for each in looks)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((RECORDED, [], 32), "Choose one of the models lit-mini"),
        ((MODEL, ["other"], 32), "Unknown engine 'other'"),
        ((MODEL, [], "many"), "must be 32, 100, or 0 for all"),
        ((MODEL, [], 1), "must be 32, 100, or 0 for all"),
        ((MODEL, [], False), "must be 32, 100, or 0 for all"),
    ],
)
async def test_mistakes_are_toasts(services, arguments, sentence):
    with pytest.raises(gr.Error, match=sentence):
        await anext(EngineHandlers(services, FakeRun()).on_run(*arguments, await page_request()))


def test_reasons_are_escaped_and_stand_in_their_rows():
    error = BackendUnavailableError("It <b>needs</b> ${x}.")
    row = EngineRow(engine="openvino", badge=Badge("not measured", str(error)), reason=str(error))
    markup = render_engines(EngineTable(MODEL, None, (row,), "Here."))
    assert "<b>" not in markup
    assert "${" not in markup
    assert "It <b>needs</b> ${x}." in Page(markup).text
    assert 'title="&lt;"' in render_badge(Badge("failed", "<"))
    assert "Nothing is known" in render_engines(EngineTable(MODEL, None, (), "No record."))


def test_sentences_of_other_records_are_shown_without_markdown():
    records, _ = read_records()
    model = "siglit-mini"
    text = Page(render_pages(model, model_pages(records, model))).text
    assert "Reliability on onnx-fp32: sigmoid of each image and label." in text
    assert "`" not in text


def test_a_nan_stays_out_of_the_chart():
    nan = float("nan")
    row = EngineRow(
        engine="onnx-int4", badge=Badge("failed", "x"), image_ms=1.0, text_ms=1.0,
        cosines=Cosines(image_mean=0.9, image_min=0.9, text_mean=nan, text_min=nan),
    )  # fmt: skip
    assert "missing" in engine_plot([row])
