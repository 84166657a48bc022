"""The newest request of a page wins once it has something to show; one that fails takes nothing away."""

import asyncio
from types import SimpleNamespace

import pytest
from gradio.context import LocalContext

from app.ui.newest import newest_wins
from app.ui.waiting import until_answered
from engines.errors import InferenceError, InvalidInputError
from engines.loading import EngineKey

pytestmark = pytest.mark.anyio
WAITING = [EngineKey("siglit-mini", "onnx-int4")]


class Page:
    """A page that asks; the test answers each request, or lets it fail, when it wants to."""

    def __init__(self):
        self.shown, self.answers, self.asked, self.failed = [], {}, {}, []

    def ask(self, name, *waiting):
        """Ask, and look up to where it waits for the test."""
        self.answers[name] = asyncio.get_running_loop().create_future()
        self.asked[name] = asyncio.create_task(self._ask(name, waiting))
        return rest()

    def answer(self, name):
        self.answers[name].set_result(f"answer to {name}")
        return rest()

    def fail(self, name):
        self.answers[name].set_exception(InferenceError(f"{name} failed."))
        return rest()

    async def _ask(self, name, waiting):
        LocalContext.request.set(SimpleNamespace(session_hash="page"))
        try:
            async for value in self.on_run(name, waiting):
                self.shown.append(value)
        except InferenceError:
            self.failed.append(name)

    @newest_wins
    async def on_run(self, name, waiting):
        async def find():
            return waiting

        async def ask():
            return await self.answers[name]

        async for shown in until_answered(ask(), find(), lambda note: f"note of {name}: {note}"):
            yield shown


async def rest():
    """Let everything happen that can without the test."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
async def page():
    page = Page()
    yield page
    for task in page.asked.values():
        task.cancel()
    await asyncio.gather(*page.asked.values(), return_exceptions=True)


async def test_a_refused_request_leaves_the_one_that_waits_for_its_engine(page):
    await page.ask("A", *WAITING)
    while not page.shown:
        await asyncio.sleep(0.05)
    assert "note of A: " in page.shown[-1]
    await page.ask("B")
    await page.fail("B")
    assert page.failed == ["B"]
    await page.answer("A")
    await asyncio.wait_for(page.asked["A"], 5)
    assert page.shown[-1] == "answer to A"


async def test_a_refused_request_leaves_the_answer_of_one_that_shows_nothing_meanwhile(page):
    await page.ask("A")
    await page.ask("B")
    await page.fail("B")
    await page.answer("A")
    assert page.shown == ["answer to A"]


async def test_an_answer_that_is_there_before_the_newer_request_fails_is_shown_then(page):
    await page.ask("A")
    await page.ask("B")
    await page.answer("A")
    assert page.shown == []  # B may answer yet
    await page.fail("B")
    assert page.shown == ["answer to A"]
    assert page.asked["A"].done()


async def test_an_answer_that_is_there_before_that_of_the_newer_request_is_never_shown(page):
    await page.ask("A")
    await page.ask("B")
    await page.answer("A")
    await page.answer("B")
    assert page.shown == ["answer to B"]
    assert page.asked["A"].done()


async def test_a_note_does_not_stay_when_both_fail(page):
    await page.ask("A", *WAITING)
    while not page.shown:
        await asyncio.sleep(0.05)
    await page.ask("B")
    await page.fail("A")
    await asyncio.sleep(1.1)  # A looks each second
    assert "Loading" in page.shown[-1]
    await page.fail("B")
    assert "A failed." in page.shown[-1]
    assert sorted(page.failed) == ["A", "B"]


async def test_of_three_requests_the_newest_that_does_not_fail_answers(page):
    for name in "ABC":
        await page.ask(name)
    await page.answer("A")
    await page.fail("C")
    assert page.shown == []  # B may answer yet
    await page.answer("B")
    assert page.shown == ["answer to B"]
    assert all(task.done() for task in page.asked.values())
    assert page.failed == ["C"]


async def test_of_three_requests_the_first_answers_when_the_others_fail_in_any_order(page):
    for name in "ABC":
        await page.ask(name)
    await page.fail("B")
    await page.answer("A")
    assert page.shown == []  # C may answer yet
    await page.fail("C")
    assert page.shown == ["answer to A"]
    assert page.failed == ["C"]  # B was not the newest


async def test_of_three_requests_the_newest_ends_all_when_it_answers(page):
    for name in "ABC":
        await page.ask(name)
    await page.answer("C")
    await page.answer("B")
    await page.answer("A")
    assert page.shown == ["answer to C"]
    await page.ask("D")
    await page.answer("D")
    assert page.shown == ["answer to C", "answer to D"]


async def test_who_leaves_while_an_answer_is_held_back_ends_it(page):
    await page.ask("A")
    await page.ask("B")
    await page.answer("A")
    page.asked["A"].cancel()
    await page.fail("B")
    assert page.asked["A"].cancelled()
    assert page.shown == []


async def test_a_bug_takes_nothing_away_either():
    shown = []

    @newest_wins
    async def on_run(answer):
        yield await answer

    async def ask(answer):
        LocalContext.request.set(SimpleNamespace(session_hash="page"))
        async for value in on_run(answer):
            shown.append(value)

    older, newer = (asyncio.get_running_loop().create_future() for _ in range(2))
    tasks = [asyncio.create_task(ask(answer)) for answer in (older, newer)]
    await rest()
    newer.set_exception(ZeroDivisionError())
    older.set_result("answer")
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert shown == ["answer"]
    assert [type(each) for each in results] == [type(None), ZeroDivisionError]


async def test_requests_without_a_page_of_their_own_are_refused_alone():
    @newest_wins
    async def on_run():
        raise InvalidInputError("There are no labels.")
        yield

    with pytest.raises(InvalidInputError):
        await anext(on_run())
