"""Profiling beside a server: the same profile, and a caller that goes ends the work."""

import asyncio
from pathlib import Path

import pytest

from engines.errors import InvalidInputError
from tests.use_cases.profiling.answers import FakeWorker
from tests.use_cases.profiling.test_run import TwoSamples, run
from use_cases.profiling.beside import profile_beside
from use_cases.profiling.run import ProfilePlan

pytestmark = pytest.mark.anyio
PLAN = ProfilePlan(model="siglit-mini", engines=("onnx-fp32", "torch-fp32"))


def profiling(answer, jobs, plan=PLAN):
    return profile_beside(plan, TwoSamples(), answer, Path("cache"), jobs.append)


async def test_it_is_the_same_profile_and_each_job_is_told():
    worker, jobs, folders = FakeWorker(), [], set()

    async def answer(job, cache_dir):
        folders.add(cache_dir)
        await asyncio.sleep(0)
        return worker(job)

    assert await profiling(answer, jobs) == run(*PLAN.engines)
    assert jobs == worker.jobs
    assert folders == {Path("cache")}


async def test_a_caller_that_is_cancelled_ends_the_job_and_no_other_begins():
    begun, jobs = asyncio.Event(), []
    ended = []

    async def endless(job, cache_dir):
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(job["task"])

    task = asyncio.ensure_future(profiling(endless, jobs))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["profile_peak"]
    await asyncio.sleep(0.2)
    assert [job["task"] for job in jobs] == ["profile_peak"]


async def test_a_plan_that_cannot_be_done_is_refused_before_any_job():
    jobs = []
    with pytest.raises(InvalidInputError, match="openvino has no profiler"):
        await profiling(FakeWorker(), jobs, ProfilePlan(model="siglit-mini", engines=("openvino",)))
    assert jobs == []
