"""Run a module that builds an artifact in a process of its own, and carry its progress and errors over."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from engines import errors

_ROOT = Path(__file__).parent.parent.parent
# `python -m` would need the project as its current folder, and then relative paths meant other files.
_RUN_MODULE = """\
import runpy, sys
sys.path[0] = sys.argv.pop(1)
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
_PROGRESS, _ERROR = "progress: ", "engine error: "  # how the lines begin that the two processes share
_KEPT_LINES = 20  # of other output, for a builder that died without an error of ours
_running: set[subprocess.Popen[str]] = set()
logger = logging.getLogger(__name__)


def run_builder(module: str, *arguments: str) -> None:
    """Run `python -m module arguments...`, so that this process never imports what it needs.

    Raises:
        EngineError: what the builder raised; EngineClosedError when `stop_builders` was called;
            BackendUnavailableError when it died of anything else.
    """
    command = [sys.executable, "-c", _RUN_MODULE, str(_ROOT), module, *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    ) as process:
        assert process.stdout is not None
        tail: list[str] = []
        _running.add(process)
        try:
            for line in process.stdout:
                if line.startswith(_PROGRESS):
                    logger.info("%s", line.removeprefix(_PROGRESS).strip())
                elif line.strip():
                    tail = [*tail, line.strip()][-_KEPT_LINES:]
        finally:
            _running.discard(process)
    if process.returncode == 0:
        return
    if process.returncode == -signal.SIGTERM:
        raise errors.EngineClosedError("The server was stopped before it had built the engine.")
    last = tail[-1] if tail else f"it ended with {process.returncode} and printed nothing"
    if last.startswith(_ERROR):
        kind, _, message = last.removeprefix(_ERROR).partition(": ")
        raise getattr(errors, kind)(message)
    logger.error("%s failed:\n%s", module, "\n".join(tail))
    raise errors.BackendUnavailableError(f"Building with {module} failed: {last}")


def stop_builders() -> None:
    """Stop what this process is building, and what its builders have started themselves."""
    for process in list(_running):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.terminate()
        process.terminate()


def say_progress(text: str) -> None:
    """Print a line that the process which started this builder logs for people."""
    print(f"{_PROGRESS}{text}", flush=True)


def builder_main(build: Callable[[], None]) -> int:
    """Run a builder's work; return its exit code, an EngineError printed for `run_builder`."""
    try:
        build()
    except errors.EngineError as error:
        message = " ".join(str(error).split())
        print(f"{_ERROR}{type(error).__name__}: {message}", flush=True)
        return 2
    return 0
