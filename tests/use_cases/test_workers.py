"""The fresh process of a job: when it takes too long, it goes with all that it started."""

import sys
import time

import psutil
import pytest

from engines.errors import BackendUnavailableError
from use_cases import workers

_START_ANOTHER = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(60)
"""


def test_a_worker_that_takes_too_long_takes_what_builds_an_engine_with_it(tmp_path, monkeypatch):
    pid_file = tmp_path / "pid"
    monkeypatch.setattr(workers, "COMMAND", (sys.executable, "-c", _START_ANOTHER, str(pid_file)))
    monkeypatch.setattr(workers, "TIMEOUT_S", 3)
    with pytest.raises(BackendUnavailableError, match="no answer in 3 seconds"):
        workers.run_worker({"task": "any", "threads": 1})
    builder = int(pid_file.read_text())
    end_s = time.monotonic() + 30  # on a busy machine a process that was killed has not ended at once
    while runs(builder) and time.monotonic() < end_s:
        time.sleep(0.05)
    assert not runs(builder)


def runs(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
