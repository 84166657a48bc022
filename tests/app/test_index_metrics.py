"""Images are counted by what became of them, over all jobs and for as long as the server runs."""

import pytest

from app.index_metrics import IndexMetrics
from tests.app.search_page import MODELS, begin_to_fill
from use_cases.retrieval.jobs import IndexJob

pytestmark = pytest.mark.anyio


def counts(metrics):
    (counter,) = metrics.collect()
    return {sample.labels["outcome"]: sample.value for sample in counter.samples}


def job_of(state, **progress):
    job = IndexJob([], None, MODELS)
    job.state = state
    for name, count in progress.items():
        setattr(job.progress, name, count)
    return job


async def test_running_and_ended_jobs_are_added_up():
    metrics = IndexMetrics()
    nothing = {"added": 0, "replaced": 0, "unchanged": 0, "failed": 0, "removed": 0}
    assert counts(metrics) == nothing
    running = job_of("running", added=2)
    metrics.watch(running)
    metrics.watch(job_of("failed", added=3, replaced=1, unchanged=4, num_failed=5, removed=6))
    metrics.watch(job_of("cancelled", added=10))
    metrics.removed(7)
    expected = {"added": 15, "replaced": 1, "unchanged": 4, "failed": 5, "removed": 13}
    assert counts(metrics) == expected
    running.progress.added = 20
    assert counts(metrics) == expected | {"added": 33}
    running.state = "done"
    assert counts(metrics) == counts(metrics) == expected | {"added": 33}


async def test_an_image_counts_once_however_many_models_embed_it(services, mine):
    job = (await services.galleries.status(mine)).job
    services.metrics.index.watch(job)
    assert counts(services.metrics.index)["added"] == 3


async def test_a_running_job_is_seen_as_far_as_it_is(services, tmp_path):
    engine = await begin_to_fill(services, tmp_path)
    job = (await services.galleries.status("mine")).job
    services.metrics.index.watch(job)
    assert counts(services.metrics.index)["added"] == 0
    engine.release.set()
    await job.wait()
    assert counts(services.metrics.index)["added"] == 3
