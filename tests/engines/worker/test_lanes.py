"""The background lets all others pass, gets done all the same, and nobody waits long for it."""

import asyncio
import math
import random
import threading
import time

import numpy as np
import pytest

from engines.errors import EngineClosedError, InferenceError, OverloadedError
from engines.worker.batcher import MicroBatcher
from engines.worker.calls import BatcherLimits, EngineThreads, Tower
from engines.worker.cores import CoreSlots
from engines.worker.policy import Arm

pytestmark = pytest.mark.anyio

BACKGROUND = 100  # items from here on are the background's


class Stage:
    """Batchers on the same cores, one for each engine; `calls` are the items of each call, as it begins."""

    def __init__(self, cores=1, engines=1, call_s=0.0, **limits):
        self.calls, self.ends = [], []
        self.call_s = call_s
        self.release, self.started = threading.Event(), threading.Event()
        self.release.set()
        self.slots = CoreSlots(cores)
        self.threads = [EngineThreads.named("test", cores) for _ in range(engines)]
        self.tower = Tower(self._run)
        self.batchers = [
            MicroBatcher(self.tower, threads, self.slots, BatcherLimits(**limits)) for threads in self.threads
        ]
        self.batcher = self.batchers[0]
        for batcher in self.batchers:
            self.learn(batcher, {Arm(False, size): 10.0 for size in (1, 2, 4, 8)})

    def learn(self, batcher, times_ms):
        for arm, elapsed_ms in times_ms.items():
            for _ in range(3):
                batcher.policy.observe(arm, elapsed_ms)

    def _run(self, items):
        values = [int(item[0]) for item in items]
        self.calls.append(values)
        self.started.set()
        assert self.release.wait(30)
        if self.call_s:
            time.sleep(self.call_s)
        if any(value < 0 for value in values):
            raise ValueError("broken")
        self.ends.append(values)
        return np.stack(items)

    async def __aenter__(self):
        for batcher in self.batchers:
            batcher.start()
        return self

    async def __aexit__(self, *_):
        self.release.set()
        for batcher in self.batchers:
            await batcher.close()
        for threads in self.threads:
            threads.close()

    def submit(self, *values, engine=0):
        items = [np.array([value], np.float32) for value in values]
        background = any(value >= BACKGROUND for value in values)
        return asyncio.ensure_future(self.batchers[engine].submit(items, background=background))

    async def busy(self):
        """Hold an engine in a call, so that what comes next has to wait."""
        self.release.clear()
        task = self.submit(0)
        await asyncio.to_thread(self.started.wait, 10)
        return task

    async def idle(self):
        while any(batcher.is_busy for batcher in self.batchers):
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)  # the cores come back as the calls' tasks end
        assert self.slots.busy == 0


async def ticks():
    for _ in range(10):
        await asyncio.sleep(0)


def values(rows):
    return [int(row.value[0]) for row in rows]


async def test_others_pass_the_background_and_never_share_its_calls():
    async with Stage(max_batch_size=4) as stage:
        first = await stage.busy()
        background = stage.submit(101, 102, 103)
        await ticks()
        others = [stage.submit(1), stage.submit(2)]
        await ticks()
        assert (stage.batcher.queue_size, stage.batcher.background_queue_size) == (2, 3)
        stage.release.set()
        await asyncio.gather(first, *others)
        assert values(await background) == [101, 102, 103]
        assert stage.calls == [[0], [1, 2], [101, 102, 103, 103]]  # filled up to a known shape


async def test_the_background_of_one_engine_lets_requests_to_another_pass():
    async with Stage(engines=2) as stage:
        first = await stage.busy()
        background = stage.submit(101, engine=1)
        await ticks()
        other = stage.submit(1, engine=0)
        await ticks()
        stage.release.set()
        await asyncio.gather(first, background, other)
        assert stage.calls == [[0], [1], [101]]


async def test_a_request_waits_for_no_call_that_begins_after_it():
    chance = random.Random(1)
    async with Stage(call_s=0.002, max_batch_size=4) as stage:
        background = stage.submit(*range(100, 400))
        for number in range(20):
            await asyncio.sleep(chance.random() * 0.01)
            begun = len(stage.calls)
            await stage.submit(number)
            # One call may have been handed to its thread a moment ago, without having begun.
            assert stage.calls.index([number]) <= begun + 1
        assert not background.done()  # it was under way all the time
        assert values(await background) == list(range(100, 400))
        await stage.idle()
    assert len(stage.ends) == len(stage.calls)


async def test_the_background_gets_done_in_the_pauses_of_a_lone_client():
    async with Stage(call_s=0.001) as stage:
        background = stage.submit(*range(100, 130))
        number = 0
        while not background.done():
            await stage.submit(number)
            number += 1
            await asyncio.sleep(0.001)
        assert len(await background) == 30


async def test_a_call_on_all_cores_does_not_starve_behind_calls_on_one(monkeypatch):
    async with Stage(cores=2, call_s=0.002) as stage:
        stage.tower.run_parallel = stage._run
        policy = stage.batcher.policy
        monkeypatch.setattr(policy, "choose", lambda waiting, demand, *, parallel: Arm(False, 1))
        monkeypatch.setattr(policy, "choose_short", lambda waiting, demand, **_: Arm(True, 1))
        background = stage.submit(*range(100, 300))
        await asyncio.sleep(0.01)
        for number in range(5):
            begun = len(stage.calls)
            await stage.submit(number)
            assert stage.calls.index([number]) <= begun + 2  # at most one call a core was under way
        assert not background.done()
        await background


