"""Waiting for engines: a note each second, the answer, and what stays after an error."""

import asyncio

import pytest

from app.ui.waiting import until_answered
from engines.errors import InferenceError
from engines.loading import EngineKey

pytestmark = pytest.mark.anyio
WAITING = [EngineKey("siglit-mini", "onnx-int4")]


async def answer(hold):
    await hold.wait()
    return "the answer"


async def fail():
    raise InferenceError("It failed.")


async def test_notes_come_until_the_answer_does():
    hold = asyncio.Event()
    stream = until_answered(answer(hold), WAITING, str, "empty")
    assert "Loading siglit-mini on onnx-int4" in await anext(stream)
    hold.set()
    assert [shown async for shown in stream] == ["the answer"]


async def test_without_engines_to_wait_for_there_is_no_note():
    hold = asyncio.Event()
    hold.set()
    assert [shown async for shown in until_answered(answer(hold), [], str, "empty")] == ["the answer"]


@pytest.mark.parametrize(("waiting", "left"), [(WAITING, ["empty"]), ([], [])])
async def test_after_an_error_no_note_waits_for_ever_and_an_older_answer_stays(waiting, left):
    stream = until_answered(fail(), waiting, str, "empty")
    assert [await anext(stream) for _ in left] == left
    with pytest.raises(InferenceError, match="It failed"):
        await anext(stream)


async def test_who_stops_listening_ends_the_answer():
    ended = asyncio.Event()

    async def endless():
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    stream = until_answered(endless(), WAITING, str, "empty")
    await anext(stream)
    await stream.aclose()
    await asyncio.wait_for(ended.wait(), 5)
