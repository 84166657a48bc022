"""The adaptive batch policy against fixed ones, without HTTP; one fresh process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from engines.machine.malloc import keep_freed_memory
from engines.worker.batched_engine import BatchedEngine
from engines.worker.cache import EmbeddingCache
from engines.worker.calls import BatcherLimits
from engines.worker.policy import Arm, BatchPolicy
from engines.worker.shared import Worker, available_cores
from use_cases.benchmark_subjects import EngineSubject, job_model, load_subject
from use_cases.images import read_image
from use_cases.latency import ForeignLoad
from use_cases.load.inputs import NewImages
from use_cases.load.samples import steady_rate
from use_cases.load.tight_loop import arm_name
from use_cases.zero_shot import min_image_side

ADAPTIVE = "adaptive"
NUM_CLIENTS = 16
_SIZES = (1, 2, 4, 8, 16)
_MIN_ITEMS = 4 * NUM_CLIENTS  # measured of each policy, however slow the engine
_MAX_TWIN_S = 30.0  # to load what parallel calls need


class FixedPolicy(BatchPolicy):
    """Calls the engine always in one way, with whatever waits up to a size; neither learns nor waits."""

    def __init__(self, arm: Arm) -> None:
        """Take the way."""
        super().__init__(cores=1, max_batch_size=arm.size, target_p95_ms=float("inf"))
        self._arm = arm
        self.made_parallel_calls = False

    def observe(self, arm: Arm, elapsed_ms: float) -> None:
        """Learn nothing."""

    def choose(self, waiting: int, demand: float, *, parallel: bool) -> Arm:
        """Return the one way, as long as it is possible."""
        self.made_parallel_calls = self._arm.parallel and parallel
        return self._arm._replace(parallel=self.made_parallel_calls)

    def sizes_from(self, arm: Arm) -> list[int]:
        """Return every size, so that no call is padded."""
        return list(range(1, arm.size + 1))

    def wait_ms(self, waiting: int, gap_ms: float) -> float:
        """Return 0: with clients that ask without a pause, waiting only leaves cores idle."""
        return 0.0


def run_policies(job: dict[str, Any]) -> dict[str, Any]:
    """Return the images a second under each policy, and the foreign load meanwhile."""
    keep_freed_memory()  # as the server does
    return asyncio.run(_run(job))


async def _run(job: dict[str, Any]) -> dict[str, Any]:
    subject = load_subject(job_model(job), job["engine"], 0)
    assert isinstance(subject, EngineSubject)
    worker = Worker(cache=EmbeddingCache(0), limits=BatcherLimits())
    async with BatchedEngine(subject.engine, subject.preprocessor, worker) as batched:
        return await _Sweep(batched, job).run()


class _Sweep:
    def __init__(self, batched: BatchedEngine, job: Mapping[str, Any]) -> None:
        self._batched, self._job = batched, job
        self._images = NewImages(job["seed"])
        self._times_s: list[float] = []
        self._stopped = False

    async def run(self) -> dict[str, Any]:
        clients = [asyncio.create_task(self._keep_asking()) for _ in range(NUM_CLIENTS)]
        sweep = asyncio.create_task(self._measure_all())
        await asyncio.wait([sweep, *clients], return_when=asyncio.FIRST_COMPLETED)
        self._stopped = True
        await asyncio.gather(*clients)  # a call that still runs when the process ends would abort it
        return await sweep

    async def _keep_asking(self) -> None:
        while not self._stopped:
            await self._embed(1)
            self._times_s.append(time.perf_counter())

    async def _embed(self, num_images: int) -> None:
        min_side, cache = min_image_side([self._batched.spec]), self._batched.worker.cache
        images = [await read_image(self._images.jpeg(), min_side, cache) for _ in range(num_images)]
        await self._batched.embed_images(images)

    async def _measure_all(self) -> dict[str, Any]:
        adaptive = self._batched.images.policy
        policies: dict[str, BatchPolicy] = {ADAPTIVE: adaptive}
        for parallel in (False, True) if await self._has_parallel() else (False,):
            for size in _SIZES:
                policies[arm_name(Arm(parallel, size))] = FixedPolicy(Arm(parallel, size))
        names = list(policies)
        shift = self._job["round"] * 4 % len(names)  # nobody is always first
        foreign = ForeignLoad()
        rates: dict[str, float] = {}
        for name in names[shift:] + names[:shift]:
            self._batched.images.policy = policies[name]
            await asyncio.sleep(self._job["learn_s" if name == ADAPTIVE else "warmup_s"])
            rates[name] = await self._rate()
        return {"rates": rates, "foreign_cores": foreign.cores()}

    async def _rate(self) -> float:
        self._times_s.clear()
        start_s = time.perf_counter()
        while time.perf_counter() - start_s < self._job["seconds"] or len(self._times_s) < _MIN_ITEMS:
            await asyncio.sleep(0.02)
        rate = steady_rate(self._times_s, start_s, time.perf_counter())
        assert rate is not None  # with so many items
        return rate

    async def _has_parallel(self) -> bool:
        """Wait until the engine can make parallel calls, if it ever can."""
        if available_cores() < 2:
            return False
        policy = FixedPolicy(Arm(True, 1))
        adaptive, self._batched.images.policy = self._batched.images.policy, policy
        await self._embed(NUM_CLIENTS)  # as many at once as make it worth while
        end_s = time.monotonic() + _MAX_TWIN_S
        while not policy.made_parallel_calls and time.monotonic() < end_s:
            await asyncio.sleep(0.05)
        self._batched.images.policy = adaptive
        return policy.made_parallel_calls
