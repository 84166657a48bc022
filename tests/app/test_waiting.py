"""Waiting for engines: notes, the answer, the sentence after an error; the newest request of a page wins."""

import asyncio
import re
from types import SimpleNamespace

import pytest
from gradio.context import LocalContext

from app.ui.newest import newest_wins
from app.ui.waiting import until_answered
from engines.errors import InferenceError, UnknownModelError
from engines.loading import EngineKey

pytestmark = pytest.mark.anyio
WAITING = [EngineKey("siglit-mini", "onnx-int4")]


async def load(*keys):
    return keys


async def answer(hold):
    await hold.wait()
    return "the answer"


async def fail():
    raise InferenceError("It failed.")


async def test_notes_come_until_the_answer_does():
    hold = asyncio.Event()
    stream = until_answered(answer(hold), load(*WAITING), str)
    assert "Loading siglit-mini on onnx-int4" in await anext(stream)
    hold.set()
    assert [shown async for shown in stream] == ["the answer"]


async def test_without_engines_to_wait_for_there_is_no_note():
    hold = asyncio.Event()
    hold.set()
    assert [shown async for shown in until_answered(answer(hold), load(), str)] == ["the answer"]


async def test_after_an_error_its_sentence_takes_the_place_of_a_note():
    hold = asyncio.Event()

    async def fail_later():
        await hold.wait()
        await fail()

    stream = until_answered(fail_later(), load(*WAITING), str, lambda why: f"failed: {why}")
    assert "Loading" in await anext(stream)
    hold.set()
    shown = await anext(stream)
    while "Loading" in shown:
        shown = await anext(stream)
    assert re.match("failed: .*It failed", shown)
    with pytest.raises(InferenceError, match="It failed"):
        await anext(stream)


async def test_without_a_note_an_older_answer_stays_after_an_error():
    with pytest.raises(InferenceError, match="It failed"):
        await anext(until_answered(fail(), load(), str))


async def test_a_model_that_is_not_offered_is_an_error_like_others():
    async def refuse():
        raise UnknownModelError("There is no such model.")

    with pytest.raises(UnknownModelError):
        await anext(until_answered(fail(), refuse(), str))


async def test_who_stops_listening_ends_the_answer():
    ended = asyncio.Event()

    async def endless():
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    stream = until_answered(endless(), load(*WAITING), str)
    await anext(stream)
    await stream.aclose()
    await asyncio.wait_for(ended.wait(), 5)


class Asked:
    """A handler whose answers the test gives, one after the other; pages ask it as Gradio does."""

    def __init__(self):
        self.holds, self.ended = [], []

    @newest_wins
    async def on_run(self, name):
        hold = asyncio.get_running_loop().create_future()
        self.holds.append(hold)
        try:
            yield f"waiting for {name}"
            yield await hold
        finally:
            self.ended.append(name)

    async def ask(self, page, name, shown):
        LocalContext.request.set(SimpleNamespace(session_hash=page))
        async for value in self.on_run(name):
            shown.append(value)

    def start(self, page, name, shown):
        return asyncio.create_task(self.ask(page, name, shown))


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


async def test_of_two_requests_of_a_page_the_newer_one_answers_whichever_ends_last():
    asked, shown = Asked(), []
    older, newer = asked.start("page", "older", shown), asked.start("page", "newer", shown)
    await until(lambda: len(asked.holds) == 2)
    asked.holds[1].set_result("the newer answer")
    await newer
    asked.holds[0].set_result("the older answer")
    await older
    assert shown[-1] == "the newer answer"
    assert "the older answer" not in shown
    assert sorted(asked.ended) == ["newer", "older"]


async def test_an_older_request_fails_in_silence_and_the_newest_does_not():
    asked, shown = Asked(), []
    older, newer = asked.start("page", "older", shown), asked.start("page", "newer", shown)
    await until(lambda: len(asked.holds) == 2)
    for hold in asked.holds:
        hold.set_exception(InferenceError("It failed."))
    await older
    with pytest.raises(InferenceError):
        await newer


@pytest.mark.parametrize("pages", [("one", "other"), (None, None)])
async def test_other_pages_and_programs_are_not_disturbed(pages):
    asked, shown = Asked(), ([], [])
    tasks = [asked.start(page, name, seen) for page, name, seen in zip(pages, "ab", shown, strict=True)]
    await until(lambda: len(asked.holds) == 2)
    for hold, name in zip(asked.holds, "ab", strict=True):
        hold.set_result(name)
    await asyncio.gather(*tasks)
    assert [seen[-1] for seen in shown] == ["a", "b"]
