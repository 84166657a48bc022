"""The latency tab without a browser: what it shows, what it changes, and for whom."""

import csv
import io
import json
from pathlib import Path

import gradio as gr
import pytest

from app.services import Services
from app.ui import latency_plots
from app.ui.latency_handlers import ALL, LatencyHandlers
from app.ui.latency_plots import trade_figure
from tests.app.search_page import MODELS, LoadedPool, Page, collect, page_request
from tests.fakes import fake_spec
from use_cases.load.inside import InsideLoad
from use_cases.telemetry.views import WHOLE
from use_cases.zero_shot import classify_image

pytestmark = pytest.mark.anyio


@pytest.fixture
async def services():
    pool = LoadedPool(colours=fake_spec(), shapes=fake_spec("shapes", score="softmax"))
    pool.set_limits = lambda **limits: pool.changes.append(limits)
    pool.changes = []
    services = Services(pool, MODELS, may_measure=True)
    yield services
    await services.close()


async def ask(services, image, model="colours"):
    with services.metrics.request("rest", "classify"):
        await classify_image(await services.engines([model]), image, ["red", "blue"])


async def look(services, stage=WHOLE, engine=ALL, shown=()):
    return await LatencyHandlers(services).on_look(60, stage, engine, shown)


def figures(shown):
    return {figure["name"]: figure for figure in shown[0]["figures"]}


