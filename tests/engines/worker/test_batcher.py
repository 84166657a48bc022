"""The worker: batches form, order holds, and every future settles whatever happens."""

import asyncio
import threading

import numpy as np
import pytest

from engines.errors import EngineClosedError, InferenceError, OverloadedError
from engines.worker.batcher import MicroBatcher
from engines.worker.calls import BatcherLimits, EngineThreads, Tower
from engines.worker.cores import CoreSlots
from engines.worker.policy import Arm
from tests.fakes import FakeEngine

pytestmark = pytest.mark.anyio


class Batcher:
    """A running batcher on a fake engine, stopped at the end of the block."""

    def __init__(self, run=None, cores=1, **limits):
        self.engine = FakeEngine()
        self.threads = EngineThreads.named("test", cores)
        self.slots = CoreSlots(cores)
        self.tower = Tower(run or self.engine.embed_pixels)
        self.batcher = MicroBatcher(self.tower, self.threads, self.slots, BatcherLimits(**limits))
        for size in (1, 2, 4, 8, 16):  # it is known already that company pays
            for _ in range(3):
                self.batcher.policy.observe(Arm(False, size), 100.0)

    async def __aenter__(self):
        self.batcher.start()
        return self

    async def __aexit__(self, *_):
        self.engine.release.set()
        await self.batcher.close()
        self.threads.close()

    def submit(self, *values):
        return asyncio.ensure_future(self.batcher.submit([row(value) for value in values]))

    async def busy(self):
        """Hold the engine in a call, so that what comes next has to wait."""
        self.engine.release.clear()
        task = self.submit(1)
        await asyncio.to_thread(self.engine.started.wait, 10)
        return task


def row(value):
    return np.array([1.0, value, 0.0], np.float32)


def unit(value):
    return row(value) / np.linalg.norm(row(value))


async def queued(batcher, count):
    while batcher.queue_size < count:
        await asyncio.sleep(0)


async def test_requests_that_wait_together_run_in_one_batch_and_keep_their_order():
    async with Batcher(max_batch_size=8) as b:
        first = await b.busy()
        others = [b.submit(value) for value in range(5)]
        await queued(b.batcher, 5)
        b.engine.release.set()
        await first
        rows = [(await other)[0] for other in others]
        assert b.engine.batches == [1, 8]  # five, and filled up to a shape that the runtime knows
        np.testing.assert_allclose([r.value for r in rows], [unit(value) for value in range(5)], rtol=1e-6)
        assert {r.call.batch_size for r in rows} == {5}


async def test_a_long_list_runs_in_several_batches_and_keeps_its_order():
    async with Batcher(max_batch_size=4, max_queue_size=4) as b:
        rows = await b.submit(*range(10))
        assert b.engine.batches == [4, 4, 2]
        np.testing.assert_allclose([r.value for r in rows], [unit(value) for value in range(10)], rtol=1e-6)


async def test_no_items_need_no_engine_call():
    async with Batcher() as b:
        assert await b.submit() == []
        assert b.engine.batches == []


async def test_one_bad_item_fails_alone_and_the_next_request_works(caplog):
    def run(items):
        if any(item[1] == 2 for item in items):
            raise RuntimeError("kernel broke")
        return np.stack(items)

    async with Batcher(run=run) as b:
        results = await asyncio.gather(*(b.submit(value) for value in range(5)), return_exceptions=True)
        failed = [isinstance(result, InferenceError) for result in results]
        assert failed == [False, False, True, False, False]
        assert "the server's log says why" in str(results[2])
        assert isinstance(results[2].__cause__, RuntimeError)
        assert "kernel broke" in caplog.text
        assert (b.batcher.stats.retried_batches, b.batcher.stats.failed_items) == (1, 1)
        assert len(await b.submit(7)) == 1


async def test_an_engine_that_always_fails_tells_every_caller_and_recovers(caplog):
    async with Batcher() as b:
        b.engine.error = RuntimeError("kernel broke")
        for task in [b.submit(value) for value in range(3)]:
            with pytest.raises(InferenceError):
                await task
        b.engine.error = None
        assert len(await b.submit(7)) == 1


async def test_a_hanging_call_is_left_behind_and_the_next_request_works(caplog):
    async with Batcher(call_timeout_s=0.05) as b:
        b.engine.release.clear()
        with pytest.raises(InferenceError, match=r"did not answer within 0.05 s"):
            await b.submit(1)
        assert b.batcher.stats.stalls == 1
        b.engine.release.set()
        assert len(await b.submit(2)) == 1


async def test_a_thread_that_dies_is_started_again():
    async with Batcher() as b:
        b.engine.error = SystemExit()
        with pytest.raises(InferenceError, match="thread ended"):
            await b.submit(1)
        b.engine.error = None
        assert len(await b.submit(2)) == 1
        assert b.threads.deaths == 1


