"""Whatever engines and clients do, every request is settled, right, and no core is lost."""

import asyncio
import random
import threading
import time

import numpy as np
import pytest

from engines.errors import EngineClosedError, InferenceError, OverloadedError
from engines.worker.batcher import MicroBatcher
from engines.worker.calls import BatcherLimits, EngineThreads, Tower
from engines.worker.cores import CoreSlots

pytestmark = pytest.mark.anyio

_POISON = 13  # items whose number it divides always fail


class Chaos:
    """Squares its items, unless it raises, dies, hangs, miscounts or takes its time."""

    def __init__(self, seed):
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._serial = self._parallel = 0
        self.overlaps = 0  # calls on more cores than there are

    def run(self, items):
        with self._lock:
            self._serial += 1
            self.overlaps += self._serial > 1 or self._parallel > 0
        try:
            return self._answer(items)
        finally:
            with self._lock:
                self._serial -= 1

    def run_parallel(self, items):
        with self._lock:
            self._parallel += 1
            self.overlaps += self._parallel > 2 or self._serial > 0
        try:
            return self._answer(items)
        finally:
            with self._lock:
                self._parallel -= 1

    def _answer(self, items):
        with self._lock:
            luck, pause_s = self._chance.random(), self._chance.random() * 0.002
        time.sleep(pause_s)
        if luck < 0.01:
            raise SystemExit
        if luck < 0.05:
            raise ValueError("bad luck")
        if any(item[0] % _POISON == 0 for item in items):
            raise ValueError("poison")
        rows = np.square(np.stack(items))
        return rows[:-1] if luck < 0.07 else rows


class Stage:
    """Two batchers on two cores and one engine's threads, which can make parallel calls."""

    def __init__(self, engine, **limits):
        self.slots, self.threads = CoreSlots(2), EngineThreads.named("chaos", 2)
        tower = Tower(engine.run, engine.run_parallel)
        self.batchers = [
            MicroBatcher(tower, self.threads, self.slots, BatcherLimits(max_batch_size=8, **limits))
            for _ in range(2)
        ]
        self.complaints = []  # of the event loop: errors that nobody has taken

    async def __aenter__(self):
        asyncio.get_running_loop().set_exception_handler(lambda _, each: self.complaints.append(each))
        for batcher in self.batchers:
            batcher.start()
        return self

    async def __aexit__(self, *_):
        for batcher in self.batchers:
            await batcher.close()
        self.threads.close()

    def assert_all_is_given_back(self):
        assert self.slots.busy == 0
        assert len(self.threads.idle) == 2
        assert not any(batcher.is_busy for batcher in self.batchers)
        assert not any(
            lane.in_calls for batcher in self.batchers for lane in (batcher._interactive, batcher._background)
        )
        assert self.complaints == []


def outcome(numbers, result):
    """Return how a request ended; fail if its rows are wrong."""
    if isinstance(result, list):
        assert [row.value[0] for row in result] == [number**2 for number in numbers]
        return "answered"
    kinds = (InferenceError, OverloadedError, EngineClosedError, asyncio.CancelledError)
    return next(kind.__name__ for kind in kinds if isinstance(result, kind))


async def clients(stage, chance, num_requests):
    """Send requests, and cancel some; return what was sent and the tasks that wait for the answers."""
    sent = []
    for _ in range(num_requests):
        numbers = [chance.randint(1, 1000) for _ in range(chance.choice((1, 1, 1, 2, 5, 12)))]
        items = [np.array([number], np.float64) for number in numbers]
        background = chance.random() < 0.3
        request = chance.choice(stage.batchers).submit(items, background=background)
        sent.append((numbers, asyncio.ensure_future(request)))
        if chance.random() < 0.2:
            chance.choice(sent[-15:])[1].cancel()
        if chance.random() < 0.4:
            await asyncio.sleep(chance.random() * 0.002)
    return sent


@pytest.mark.parametrize("seed", range(3))
async def test_every_request_is_settled_and_every_row_is_right(seed, caplog):
    engine = Chaos(seed)
    async with Stage(engine, max_queue_size=64) as stage:
        sent = await clients(stage, random.Random(seed), 250)
        results = await asyncio.wait_for(
            asyncio.gather(*(task for _, task in sent), return_exceptions=True), timeout=30
        )
        ends = [outcome(numbers, result) for (numbers, _), result in zip(sent, results, strict=True)]
        assert {"answered", "InferenceError", "CancelledError"} <= set(ends)
        while any(batcher.is_busy for batcher in stage.batchers):
            await asyncio.sleep(0.001)  # calls for clients that have gone
        stage.assert_all_is_given_back()
    assert engine.overlaps == 0


@pytest.mark.parametrize("seed", range(3))
async def test_closing_in_the_middle_settles_every_request(seed, caplog):
    async with Stage(Chaos(seed)) as stage:
        sent = await clients(stage, random.Random(seed), 60)
        assert not all(task.done() for _, task in sent)
    results = await asyncio.wait_for(
        asyncio.gather(*(task for _, task in sent), return_exceptions=True), timeout=30
    )
    ends = [outcome(numbers, result) for (numbers, _), result in zip(sent, results, strict=True)]
    assert "EngineClosedError" in ends
    stage.assert_all_is_given_back()


async def test_calls_that_hang_are_left_behind_one_by_one(caplog):
    class Hanging(Chaos):
        def _answer(self, items):
            if any(item[0] % _POISON == 0 for item in items):
                hold.wait(30)
            return np.square(np.stack(items))

    hold, chance = threading.Event(), random.Random(1)
    async with Stage(Hanging(1), call_timeout_s=0.03) as stage:
        sent = await clients(stage, chance, 40)
        results = await asyncio.wait_for(
            asyncio.gather(*(task for _, task in sent), return_exceptions=True), timeout=30
        )
        hold.set()
        ends = [outcome(numbers, result) for (numbers, _), result in zip(sent, results, strict=True)]
        assert {"answered", "InferenceError"} <= set(ends)
        assert sum(batcher.stats.stalls for batcher in stage.batchers) > 0
        while any(batcher.is_busy for batcher in stage.batchers):
            await asyncio.sleep(0.001)
        stage.assert_all_is_given_back()


async def test_an_item_that_comes_while_the_last_one_is_given_up_waits_for_a_core():
    engine = Chaos(0)
    async with Stage(engine) as stage:
        batcher = stage.batchers[0]
        await stage.slots.acquire(lambda: 2)
        given_up = batcher.enqueue([np.array([2.0])])[0]
        await asyncio.sleep(0.005)  # the worker waits for cores
        given_up.cancel()
        stage.slots.reconsider()  # it needs none any more
        late = batcher.enqueue([np.array([3.0])])[0]
        await asyncio.sleep(0.005)
        assert not late.done()
        stage.slots.release(2)
        assert (await late).value[0] == 9
        await asyncio.sleep(0)
        assert stage.slots.busy == 0
