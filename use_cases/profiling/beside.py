"""Profile engines beside a server: its event loop goes on, and who waits no more ends the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from use_cases.background_workers import Run
from use_cases.benchmark import Samples
from use_cases.profiling.results import Profile
from use_cases.profiling.run import ProfilePlan, run_profile


async def profile_beside(
    plan: ProfilePlan, samples: Samples, run: Run, cache_dir: Path, on_job: Callable[[dict[str, Any]], None]
) -> Profile:
    """Do what `run_profile` does; cancelling the call ends the process that works for it.

    Args:
        plan: what to profile.
        samples: the images and captions of the batches and requests.
        run: does a job in a process of its own.
        cache_dir: of built engines.
        on_job: is told each job as it begins.

    Raises:
        EngineError: what `run_profile` raises.
    """
    jobs = _Jobs(run, cache_dir, on_job)
    thread = ThreadPoolExecutor(1, "profile")  # its own: it only waits, which may take half an hour
    try:
        return await asyncio.get_running_loop().run_in_executor(
            thread, run_profile, plan, samples, jobs.wait_for
        )
    finally:
        await jobs.stop()
        thread.shutdown(wait=False)  # its last step may need the event loop


class _Jobs:
    """Does what a thread asks for in the event loop, one job after the other, until it is stopped."""

    def __init__(self, run: Run, cache_dir: Path, on_job: Callable[[dict[str, Any]], None]) -> None:
        self._run, self._cache_dir, self._on_job = run, cache_dir, on_job
        self._loop = asyncio.get_running_loop()
        self._running: asyncio.Task[Any] | None = None
        self._is_stopped = False

    def wait_for(self, job: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a job; for other threads.

        Raises:
            CancelledError: when nobody waits for it any more.
        """
        return asyncio.run_coroutine_threadsafe(self._do(job), self._loop).result()

    async def stop(self) -> None:
        """End the job that runs, and let no other one begin."""
        self._is_stopped = True
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    async def _do(self, job: dict[str, Any]) -> dict[str, Any]:
        if self._is_stopped:
            raise asyncio.CancelledError
        self._running = asyncio.current_task()
        self._on_job(job)
        return await self._run(job, self._cache_dir)