async def test_a_worker_with_a_bug_is_started_again_and_serves_what_waits(monkeypatch, caplog):
    async with Batcher() as b:
        lane, calls = b.batcher._interactive, []
        take = lane.take

        def broken():
            calls.append(1)
            if len(calls) == 1:
                raise KeyError("bug")
            return take()

        monkeypatch.setattr(lane, "take", broken)
        assert len(await b.submit(1)) == 1
        assert b.batcher.stats.restarts == 1
        assert "starts again" in caplog.text
        assert b.slots.busy == 0


async def test_parallel_calls_run_side_by_side_on_a_core_each():
    running, both = [], threading.Barrier(2, timeout=30)

    def run_parallel(items):
        running.append(len(items))
        both.wait()  # returns only if two calls are in here at once
        return np.stack(items)

    async with Batcher(cores=2, max_batch_size=2) as b:
        b.tower.run_parallel = run_parallel
        for _ in range(3):
            b.batcher.policy.observe(Arm(True, 1), 1.0)
        rows = await b.submit(1, 2)
        np.testing.assert_allclose([r.value for r in rows], [row(1), row(2)])
        assert running == [1, 1]
        assert b.slots.busy == 0


async def test_the_cores_get_the_next_call_before_anybody_makes_an_answer():
    async with Batcher(max_batch_size=1) as b:
        first = await b.busy()
        second, third = b.batcher.enqueue([row(2), row(3)])
        left = asyncio.get_running_loop().create_future()
        second.add_done_callback(lambda _: left.set_result(b.batcher.queue_size))
        b.engine.release.set()
        assert await left == 0
        await asyncio.gather(first, third)


async def test_a_wrong_number_of_rows_is_an_error_and_not_a_mix_up():
    async with Batcher(run=lambda items: np.zeros((5, 3), np.float32)) as b:
        with pytest.raises(InferenceError, match="5 rows for 1 inputs"):
            await b.submit(1, 2)


async def test_cancelled_requests_leave_before_they_cost_compute():
    async with Batcher() as b:
        first = await b.busy()
        cancelled, kept = b.submit(2), b.submit(3)
        await queued(b.batcher, 2)
        cancelled.cancel()
        b.engine.release.set()
        await asyncio.gather(first, kept)
        assert b.engine.batches == [1, 1]
        assert cancelled.cancelled()


async def test_a_full_queue_refuses_and_recovers():
    async with Batcher(max_queue_size=2) as b:
        first = await b.busy()
        waiting = [b.submit(2), b.submit(3)]
        await queued(b.batcher, 2)
        with pytest.raises(OverloadedError, match="try again"):
            await b.submit(4)
        waiting[0].cancel()
        await asyncio.sleep(0)
        late = b.submit(5)  # the cancelled one has made room
        b.engine.release.set()
        await asyncio.gather(first, waiting[1], late)


async def test_closing_settles_requests_that_run_or_wait():
    b = Batcher()
    b.batcher.start()
    running = await b.busy()
    waiting = b.submit(2)
    await queued(b.batcher, 1)
    await b.batcher.close()
    for task in (running, waiting):
        with pytest.raises(EngineClosedError):
            await task
    with pytest.raises(EngineClosedError, match="not running"):
        await b.submit(3)
    b.engine.release.set()
    b.threads.close()


async def test_a_caller_that_gives_up_mid_call_does_not_stop_the_worker():
    async with Batcher() as b:
        running = await b.busy()
        running.cancel()
        await asyncio.sleep(0)
        b.engine.release.set()
        assert len(await b.submit(2)) == 1


async def test_two_batchers_never_compute_at_once_on_all_cores():
    threads, slots = EngineThreads.named("test", 1), CoreSlots(1)
    release, calls = threading.Event(), []

    def run(items):
        calls.append(len(items))
        assert release.wait(timeout=30)
        return np.stack(items)

    batchers = [MicroBatcher(Tower(run), threads, slots, BatcherLimits()) for _ in range(2)]
    tasks = []
    for batcher in batchers:
        batcher.start()
        tasks.append(asyncio.ensure_future(batcher.submit([row(1)])))
    while not calls:
        await asyncio.sleep(0.001)
    for _ in range(20):
        await asyncio.sleep(0.001)  # time enough for a second call, if it were not held back
    assert calls == [1]
    release.set()
    await asyncio.gather(*tasks)
    for batcher in batchers:
        await batcher.close()
    threads.close()


@pytest.mark.parametrize("ticks", range(4))
async def test_closing_never_hangs_however_close_to_an_arrival(ticks):
    async with Batcher(max_wait_ms=10_000) as b:
        first = b.submit(1)
        await queued(b.batcher, 1)
        await asyncio.sleep(0)  # the worker waits for company
        second = b.submit(2)
        for _ in range(ticks):
            await asyncio.sleep(0)
        await asyncio.wait_for(b.batcher.close(), timeout=10)
        results = await asyncio.gather(first, second, return_exceptions=True)
        settled = (list, EngineClosedError)  # a call may have begun
        assert all(isinstance(result, settled) for result in results)


async def test_a_queue_smaller_than_a_batch_still_serves_everybody():
    async with Batcher(max_batch_size=16, max_queue_size=4) as b:
        assert len(await b.submit(*range(10))) == 10
