"""What several requests ask for at once is computed once, and everyone gets an answer."""

import asyncio
import random

import pytest

from engines.errors import EngineClosedError, InferenceError
from engines.worker.flights import Flights, link

pytestmark = pytest.mark.anyio


class Launches:
    """Records what was launched; `results` are the futures to settle, by key."""

    def __init__(self):
        self.flights = Flights()
        self.keys = []
        self.results = {}

    def fetch(self, *keys):
        async def launch(positions, results):
            self.keys += [keys[position] for position in positions]
            self.results.update(zip((keys[position] for position in positions), results, strict=True))

        return asyncio.ensure_future(self.flights.fetch(keys, launch))


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_results_come_in_the_order_of_the_keys_and_equal_keys_are_computed_once():
    launches = Launches()
    task = launches.fetch("b", "a", "b")
    await settle()
    assert launches.keys == ["b", "a"]
    launches.results["a"].set_result(1)
    launches.results["b"].set_result(2)
    assert await task == [2, 1, 2]


async def test_no_keys_launch_nothing():
    launches = Launches()
    assert await launches.fetch() == []
    assert launches.keys == []


async def test_a_key_in_flight_is_waited_for_and_one_that_has_landed_is_computed_again():
    launches = Launches()
    first, second = launches.fetch("a"), launches.fetch("a", "b")
    await settle()
    assert launches.keys == ["a", "b"]
    for key in "ab":
        launches.results[key].set_result(key)
    assert (await first, await second) == (["a"], ["a", "b"])
    third = launches.fetch("a")
    await settle()
    assert launches.keys == ["a", "b", "a"]
    launches.results["a"].set_result("again")
    assert await third == ["again"]


async def test_the_first_to_ask_may_go_without_harm_to_the_others():
    launches = Launches()
    first, second = launches.fetch("a"), launches.fetch("a")
    await settle()
    first.cancel()
    await settle()
    assert not launches.results["a"].done()
    launches.results["a"].set_result(1)
    assert await second == [1]


async def test_what_nobody_waits_for_any_more_is_cancelled():
    launches = Launches()
    tasks = [launches.fetch("a", "b"), launches.fetch("a")]
    await settle()
    tasks[0].cancel()
    await settle()
    assert [launches.results[key].cancelled() for key in "ab"] == [False, True]
    tasks[1].cancel()
    await settle()
    assert launches.results["a"].cancelled()


async def test_a_cancelled_flight_is_not_given_to_who_asks_next():
    launches = Launches()
    first = launches.fetch("a")
    await settle()
    first.cancel()
    await asyncio.sleep(0)  # the flight is cancelled, its end not yet noted
    second = launches.fetch("a")
    await settle()
    assert launches.keys == ["a", "a"]
    launches.results["a"].set_result(1)
    assert await second == [1]


async def test_an_error_reaches_everyone_as_an_instance_of_its_own():
    launches = Launches()
    tasks = [launches.fetch("a"), launches.fetch("a", "b")]
    await settle()
    launches.results["a"].set_exception(InferenceError("broken"))
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [(type(error), str(error)) for error in errors] == [(InferenceError, "broken")] * 2
    assert errors[0] is not errors[1]
    await settle()
    assert launches.results["b"].cancelled()  # who asked for it has failed


async def test_a_launch_that_fails_tells_all_who_wait():
    flights = Flights()

    async def launch(positions, results):
        await asyncio.sleep(0)
        raise InferenceError("no preparation")

    tasks = [asyncio.ensure_future(flights.fetch([key], launch)) for key in "aab"]
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in errors] == [InferenceError] * 3


async def test_closing_during_the_preparation_is_told_as_such():
    flights = Flights()

    async def launch(positions, results):
        await asyncio.Event().wait()

    task = asyncio.ensure_future(flights.fetch(["a"], launch))
    await settle()
    await flights.close()
    with pytest.raises(EngineClosedError):
        await task


async def test_a_linked_future_gets_the_result_or_the_error():
    loop = asyncio.get_running_loop()
    for outcome in ("result", "exception"):
        request, result = loop.create_future(), loop.create_future()
        link(request, result, lambda value: value + 1)
        if outcome == "result":
            request.set_result(1)
            assert await result == 2
        else:
            request.set_exception(InferenceError("broken"))
            with pytest.raises(InferenceError):
                await result


@pytest.mark.parametrize("cancelled", ["request", "result"])
async def test_linked_futures_are_cancelled_together(cancelled):
    loop = asyncio.get_running_loop()
    futures = {"request": loop.create_future(), "result": loop.create_future()}
    link(futures["request"], futures["result"], lambda value: value)
    futures[cancelled].cancel()
    await settle()
    assert all(future.cancelled() for future in futures.values())


async def test_a_result_that_cannot_be_finished_is_an_error_and_not_an_endless_wait():
    loop = asyncio.get_running_loop()
    request, result = loop.create_future(), loop.create_future()
    link(request, result, lambda value: 1 / value)
    request.set_result(0)
    with pytest.raises(ZeroDivisionError):
        await result


@pytest.mark.parametrize("seed", range(3))
async def test_everyone_is_answered_whoever_leaves_or_fails(seed):
    chance = random.Random(seed)
    flights = Flights()

    async def compute(key, result):
        for _ in range(chance.randint(0, 5)):
            await asyncio.sleep(0)
        if not result.done():
            if chance.random() < 0.2:
                result.set_exception(InferenceError(key))
            else:
                result.set_result(key)

    async def fetch(keys):
        async def launch(positions, results):
            await asyncio.gather(
                *(compute(keys[position], each) for position, each in zip(positions, results, strict=True))
            )

        return await flights.fetch(keys, launch)

    wanted = [[chance.choice("abcdef") for _ in range(chance.randint(1, 4))] for _ in range(200)]
    tasks = []
    for keys in wanted:
        tasks.append(asyncio.ensure_future(fetch(keys)))
        chance.choice(tasks[-10:]).cancel() if chance.random() < 0.3 else None
        await asyncio.sleep(0)
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    for keys, result in zip(wanted, results, strict=True):
        assert result == keys or isinstance(result, (InferenceError, asyncio.CancelledError))
    await settle()
    assert flights._flights == {}
    assert flights._launches == set()
