"""Samples: what the process and its queues look like, again and again."""

import asyncio
from types import SimpleNamespace

import pytest

from engines.pool import PooledEngine
from tests.fakes import fake_batched
from use_cases.telemetry import sampling
from use_cases.telemetry.telemetry import Telemetry

pytestmark = pytest.mark.anyio


async def test_samples_tell_memory_processor_and_queue(monkeypatch):
    monkeypatch.setattr(sampling, "SLICE_S", 0.02)
    telemetry = Telemetry()
    async with fake_batched() as engine:
        engine.engine.release.clear()
        requests = [asyncio.ensure_future(engine.embed_texts([text])) for text in ("red", "green", "blue")]
        pool = SimpleNamespace(running={("colours", "fake"): PooledEngine(engine)})
        task = asyncio.ensure_future(sampling.keep_sampling(telemetry, pool, lambda: 3))
        while not any(sample.queued for sample in telemetry.samples):
            assert not task.done()
            await asyncio.sleep(0.01)
        engine.engine.release.set()
        await asyncio.gather(*requests)
        count = len(telemetry.samples)
        while len(telemetry.samples) == count:
            await asyncio.sleep(0.01)
        task.cancel()
    sample = telemetry.samples[-1]
    assert (sample.in_work, sample.queued) == (3, 0)
    counts = sample.engines["colours", "fake"]
    assert sum(size * calls for size, calls in counts.batch_sizes.items()) == 3
    assert counts.infer_s > 0
    assert sample.rss_bytes > 10e6
    assert sample.cpu_cores >= 0