async def test_background_calls_fill_the_cores_side_by_side():
    both = threading.Barrier(2, timeout=30)

    def run_parallel(items):
        both.wait()  # returns only if two calls are in here at once
        return np.stack(items)

    async with Stage(cores=2, max_batch_size=2) as stage:
        stage.tower.run_parallel = run_parallel
        stage.learn(stage.batcher, {Arm(True, 1): 1.0})
        assert len(await stage.submit(100, 101)) == 2
        await stage.idle()


async def test_calls_of_the_background_are_short_and_others_as_long_as_ever():
    async with Stage() as stage:
        times_ms = {Arm(False, size): 30.0 * size**0.9 for size in (1, 2, 4, 8, 16)}  # four items: 104 ms
        for _ in range(3):  # the times from before are forgotten
            stage.learn(stage.batcher, times_ms)
        first = await stage.busy()
        tasks = [stage.submit(*range(16)), stage.submit(*range(100, 116))]
        await ticks()
        stage.release.set()
        await asyncio.gather(first, *tasks)
        sizes = [len(call) for call in stage.calls if max(call) >= BACKGROUND]
        assert sizes == [2] * 8
        assert max(len(call) for call in stage.calls) >= 8


async def test_a_full_background_refuses_nobody_but_itself():
    async with Stage(max_queue_size=2, max_batch_size=2, max_background_items=3) as stage:
        first = await stage.busy()
        background = [stage.submit(101, 102), stage.submit(103)]
        await ticks()
        with pytest.raises(OverloadedError):
            await stage.submit(104)
        others = stage.submit(1, 2)
        await ticks()
        with pytest.raises(OverloadedError):
            await stage.submit(3)
        stage.release.set()
        await asyncio.gather(first, others, *background)


async def test_the_background_waits_for_no_company_and_leaves_no_trace_in_the_demand(monkeypatch):
    async with Stage(max_wait_ms=60_000) as stage:
        monkeypatch.setattr(stage.batcher.policy, "wait_ms", lambda waiting, gap_ms: 60_000)
        for value in range(100, 105):
            await asyncio.wait_for(stage.submit(value), 10)
        demand = stage.batcher._interactive.demand
        assert math.isinf(demand.gap_ms)
        assert demand.average == 0
        assert stage.batcher.average_demand > 0


async def test_while_others_wait_for_company_the_background_holds_back_and_then_goes_on(monkeypatch):
    async with Stage(max_wait_ms=60_000, max_batch_size=4) as stage:
        monkeypatch.setattr(stage.batcher.policy, "wait_ms", lambda waiting, gap_ms: 60_000)
        waiting = stage.submit(1)
        await ticks()
        background = stage.submit(101)
        await asyncio.sleep(0.01)
        assert stage.calls == []  # a core is free
        company = stage.submit(2, 3, 4)  # a full batch
        await asyncio.gather(waiting, company, background)
        assert stage.calls == [[1, 2, 3, 4], [101]]


@pytest.mark.parametrize("num_ticks", range(6))
async def test_the_background_goes_on_when_those_it_held_back_for_have_gone(num_ticks):
    async with Stage() as stage:
        first = await stage.busy()
        background = stage.submit(101)
        await ticks()
        given_up = stage.submit(1)
        for _ in range(num_ticks):
            await asyncio.sleep(0)
        given_up.cancel()
        stage.release.set()
        await first
        assert values(await asyncio.wait_for(background, 10)) == [101]


async def test_cancelled_background_items_cost_no_compute():
    async with Stage() as stage:
        first = await stage.busy()
        cancelled, kept = stage.submit(101), stage.submit(102)
        await ticks()
        cancelled.cancel()
        stage.release.set()
        await asyncio.gather(first, kept)
        assert stage.calls == [[0], [102]]


async def test_a_bad_background_item_fails_alone(caplog):
    async with Stage() as stage:
        tasks = [stage.submit(101), stage.submit(-1, 102), stage.submit(103)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(result, InferenceError) for result in results] == [False, True, False]


async def test_the_background_is_counted_and_makes_a_batcher_busy():
    async with Stage() as stage:
        await stage.submit(1)
        await stage.submit(101, 102)
        stats = stage.batcher.stats
        assert (stats.items, stats.background_items) == (3, 2)
        await stage.idle()
        first = await stage.busy()
        background = stage.submit(103)
        await ticks()
        first.cancel()
        assert stage.batcher.is_busy
        stage.release.set()
        await background
        await stage.idle()


async def test_background_items_that_wait_are_no_sign_of_a_worker_that_hangs():
    async with Stage() as stage:
        await stage.slots.acquire(lambda: 1)  # another engine has much to do
        background = stage.submit(101)
        await asyncio.sleep(0.01)
        assert stage.batcher.silent_s == 0
        other = stage.submit(1)
        await asyncio.sleep(0.01)
        assert stage.batcher.silent_s > 0
        stage.slots.release(1)
        await asyncio.gather(background, other)


async def test_closing_settles_background_items_that_run_or_wait():
    stage = Stage(max_batch_size=1)
    async with stage:
        stage.release.clear()
        tasks = [stage.submit(101), stage.submit(*range(102, 110))]
        await asyncio.to_thread(stage.started.wait, 10)
        await ticks()
    for task in tasks:
        with pytest.raises(EngineClosedError):
            await task
    with pytest.raises(EngineClosedError, match="not running"):
        await stage.submit(110)
