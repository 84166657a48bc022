"""Run a benchmark's job in a process of low priority that ends when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from engines.errors import BackendUnavailableError
from use_cases.benchmark_worker import ERROR_CODE

_ROOT = Path(__file__).parent.parent.parent
_NICENESS = 10  # of 19: a server that shares the cores with it gets nine times its time
_TIMEOUT_S = 1800


async def run_in_process(job: dict[str, Any], cache_dir: Path) -> dict[str, Any]:
    """Return what `use_cases.benchmark_worker` answers to a job; the job is told when it was started.

    A caller that is cancelled takes the process, and what it started to build an engine, with it.

    Args:
        job: as the worker takes it.
        cache_dir: of built engines.

    Raises:
        BackendUnavailableError: with the worker's own sentence, or its last line when it died.
    """
    threads = str(job["threads"])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "use_cases.benchmark_worker",
        cwd=_ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ
        | {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "SIGLIP_CACHE_DIR": str(cache_dir),
        },
    )  # fmt: skip
    try:
        with contextlib.suppress(psutil.Error):  # it has ended already, or a sandbox forbids it
            psutil.Process(process.pid).nice(_NICENESS)
        text = json.dumps(job | {"started_s": time.time()}).encode()
        stdout, stderr = await asyncio.wait_for(process.communicate(text), _TIMEOUT_S)
    except (TimeoutError, asyncio.TimeoutError):
        raise BackendUnavailableError(f"It gave no answer in {_TIMEOUT_S} seconds.") from None
    finally:
        if process.returncode is None:
            _kill(process.pid)
            await process.wait()
    return _answer(process.returncode or 0, stdout.decode(), stderr.decode())


def _answer(code: int, stdout: str, stderr: str) -> dict[str, Any]:
    lines = stdout.strip().splitlines()
    if code == 0 and lines:
        answer: dict[str, Any] = json.loads(lines[-1])
        return answer
    if code == ERROR_CODE and lines:
        raise BackendUnavailableError(json.loads(lines[-1])["error"])
    last = (stderr.strip().splitlines() or ["it printed nothing"])[-1]
    raise BackendUnavailableError(f"Its process ended with {code}: {last}")


def _kill(pid: int) -> None:
    """End a process and all that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (*process.children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
