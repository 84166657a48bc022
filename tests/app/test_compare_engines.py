"""Engines in the page, without a browser: records, live measurements, badges, and what is missing."""

import asyncio
import html.parser
import json
from pathlib import Path

import gradio as gr
import pytest

from app.services import Services
from app.ui.compare_engines_cards import render_badge, render_engines
from app.ui.compare_engines_handlers import ALL_PICTURES, EngineHandlers
from app.ui.compare_plots import engine_plot
from engines.errors import BackendUnavailableError, InvalidInputError
from engines.factory import ENGINES
from engines.models import get_bundled_model
from tests.fakes import FIGURES, FakePool
from tests.use_cases.comparison.test_engines import FakeRun, run  # noqa: F401  a fixture
from use_cases.comparison.badge import Badge
from use_cases.comparison.engines import Cosines, EngineRow

pytestmark = pytest.mark.anyio
MODEL = "siglit-mini"
RECORDED = "random:siglip-base-patch16-224"


class LoadedPool(FakePool):
    """All of its engines count as loaded; one of them was measured by the gate."""

    async def key(self, model, engine=None):
        return model

    def is_ready(self, key):
        return True

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


async def measure(handlers, engines=("onnx-int8-dynamic",), pictures=32):
    return [shown async for shown in handlers.on_run(MODEL, list(engines), pictures)]


async def test_a_recorded_model_is_shown_with_its_origin(services):
    plot, table, others, *downloads = await EngineHandlers(services).on_show(RECORDED)
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
    assert "Committed record towers-" in contents[0]
    assert json.loads(contents[1])["provenance"]["commit"]
    assert contents[2].startswith("Committed record towers-")


async def test_a_model_without_numbers_says_what_is_missing(services):
    plot, table, others, *downloads = await EngineHandlers(services).on_show(MODEL)
    assert not any(update["visible"] for update in downloads)
    page = Page(table)
    assert "No committed record has times of siglit-mini" in page.text
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
    page = Page((await handlers.on_show(MODEL))[1])
    assert "The checkpoint is damaged." in page.text
    assert all(each.startswith("not measured") for each in page.badges)
    handlers._probes[MODEL] = (float("inf"), (20.0, 4.0))
    assert "The checkpoint is damaged." in await handlers.on_estimate(MODEL, [], 32)


async def test_a_measurement_shows_each_engine_as_it_is_done_and_stays(services, run):  # noqa: F811
    handlers = EngineHandlers(services, run)
    steps = await measure(handlers)
    assert len(steps) == 3  # two engines, and that it is done
    assert "Measuring onnx-int8-dynamic, 2 of 2" in steps[0][0]
    assert steps[0][4]["visible"] is False  # nothing to download before the end
    page = Page(steps[1][2])
    assert "1 onnx-fp32" in page.text
    assert "R@1 text → image" in page.text
    assert [each.split(":")[0] for each in page.badges] == ["passed", "passed"]
    assert steps[1][4]["visible"] is True
    assert "Measured 2 engines in" in steps[2][0]
    shown = await handlers.on_show(MODEL)
    assert Page(shown[1]).text == page.text
    assert "Measured on" in page.text


async def test_a_broken_engine_is_badged_as_failed_with_its_number(services, run, monkeypatch):  # noqa: F811
    monkeypatch.setitem(ENGINES, "scrambled", ENGINES["onnx-int8-dynamic"])
    steps = await measure(EngineHandlers(services, run), ["scrambled"])
    page = Page(steps[1][2])
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
    assert not handlers._measuring.locked()


async def test_how_long_it_takes_is_said_before(services, tmp_path):
    handlers = EngineHandlers(services, FakeRun())
    services.pool.specs[MODEL] = get_bundled_model(MODEL)
    handlers._probes[MODEL] = (float("inf"), (20.0, 4.0))  # the fake engine knows no ramps
    said = Page(await handlers.on_estimate(MODEL, [], 32)).text
    assert said.startswith("Takes about ")
    assert f"{len(ENGINES)} engines, 32 held-out pictures" in said
    more = Page(await handlers.on_estimate(MODEL, [], ALL_PICTURES)).text
    assert int(more.split()[2]) > int(said.split()[2])
    assert "does not offer" in await handlers.on_estimate(RECORDED, [], 32)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((RECORDED, [], 32), "Choose one of the models siglit-mini"),
        ((MODEL, ["other"], 32), "Unknown engine 'other'"),
        ((MODEL, [], "many"), "must be a whole number"),
        ((MODEL, [], -1), "must be a whole number"),
    ],
)
async def test_mistakes_are_toasts(services, arguments, sentence):
    with pytest.raises(gr.Error, match=sentence):
        [shown async for shown in EngineHandlers(services, FakeRun()).on_run(*arguments)]


def test_reasons_are_escaped_and_stand_in_their_rows():
    error = BackendUnavailableError("It <b>needs</b> ${x}.")
    row = EngineRow(engine="openvino", badge=Badge("not measured", str(error)), reason=str(error))
    markup = render_engines([row], "Here.")
    assert "<b>" not in markup
    assert "${" not in markup
    assert "It <b>needs</b> ${x}." in Page(markup).text
    assert 'title="&lt;"' in render_badge(Badge("failed", "<"))
    assert "Nothing is known" in render_engines([], "No record.")


def test_a_nan_stays_out_of_the_chart():
    nan = float("nan")
    row = EngineRow(
        engine="onnx-int4", badge=Badge("failed", "x"), image_ms=1.0, text_ms=1.0,
        cosines=Cosines(image_mean=0.9, image_min=0.9, text_mean=nan, text_min=nan),
    )  # fmt: skip
    assert "missing" in engine_plot([row])