def luminance(colour):
    """Return the relative luminance of #rrggbb, WCAG 2.2."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("ground", ["#ffffff", "#0b0f19", "#27272a"])  # of the themes
async def test_every_stage_can_be_seen_in_both_themes(ground):
    for stage, colour in latency_plots._STAGE_COLOURS.items():
        darker, lighter = sorted([luminance(colour), luminance(ground)])
        assert (lighter + 0.05) / (darker + 0.05) > 2.2, stage


async def test_the_large_point_is_the_last_load():
    answered = InsideLoad(4, 5.0, 90, 0, requests_per_s=18.0, p50_ms=100.0, p95_ms=200.0)
    refused = InsideLoad(64, 1.0, 0, 50, requests_per_s=None, p50_ms=None, p95_ms=None)
    (figure,) = trade_figure([("new", answered), ("old", answered)])["figures"]
    assert figure["traces"][0]["marker"]["size"] == [14, 9]
    assert "the large point is the last load" in figure["note"]
    (figure,) = trade_figure([("new", refused), ("old", answered)])["figures"]
    assert figure["traces"][0]["marker"]["size"] == [9]
    assert "the last load was not answered" in figure["note"]
    assert "no load was answered yet" in trade_figure([("new", refused)])["missing"]


async def test_before_the_first_request_every_chart_says_what_is_missing(services):
    shown = await look(services)
    assert "No request in this window yet" in Page(shown[1]).text
    assert all(figure["missing"] for figure in figures(shown).values())


async def test_a_request_is_shown_by_stage_with_shares_and_waterfall(services, red_png):
    await ask(services, red_png)
    shown = await look(services, stage="infer")
    page = Page(shown[1] + shown[2]).text
    assert "Where the time goes:" in page
    assert "classify whole request 1" in page
    assert "infer colours · fake · image 1" in page
    drawn = figures(shown)
    assert [trace["name"] for trace in drawn["over-time"]["traces"]] == [
        f"colours on fake {name}" for name in ("p50", "p90", "p99")
    ]
    bars = {trace["name"]: trace for trace in drawn["last"]["traces"]}
    assert {"decode", "preprocess", "tokenize", "infer", "post"} <= set(bars)
    assert bars["infer"]["base"][0] >= bars["decode"]["base"][0]
    assert dict(drawn["last"]["keys"]) == {name: bar["marker"]["color"] for name, bar in bars.items()}
    assert [name for name, _ in drawn["over-time"]["keys"]] == ["colours on fake"]
    assert drawn["rates"]["missing"] == ""
    assert drawn["hits"]["traces"][0]["y"] == [0.0]


async def test_the_choices_are_sent_only_when_they_have_changed(services, red_png):
    await ask(services, red_png)
    first = await look(services)
    assert first[4]["choices"][0] == WHOLE
    assert first[5]["choices"] == [ALL, "colours on fake"]
    again = await look(services, shown=first[6])
    assert again[4:] == (gr.skip(), gr.skip(), gr.skip())


async def test_one_engine_can_be_looked_at_also_when_it_is_unloaded(services, red_png):
    await ask(services, red_png)
    await ask(services, red_png, "shapes")
    shown = await look(services, engine="shapes on fake")
    assert "colours" not in Page(shown[2]).text
    assert len(figures(shown)["last"]["traces"][0]["y"]) == 1
    await services.pool.running.pop("shapes").close()
    services.pool.running.clear()
    shown = await look(services, engine="shapes on fake")
    assert "shapes on fake is not loaded now" in shown[3]
    assert "the throughput are those of all engines" in shown[3]
    assert "infer shapes · fake" in Page(shown[2]).text


@pytest.mark.parametrize(
    ("window", "stage", "engine"), [(7, WHOLE, ALL), ("x", WHOLE, ALL), (60, 5, ALL), (60, WHOLE, [])]
)
async def test_what_cannot_be_looked_at_is_refused_in_a_sentence(services, window, stage, engine):
    with pytest.raises(gr.Error, match="must be"):
        await LatencyHandlers(services).on_look(window, stage, engine, [])


async def test_an_engine_that_never_was_shows_nothing(services, red_png):
    await ask(services, red_png)
    shown = await look(services, engine="nobody on nothing")
    assert "No request in this window yet" in Page(shown[1]).text


async def test_both_downloads_hold_what_was_asked(services, red_png, upload):
    handlers = LatencyHandlers(services)
    for download in (handlers.on_csv, handlers.on_chrome_trace):
        with pytest.raises(gr.Error, match="nothing to download"):
            await download(60, ALL)
    await ask(services, red_png)
    rows = list(csv.DictReader(io.StringIO(Path(await handlers.on_csv(60, ALL)).read_text())))
    assert {"decode", "infer"} <= {row["stage"] for row in rows}
    events = json.loads(Path(await handlers.on_chrome_trace(60, ALL)).read_bytes())["traceEvents"]
    assert "infer" in {event["name"] for event in events}


async def test_reset_forgets_and_limits_change_the_worker(services, red_png):
    handlers, request = LatencyHandlers(services), await page_request()
    await ask(services, red_png)
    await handlers.on_reset(request)
    assert "No request in this window yet" in Page((await look(services))[1]).text
    assert "Now at most" in await handlers.on_limits(4, 1.5, request)
    assert services.pool.changes == [{"max_batch_size": 4, "max_wait_ms": 1.5}]
    for size, wait in ((3, 1), (4, -1), (4, 51), ("4", 1), (None, None)):
        with pytest.raises(gr.Error, match="must be"):
            await handlers.on_limits(size, wait, request)


async def test_load_from_inside_is_measured_and_labelled_as_such(services):
    handlers, request = LatencyHandlers(services), await page_request()
    steps = [step async for step in handlers.on_load("colours", 2, 1, request)]
    assert "2 clients ask from inside" in steps[0][0]
    loads = Page(steps[1][1]).text
    assert "colours on fake, 16 items in a call, 2 ms wait 2" in loads
    (figure,) = steps[1][2]["figures"]
    assert figure["traces"][0]["x"][0] > 1
    services.telemetry.count()
    assert {trace.door for trace in services.telemetry.traces} == {"load"}
    for clients, seconds in ((0, 1), (65, 1), (1, 61), ("x", 1)):
        with pytest.raises(gr.Error):
            [step async for step in handlers.on_load("colours", clients, seconds, request)]


async def test_a_load_that_cannot_be_made_does_not_seem_to_go_on(services):
    steps = []
    with pytest.raises(gr.Error, match="nothing"):
        await collect(LatencyHandlers(services).on_load("nothing", 1, 1, await page_request()), steps)
    assert "ask from inside" in steps[0][0]
    assert "nothing" in steps[-1][0]
    assert not services.measuring.locked()


@pytest.mark.parametrize(("may_measure", "guarded"), [(False, True), (True, False)])
async def test_visitors_who_may_only_look_change_nothing(services, may_measure, guarded):
    services = Services(services.pool, MODELS, may_measure=may_measure)
    handlers, request = LatencyHandlers(services), await page_request(may_change=guarded)
    assert [update["visible"] for update in await handlers.on_rights(request)] == [False] * 3
    with pytest.raises(gr.Error, match="Visitors may only look here"):
        await handlers.on_reset(request)
    with pytest.raises(gr.Error, match="Visitors may only look here"):
        await handlers.on_limits(4, 1, request)
    with pytest.raises(gr.Error, match="Visitors may only look here"):
        [step async for step in handlers.on_load("colours", 1, 1, request)]
