"""Run a worker's job beside a server: in a process of low priority that ends when nobody waits any more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import psutil

from use_cases import workers

# A job of use_cases.benchmark_worker and the folder of built engines -> its answer; cancelling ends the job.
Run: TypeAlias = Callable[[dict[str, Any], Path], Awaitable[dict[str, Any]]]
_NICENESS = 10  # of 19: a server that shares the cores with it gets nine times its time


async def run_in_process(job: dict[str, Any], cache_dir: Path) -> dict[str, Any]:
    """Return what `use_cases.benchmark_worker` answers to a job; the job is told when it was started.

    A caller that is cancelled takes the process, and what it started to build an engine, with it.

    Args:
        job: as the worker takes it.
        cache_dir: of built engines.

    Raises:
        BackendUnavailableError: with the worker's own sentence, or its last line when it died.
    """
    process = await asyncio.create_subprocess_exec(
        *workers.COMMAND,
        cwd=workers.ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=workers.environment(job) | {"SIGLIP_CACHE_DIR": str(cache_dir)},
    )
    try:
        with contextlib.suppress(psutil.Error):  # it has ended already, or a sandbox forbids it
            psutil.Process(process.pid).nice(_NICENESS)
        text = workers.question(job).encode()
        stdout, stderr = await asyncio.wait_for(process.communicate(text), workers.TIMEOUT_S)
    except (TimeoutError, asyncio.TimeoutError):
        raise workers.no_answer() from None
    finally:
        if process.returncode is None:
            workers.kill_tree(process.pid)
            await process.wait()
    return workers.read_answer(process.returncode or 0, stdout.decode(), stderr.decode())
