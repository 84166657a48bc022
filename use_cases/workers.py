"""Run a benchmark's job in a fresh process and read its answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from engines.errors import BackendUnavailableError
from use_cases.benchmark_worker import ERROR_CODE

_ROOT = Path(__file__).parent.parent
_TIMEOUT_S = 1800


def run_worker(job: dict[str, Any]) -> dict[str, Any]:
    """Return what `use_cases.benchmark_worker` answers to a job; the job is told when it was started.

    Raises:
        BackendUnavailableError: with the worker's own sentence, or its last line when it died.
    """
    command = [sys.executable, "-m", "use_cases.benchmark_worker"]
    threads = str(job["threads"])
    environment = os.environ | {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }
    job = job | {"started_s": time.time()}
    try:
        done = subprocess.run(
            command,
            cwd=_ROOT,
            env=environment,
            input=json.dumps(job),
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise BackendUnavailableError(f"It gave no answer in {_TIMEOUT_S} seconds.") from None
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        answer: dict[str, Any] = json.loads(lines[-1])
        return answer
    if done.returncode == ERROR_CODE and lines:
        raise BackendUnavailableError(json.loads(lines[-1])["error"])
    last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
    raise BackendUnavailableError(f"Its process ended with {done.returncode}: {last}")
