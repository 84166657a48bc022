"""Run a whole load test: the levels, then the comparisons."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from use_cases.benchmark import Worker
from use_cases.load.clients import Requests, measure_level
from use_cases.load.comparisons import compare_all
from use_cases.load.inputs import NewImages, NewTexts
from use_cases.load.plan import LoadPlan
from use_cases.load.quantities import Subject
from use_cases.load.samples import Comparison, LoadLevel
from use_cases.load.server import Server
from use_cases.workers import run_worker

logger = logging.getLogger(__name__)


def run_load_test(
    server: Server, plan: LoadPlan, *, model: str, source: str, worker: Worker = run_worker
) -> tuple[list[LoadLevel], list[Comparison]]:
    """Put a server under each number of clients, then compare.

    Args:
        server: a running server.
        plan: what to measure.
        model: its name in the results.
        source: the same model as `resolve_model` takes it, for what is measured without the server.
        worker: runs a job in a fresh process.

    Raises:
        LoadTestError: when the server cannot be tested.
    """
    seed = time.time_ns() % 2**31  # the images of an earlier run are no longer new
    images, texts = NewImages(seed), NewTexts(seed)
    engine = server.check(texts)
    requests = Requests(server, images, plan.mix)
    levels: list[LoadLevel] = []
    for number in plan.clients:
        logger.info("%d clients, %g s and %g s before", number, plan.seconds, plan.warmup_s)
        how = {"warmup_s": plan.warmup_s, "seconds": plan.seconds}
        levels.append(measure_level(server, requests, number, model=model, engine=engine, **how))
    subject = Subject(
        server=server, engine=engine, source=source, images=images, texts=texts, worker=worker, seed=seed
    )
    return levels, compare_all(subject, plan, model)


def fewest_clean_rounds(comparisons: Sequence[Comparison]) -> int:
    """Return how many clean rounds the most disturbed comparison had."""
    return min((each.value.num_clean for each in comparisons if each.value), default=0)
