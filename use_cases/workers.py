"""Run a benchmark's job in a fresh process and read its answer."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from engines.errors import BackendUnavailableError
from use_cases.benchmark_worker import ERROR_CODE

COMMAND = (sys.executable, "-m", "use_cases.benchmark_worker")
ROOT = Path(__file__).parent.parent  # where to run it
TIMEOUT_S = 1800


def run_worker(job: dict[str, Any]) -> dict[str, Any]:
    """Return what `use_cases.benchmark_worker` answers to a job; the job is told when it was started.

    Raises:
        BackendUnavailableError: with the worker's own sentence, or its last line when it died.
    """
    with subprocess.Popen(
        COMMAND,
        cwd=ROOT,
        env=environment(job),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(question(job), TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise no_answer() from None
        finally:
            if process.poll() is None:
                kill_tree(process.pid)
    return read_answer(process.returncode, stdout, stderr)


def kill_tree(pid: int) -> None:
    """End a process and all that it started, such as what builds an engine."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (*process.children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()


def environment(job: dict[str, Any]) -> dict[str, str]:
    """Return the environment of a worker: its libraries take as many threads as the job says."""
    threads = str(job["threads"])
    return os.environ | {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }


def question(job: dict[str, Any]) -> str:
    """Return what a worker that starts now reads."""
    return json.dumps(job | {"started_s": time.time()})


def no_answer() -> BackendUnavailableError:
    """Return the error of a worker that takes too long."""
    return BackendUnavailableError(f"It gave no answer in {TIMEOUT_S} seconds.")


def read_answer(code: int, stdout: str, stderr: str) -> dict[str, Any]:
    """Return what a worker that has ended answers.

    Raises:
        BackendUnavailableError: with the worker's own sentence, or its last line when it died.
    """
    lines = stdout.strip().splitlines()
    if code == 0 and lines:
        answer: dict[str, Any] = json.loads(lines[-1])
        return answer
    if code == ERROR_CODE and lines:
        raise BackendUnavailableError(json.loads(lines[-1])["error"])
    last = (stderr.strip().splitlines() or ["it printed nothing"])[-1]
    raise BackendUnavailableError(f"Its process ended with {code}: {last}")
