"""What the readiness report says of an engine."""

import asyncio
import math

import numpy as np
import pytest

from engines.errors import InferenceError
from engines.health import EngineHealth, read_health
from engines.worker.canary import Canary, warm_up
from tests.fakes import fake_batched

pytestmark = pytest.mark.anyio


def canary_of(batched):
    return Canary(batched, warm_up(batched.engine, batched.preprocessor))


def health_of(batched, canary, max_canary_age_s=math.inf):
    return read_health("colours", batched, canary, max_canary_age_s)


async def test_a_running_engine_is_ready_before_its_first_request():
    async with fake_batched() as batched:
        health = health_of(batched, canary_of(batched))
        assert (health.model, health.engine, health.state) == ("colours", "fake", "ready")
        assert health.is_ready
        assert health.problem is None
        assert health.heartbeat_age_s is None
        assert health.canary_age_s >= 0
        assert (health.restarts, health.queue_size) == (0, 0)


async def test_each_call_is_a_heartbeat():
    async with fake_batched() as batched:
        await batched.embed_texts(["red"])
        assert health_of(batched, canary_of(batched)).heartbeat_age_s >= 0


async def test_an_engine_is_stalled_when_something_is_due_and_no_call_ends(monkeypatch):
    monkeypatch.setattr("engines.health._SILENT_S", 0.0)  # any time is too long
    async with fake_batched() as batched:
        canary = canary_of(batched)
        assert health_of(batched, canary).state == "ready"  # silent, but nothing is due
        batched.engine.release.clear()
        batched.engine.started.clear()
        pixels = [np.ones(3, np.float32)]
        tasks = [asyncio.ensure_future(batched.images.submit(pixels))]
        await asyncio.to_thread(batched.engine.started.wait, 10)
        tasks.append(asyncio.ensure_future(batched.images.submit(pixels)))
        await asyncio.sleep(0)
        health = health_of(batched, canary)
        assert (health.state, health.is_ready, health.queue_size) == ("stalled", False, 1)
        assert "no engine call has ended for" in health.problem
        batched.engine.release.set()
        await asyncio.gather(*tasks)
        await asyncio.sleep(0)
        assert health_of(batched, canary).state == "ready"


async def test_a_call_that_has_just_begun_is_no_stall():
    async with fake_batched() as batched:
        batched.engine.release.clear()
        task = asyncio.ensure_future(batched.embed_texts(["red"]))
        await asyncio.to_thread(batched.engine.started.wait, 10)
        assert health_of(batched, canary_of_running(batched)).state == "ready"
        batched.engine.release.set()
        await task


def canary_of_running(batched):
    """Return a canary without a warm-up, which would wait for the call."""
    return Canary(batched, None)


async def test_a_canary_that_has_not_passed_for_long_is_a_problem():
    async with fake_batched() as batched:
        canary = canary_of(batched)
        assert health_of(batched, canary, 60).is_ready
        canary.passed_s -= 61
        health = health_of(batched, canary, 60)
        assert (health.state, health.problem) == ("stalled", "the last canary that matched is 61 s old")


async def test_a_queue_that_stays_full_is_no_problem_of_the_engine():
    async with fake_batched() as batched:
        canary = canary_of(batched)
        canary.passed_s -= 61
        canary.postponed_s = canary.passed_s + 61
        assert health_of(batched, canary, 60).is_ready


async def test_the_problem_that_a_canary_found_is_told():
    async with fake_batched() as batched:
        canary = canary_of(batched)
        canary.problem = "the canary's embedding has changed"
        canary.passed_s -= 61  # no news then
        health = health_of(batched, canary, 60)
        assert (health.state, health.problem) == ("stalled", "the canary's embedding has changed")


async def test_an_engine_whose_worker_was_started_again_must_be_checked_first():
    async with fake_batched() as batched:
        canary = canary_of(batched)
        batched.engine.error = SystemExit()
        with pytest.raises(InferenceError):
            await batched.embed_texts(["red"])
        batched.engine.error = None
        health = health_of(batched, canary)
        assert (health.state, health.restarts) == ("stalled", 1)
        assert "has not been checked since" in health.problem
        await canary.check()
        assert health_of(batched, canary).is_ready


@pytest.mark.parametrize(
    ("state", "is_ready"),
    [("loading", False), ("ready", True), ("unloaded", True), ("failed", False), ("stalled", False)],
)
def test_an_unloaded_engine_counts_as_ready_because_the_next_request_loads_it(state, is_ready):
    assert EngineHealth(model="colours", engine="fake", state=state).is_ready == is_ready
