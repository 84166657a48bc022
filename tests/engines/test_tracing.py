"""Traces: each stage of a request lands in its trace, from whichever thread, and nowhere else."""

import asyncio
import io
from itertools import pairwise

import pytest
from PIL import Image

from engines import tracing
from engines.preparation.source import SourceImage
from engines.tracing import Span, Trace, current_trace, span
from tests.fakes import FakeEngine, fake_batched

pytestmark = pytest.mark.anyio


@pytest.fixture
def trace():
    return Trace("rest", "classify")


def png(colour, size=(8, 8)):
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return data.getvalue()


def by_stage(trace):
    return {each.stage: each for each in trace.spans}


async def test_an_embedding_leaves_all_its_stages_in_order(trace):
    async with fake_batched() as engine:
        with tracing.tracing(trace):
            await engine.embed_images([SourceImage(png("red"), "red")])
    stages = by_stage(trace)
    assert list(stages) == ["decode", "preprocess", "fill", "queue", "infer", "embed"]
    order = [stages[name] for name in ("decode", "preprocess", "fill", "queue", "infer")]
    for before, after in pairwise(order):
        assert trace.start_s <= before.start_s <= before.end_s <= after.end_s
    assert (stages["fill"].end_s, stages["queue"].end_s) == (stages["queue"].start_s, stages["infer"].start_s)
    assert stages["infer"][3:] == ("colours", "fake", "image", 1, 0, 0)
    assert (stages["embed"].items, stages["embed"].cached) == (1, 0)
    assert stages["decode"].model == ""


async def test_what_is_cached_has_no_call(trace):
    async with fake_batched() as engine:
        await engine.embed_texts(["red", "blue"])
        with tracing.tracing(trace):
            await engine.embed_texts(["red", "blue"])
    assert [(each.stage, each.items, each.cached) for each in trace.spans] == [("embed", 2, 2)]


async def test_who_joins_an_item_in_flight_waits_from_its_own_start():
    engine = FakeEngine()
    engine.release.clear()
    first, second = Trace("rest", "first"), Trace("rest", "second")

    async def ask(trace):
        with tracing.tracing(trace):
            await batched.embed_texts(["red"])

    async with fake_batched(engine) as batched:
        one = asyncio.ensure_future(ask(first))
        await asyncio.to_thread(engine.started.wait, 10)
        two = asyncio.ensure_future(ask(second))
        await asyncio.sleep(0.05)
        engine.release.set()
        await asyncio.gather(one, two)
    assert engine.batches == [1]
    began_s = by_stage(second)["embed"].start_s
    assert all(each.start_s >= began_s for each in second.spans)
    assert by_stage(second)["infer"].duration_ms < by_stage(first)["infer"].duration_ms
    assert current_trace() is None


async def test_a_span_ends_with_an_error_too_and_tells_how_long(trace):
    with tracing.tracing(trace):
        with pytest.raises(ZeroDivisionError), span("post", "colours", "fake"):
            _ = 1 / 0
        with span("search") as timing:
            await asyncio.sleep(0.01)
    assert [each.stage for each in trace.spans] == ["post", "search"]
    assert timing.ms == pytest.approx(trace.spans[1].duration_ms)
    assert timing.ms >= 9


def test_a_trace_is_bounded_and_closed_when_it_has_ended(trace):
    for number in range(tracing.MAX_SPANS + 5):
        trace.add(Span(str(number), 0.0, 1.0))
    assert (len(trace.spans), trace.left_out) == (tracing.MAX_SPANS, 5)
    trace.end("ok")
    trace.add(Span("late", 0.0, 1.0))
    assert trace.left_out == 5
    assert trace.duration_ms > 0
