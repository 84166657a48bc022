"""The worker: batches form, order holds, and every future settles whatever happens."""

import asyncio
import threading

import numpy as np
import pytest

from engines.batcher import BatcherLimits, EngineThread, MicroBatcher
from engines.errors import EngineClosedError, InferenceError, OverloadedError
from tests.fakes import FakeEngine

pytestmark = pytest.mark.anyio


class Batcher:
    """A running batcher on a fake engine, stopped at the end of the block."""

    def __init__(self, run=None, **limits):
        self.engine = FakeEngine()
        self.thread = EngineThread("test")
        self.batcher = MicroBatcher(run or self.engine.embed_pixels, self.thread, BatcherLimits(**limits))

    async def __aenter__(self):
        self.batcher.start()
        return self

    async def __aexit__(self, *_):
        self.engine.release.set()
        await self.batcher.close()
        self.thread.close()

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
        assert b.engine.batches == [1, 5]
        np.testing.assert_allclose(
            [r.embedding for r in rows], [unit(value) for value in range(5)], rtol=1e-6
        )
        assert {r.batch_size for r in rows} == {5}


async def test_a_long_list_runs_in_several_batches_and_keeps_its_order():
    async with Batcher(max_batch_size=4, max_queue_size=4) as b:
        rows = await b.submit(*range(10))
        assert b.engine.batches == [4, 4, 2]
        np.testing.assert_allclose(
            [r.embedding for r in rows], [unit(value) for value in range(10)], rtol=1e-6
        )


async def test_no_items_need_no_engine_call():
    async with Batcher() as b:
        assert await b.submit() == []
        assert b.engine.batches == []


async def test_failed_batch_reaches_every_caller_and_the_next_one_works(caplog):
    async with Batcher(max_batch_size=8) as b:
        first = await b.busy()
        others = [b.submit(value) for value in range(3)]
        await queued(b.batcher, 3)
        b.engine.error = RuntimeError("kernel broke")
        b.engine.release.set()
        for task in [first, *others]:
            with pytest.raises(InferenceError, match="the server's log says why") as caught:
                await task
            assert isinstance(caught.value.__cause__, RuntimeError)
        assert "kernel broke" in caplog.text
        b.engine.error = None
        assert len(await b.submit(7)) == 1


async def test_a_wrong_number_of_rows_is_an_error_and_not_a_mix_up():
    async with Batcher(run=lambda items: np.zeros((1, 3), np.float32)) as b:
        with pytest.raises(InferenceError, match="1 rows for 2 inputs"):
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
    b.thread.close()


async def test_a_caller_that_gives_up_mid_call_does_not_stop_the_worker():
    async with Batcher() as b:
        running = await b.busy()
        running.cancel()
        await asyncio.sleep(0)
        b.engine.release.set()
        assert len(await b.submit(2)) == 1


async def test_two_batchers_of_one_engine_never_call_it_at_once():
    thread, release, calls = EngineThread("test"), threading.Event(), []

    def run(items):
        calls.append(len(items))
        assert release.wait(timeout=30)
        return np.stack(items)

    limits = BatcherLimits(max_wait_ms=0)
    first, second = MicroBatcher(run, thread, limits), MicroBatcher(run, thread, limits)
    first.start()
    second.start()
    tasks = [asyncio.ensure_future(batcher.submit([row(1)])) for batcher in (first, second)]
    while not calls:
        await asyncio.sleep(0.001)
    for _ in range(20):
        await asyncio.sleep(0.001)  # time enough for a second call, if it were not held back
    assert calls == [1]
    release.set()
    await asyncio.gather(*tasks)
    await first.close()
    await second.close()
    thread.close()


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
        assert [type(result) for result in results] == [EngineClosedError] * 2


async def test_even_a_base_exception_settles_every_caller():
    class Panic(BaseException):
        pass

    def run(items):
        raise Panic

    async with Batcher(run=run) as b:
        with pytest.raises(EngineClosedError):
            await b.submit(1)
        with pytest.raises(Panic):
            b.batcher._worker.result()


async def test_a_queue_smaller_than_a_batch_still_serves_everybody():
    async with Batcher(max_batch_size=16, max_queue_size=4) as b:
        assert len(await b.submit(*range(10))) == 10
