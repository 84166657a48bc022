"""The canary notices an engine that fails, hangs or answers wrong, and nothing else."""

import asyncio

import numpy as np
import pytest

from engines.errors import InferenceError
from engines.worker.canary import Canary, warm_up
from tests.fakes import FakeEngine, FakePreprocessor, fake_batched

pytestmark = pytest.mark.anyio


def canary_of(batched):
    """Return the canary of an engine as if it had passed long ago."""
    canary = Canary(batched, warm_up(batched.engine, batched.preprocessor))
    canary.passed_s = 0.0
    batched.engine.batches.clear()
    return canary


def rows_of(engine, change):
    """Let an engine's rows be changed."""
    embed = engine._embed
    engine._embed = lambda rows: change(embed(rows))


async def test_an_engine_that_answers_as_before_passes():
    async with fake_batched() as batched:
        canary = canary_of(batched)
        await canary.check()
        assert canary.problem is None
        assert canary.passed_s > 0
        assert batched.engine.batches == [1, 1]  # past the cache, through the queue


async def test_a_check_is_no_use_of_the_engine():
    async with fake_batched() as batched:
        before_s = batched.last_used_s
        await canary_of(batched).check()
        assert batched.last_used_s == before_s


@pytest.mark.parametrize(
    "change", [lambda rows: rows[:, ::-1], lambda rows: -rows, lambda rows: rows * np.nan],
    ids=["another vector", "the opposite", "NaN"],
)  # fmt: skip
async def test_a_changed_embedding_is_a_problem_until_it_is_right_again(change):
    async with fake_batched() as batched:
        canary = canary_of(batched)
        embed = batched.engine._embed
        rows_of(batched.engine, change)
        await canary.check()
        assert "has changed" in canary.problem
        assert canary.passed_s == 0
        batched.engine._embed = embed
        await canary.check()
        assert canary.problem is None


@pytest.mark.parametrize("tower", ["image", "text"])
async def test_one_broken_tower_is_enough(tower):
    async with fake_batched() as batched:
        canary = canary_of(batched)
        tower = batched.batchers[tower]._tower
        run = tower.run
        tower.run = lambda items: run(items) * np.nan
        await canary.check()
        assert "cosine nan" in canary.problem


async def test_an_engine_that_fails_is_a_problem(caplog):
    async with fake_batched() as batched:
        canary = canary_of(batched)
        batched.engine.error = ValueError("kernel broke")
        await canary.check()
        assert canary.problem.startswith("the canary failed: The engine failed")
        assert canary.passed_s == 0


async def test_a_full_queue_changes_nothing():
    async with fake_batched(max_queue_size=1) as batched:
        canary = canary_of(batched)
        canary.problem = "as before"
        batched.engine.release.clear()
        running = asyncio.ensure_future(batched.images.submit([np.ones(3, np.float32)]))
        await asyncio.to_thread(batched.engine.started.wait, 10)
        waiting = asyncio.ensure_future(batched.images.submit([np.ones(3, np.float32)]))
        await asyncio.sleep(0)
        await canary.check()
        assert (canary.problem, canary.passed_s) == ("as before", 0)
        batched.engine.release.set()
        await asyncio.gather(running, waiting)


async def test_after_a_restart_of_the_worker_it_is_outdated_until_it_passes():
    async with fake_batched() as batched:
        canary = canary_of(batched)
        assert not canary.is_outdated
        batched.engine.error = SystemExit()
        with pytest.raises(InferenceError):
            await batched.embed_texts(["red"])
        assert batched.restarts == 1
        assert canary.is_outdated
        batched.engine.error = None
        await canary.check()
        assert not canary.is_outdated


async def test_a_restart_during_the_check_leaves_it_outdated():
    async with fake_batched() as batched:
        canary = canary_of(batched)
        batched.engine.error = SystemExit()
        await canary.check()
        assert canary.problem is not None
        assert canary.is_outdated


def test_an_engine_that_returns_no_unit_vectors_is_not_taken_into_service():
    engine = FakeEngine()
    rows_of(engine, lambda rows: rows * np.nan)
    with pytest.raises(InferenceError, match="colours on fake does not return unit vectors"):
        warm_up(engine, FakePreprocessor(engine.spec))
